use super::{Notifier, Secret};
use crate::config::{CommitStatus, Forge};
use crate::model::{Outcome, RunRecord};
use crate::support::percent;

/// The longest description that a forge takes, in characters (GitHub's REST API, "Commit statuses").
const LONGEST: usize = 140;

/// Sets the status of the run's commit.
pub(super) async fn send(
    notifier: &Notifier,
    status: &CommitStatus,
    token: &Secret,
    record: &RunRecord,
) -> Result<(), String> {
    let url = address(status, &record.source.commit);
    let header = match status.forge {
        Forge::Gitlab => ("private-token", token.header("")),
        Forge::Github | Forge::Forgejo => ("authorization", token.header("Bearer ")),
    };
    let (name, Some(value)) = header else { return Err("the token cannot be sent".to_owned()) };
    let body = body(status, record).to_string();
    let request = |client: &reqwest::Client| {
        client
            .post(&url)
            .header("content-type", "application/json")
            .header("accept", "application/json")
            .header(name, value.clone())
            .body(body.clone())
    };
    notifier.post(request).await
}

fn address(status: &CommitStatus, commit: &str) -> String {
    let api = status.api.as_str().trim_end_matches('/');
    match status.forge {
        Forge::Github | Forge::Forgejo => format!("{api}/repos/{}/statuses/{commit}", status.project),
        Forge::Gitlab => format!("{api}/projects/{}/statuses/{commit}", percent::segment(&status.project)),
    }
}

fn body(status: &CommitStatus, record: &RunRecord) -> serde_json::Value {
    let passed = matches!(record.outcome, Outcome::Passed | Outcome::Skipped { .. });
    let at_fault = matches!(record.outcome, Outcome::Failed { .. } | Outcome::Broken { .. });
    // What is cut off is of the least use.
    let words =
        format!("{}: {} {}", record.outcome.summary(), record.package, record.source.version.describe);
    let description: String = words.chars().take(LONGEST).collect();
    match status.forge {
        Forge::Gitlab => {
            let state = if passed { "success" } else { "failed" };
            serde_json::json!({"state": state, "name": status.context, "description": description})
        }
        Forge::Github | Forge::Forgejo => {
            let state = if passed {
                "success"
            } else if at_fault {
                "failure"
            } else {
                "error"
            };
            serde_json::json!({"state": state, "context": status.context, "description": description})
        }
    }
}
