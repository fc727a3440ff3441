use jiff::Timestamp;
use serde::Serialize;

use crate::model::{Digest, Outcome, RunRecord, TargetName, TargetRecord};

/// What is told of a run.
#[derive(Clone, Debug)]
pub struct Message {
    /// The same for every attempt to tell it: `run.finished.RUN`.
    pub id: String,
    /// When it is told, in seconds since 1970 UTC.
    pub time: i64,
    /// The word for the outcome: `passed`, `failed` …
    pub state: String,
    /// JSON.
    pub body: Vec<u8>,
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    timestamp: Timestamp,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    run: &'a str,
    package: &'a str,
    version: &'a str,
    commit: &'a str,
    repository: &'a str,
    revision: &'a str,
    summary: String,
    outcome: &'a Outcome,
    started: Timestamp,
    duration_ms: u64,
    targets: Vec<Target<'a>>,
}

#[derive(Serialize)]
struct Target<'a> {
    target: &'a TargetName,
    version: &'a str,
    summary: String,
    outcome: &'a Outcome,
    artifacts: Vec<File<'a>>,
}

#[derive(Serialize)]
struct File<'a> {
    name: &'a str,
    digest: Digest,
    size: u64,
}

impl<'a> Target<'a> {
    fn of(record: &'a TargetRecord) -> Self {
        let files = record.artifacts.iter();
        Self {
            target: &record.target,
            version: &record.package_version,
            summary: record.outcome.summary(),
            outcome: &record.outcome,
            artifacts: files
                .map(|file| File { name: &file.name, digest: file.digest, size: file.size })
                .collect(),
        }
    }
}

impl Message {
    /// What is told of a run at this time.
    pub fn of(record: &RunRecord, now: Timestamp) -> Self {
        let body = Body {
            r#type: "run.finished",
            timestamp: now,
            data: Data {
                run: record.id.as_str(),
                package: &record.package,
                version: &record.source.version.describe,
                commit: &record.source.commit,
                repository: &record.source.repository,
                revision: &record.source.revision,
                summary: record.outcome.summary(),
                outcome: &record.outcome,
                started: record.started,
                duration_ms: record.duration_ms,
                targets: record.targets.iter().map(Target::of).collect(),
            },
        };
        let summary = record.outcome.summary();
        Self {
            id: format!("run.finished.{}", record.id),
            time: now.as_second(),
            state: summary.split('(').next().unwrap_or_default().to_owned(),
            body: serde_json::to_vec(&body).unwrap_or_default(),
        }
    }
}
