use serde::{Deserialize, Serialize};

use super::{Outcome, RunId, RunRecord, Stage, TargetName, TargetRecord};

/// Something that happens in a run, as it happens. `--format json` prints one a line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The run begins.
    RunStarted {
        /// The run.
        run: RunId,
        /// The package's name.
        package: String,
        /// The full commit id.
        commit: String,
        /// The version, as `git describe` would say it.
        version: String,
        /// What will be built.
        targets: Vec<TargetName>,
    },
    /// A stage begins; without a target it is shared by all.
    StageStarted {
        /// The target, if it is one target's stage.
        target: Option<TargetName>,
        /// The stage.
        stage: Stage,
    },
    /// A step of a stage begins.
    Step {
        /// The target, if it is one target's stage.
        target: Option<TargetName>,
        /// The stage.
        stage: Stage,
        /// What it does, for people.
        title: String,
    },
    /// A line that a command printed, made safe to show: control sequences neutralised, invalid UTF-8 replaced.
    Output {
        /// The target, if it is one target's stage.
        target: Option<TargetName>,
        /// The stage.
        stage: Stage,
        /// The line without its end.
        line: String,
    },
    /// So much of what the current step moves was moved. Not every step says so, and none more than a few times a second.
    Progress {
        /// The target, if it is one target's stage.
        target: Option<TargetName>,
        /// The stage.
        stage: Stage,
        /// Bytes that were moved.
        done: u64,
        /// Bytes in all, where that is known.
        total: Option<u64>,
    },
    /// A stage ended.
    StageFinished {
        /// The target, if it is one target's stage.
        target: Option<TargetName>,
        /// The stage.
        stage: Stage,
        /// Its outcome.
        outcome: Outcome,
        /// Milliseconds.
        duration_ms: u64,
        /// What was reused instead of done.
        reused: Option<String>,
    },
    /// Something that a person should know.
    Warning {
        /// What.
        message: String,
    },
    /// The verification of files that were built elsewhere ended. Always the last event of one.
    FilesVerified {
        /// What was found.
        record: Box<TargetRecord>,
    },
    /// The run ended. Always the last event of one.
    RunFinished {
        /// What happened.
        record: Box<RunRecord>,
    },
}
