//! GitLab's code quality report ("Code Quality report format"): a subset of Code Climate's specification.

use serde_json::{Value, json};

use super::finding::{Finding, Severity, findings};
use crate::model::RunRecord;

/// A run's findings as annotations of `pipeline`, the pipeline file's path in the repository. What is accepted is `info`.
pub fn code_quality(record: &RunRecord, pipeline: &str) -> String {
    let all: Vec<Value> = findings(record).iter().map(|finding| entry(finding, pipeline)).collect();
    serde_json::to_string_pretty(&all).unwrap_or_default() + "\n"
}

fn entry(finding: &Finding<'_>, pipeline: &str) -> Value {
    let mut description = format!("{} {}: {}", finding.subject, finding.place, finding.message);
    if let Some(reason) = finding.accepted {
        description += &format!(" (accepted: {reason})");
    }
    json!({
        "description": description,
        "check_name": finding.rule,
        "fingerprint": finding.identity().hex(),
        "severity": match finding.severity {
            Severity::Error if finding.is_infrastructure() => "blocker",
            Severity::Error => "major",
            Severity::Warning => "minor",
            Severity::Accepted => "info",
        },
        "location": { "path": pipeline, "lines": { "begin": 1 } },
    })
}
