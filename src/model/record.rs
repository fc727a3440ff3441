use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

use super::{
    Artifact, Changes, Check, Digest, ImageRecord, Outcome, PackageIdentity, PackageVersion, Reproducibility,
    RunId, Stage, TargetName,
};

/// The one document that says what happened in a run. Every view is drawn from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunRecord {
    /// The version of this document's schema: 1.
    pub schema: u32,
    /// The run.
    pub id: RunId,
    /// The package's name in the pipeline.
    pub package: String,
    /// The pipeline file, as it was named.
    pub pipeline: String,
    /// The digest of the pipeline file's bytes.
    pub pipeline_digest: Digest,
    /// The lock that the run was held to; `None` if it was held to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<LockRecord>,
    /// What was built.
    pub source: SourceRecord,
    /// The program that ran.
    pub tool: ToolRecord,
    /// The engine that ran the containers.
    pub engine: EngineRecord,
    /// UTC.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub started: Timestamp,
    /// Milliseconds from start to the end of the last stage.
    pub duration_ms: u64,
    /// The stages that all targets share: source and prepare.
    pub shared: Vec<StageRecord>,
    /// The targets, in the pipeline's order.
    pub targets: Vec<TargetRecord>,
    /// Every image that was used, each once.
    pub images: Vec<ImageRecord>,
    /// What a person should know although nothing failed.
    pub warnings: Vec<String>,
    /// The outcome of the whole.
    pub outcome: Outcome,
}

/// The lock of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LockRecord {
    /// The file, as it was named.
    pub file: String,
    /// The digest of its bytes.
    pub digest: Digest,
}

/// The source of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceRecord {
    /// The repository, as a path or an address.
    pub repository: String,
    /// What was asked for: a revision.
    pub revision: String,
    /// The full commit id.
    pub commit: String,
    /// The commit's committer time, seconds since 1970 UTC: SOURCE_DATE_EPOCH.
    pub epoch: i64,
    /// The digest of the source tree's tar.
    pub tree: Digest,
    /// Bytes of the source tree's tar.
    pub size: u64,
    /// The version that follows from tags or packaging.
    pub version: PackageVersion,
    /// True when the repository's working directory had changes, which were not built.
    pub dirty: bool,
    /// The commits that entries of changelogs were made of; `None` where none was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<Changes>,
}

/// The program that made a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ToolRecord {
    /// `packhold`.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// The engine that ran a run's containers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EngineRecord {
    /// `docker`, `podman` …
    pub kind: String,
    /// The engine's own version.
    pub version: String,
    /// The architecture of its containers, in OCI's word: `amd64`.
    pub arch: String,
    /// The release of the kernel that ran them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// The number of its cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cores: Option<u32>,
}

impl RunRecord {
    /// The JSON schema (draft 7) of the document as it is written.
    pub fn schema() -> Schema {
        SchemaSettings::draft07().for_serialize().into_generator().into_root_schema_for::<Self>()
    }

    /// All stages: the shared ones, and then those of each target.
    pub fn stages(&self) -> impl Iterator<Item = &StageRecord> {
        self.shared.iter().chain(self.targets.iter().flat_map(|target| &target.stages))
    }
}

/// What happened to one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TargetRecord {
    /// The target.
    pub target: TargetName,
    /// Its outcome: that of its first stage that did not pass.
    pub outcome: Outcome,
    /// The full version that its packages carry.
    pub package_version: String,
    /// Its stages in order.
    pub stages: Vec<StageRecord>,
    /// The files that the build left.
    pub artifacts: Vec<Artifact>,
    /// What verify looked at.
    pub checks: Vec<Check>,
    /// What a person should know although it passed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The images it used, base first.
    pub images: Vec<Digest>,
    /// The digest of everything that can change the build's result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_key: Option<Digest>,
    /// The digest of everything that can change what verify finds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify_key: Option<Digest>,
    /// What building it again under other conditions gave, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reproducibility: Option<Reproducibility>,
}

impl TargetRecord {
    /// The record of a target at which nothing was done yet.
    pub fn of(target: TargetName) -> Self {
        Self {
            target,
            outcome: Outcome::Passed,
            package_version: String::new(),
            stages: Vec::new(),
            artifacts: Vec::new(),
            checks: Vec::new(),
            warnings: Vec::new(),
            images: Vec::new(),
            build_key: None,
            verify_key: None,
            reproducibility: None,
        }
    }

    /// Takes what verify found; `identities` are those of package files, by their names.
    pub fn take(
        &mut self,
        checks: Vec<Check>,
        warnings: Vec<String>,
        mut identities: BTreeMap<String, PackageIdentity>,
    ) {
        self.checks = checks;
        self.warnings = warnings;
        for artifact in &mut self.artifacts {
            artifact.package = identities.remove(&artifact.name);
        }
    }
}

/// What happened in one stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StageRecord {
    /// The stage.
    pub stage: Stage,
    /// Its outcome.
    pub outcome: Outcome,
    /// UTC.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub started: Timestamp,
    /// Milliseconds.
    pub duration_ms: u64,
    /// What was reused instead of done, in words; `None` when it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reused: Option<String>,
    /// The commands that ran, in order.
    pub steps: Vec<StepRecord>,
    /// Everything that they printed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogRef>,
}

/// One command that ran in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepRecord {
    /// What it does, for people: `install build dependencies`.
    pub title: String,
    /// The command.
    pub argv: Vec<String>,
    /// Exit status; `None` when it was ended by a limit.
    pub exit: Option<i64>,
    /// Milliseconds.
    pub duration_ms: u64,
    /// Where its output starts in the stage's log, bytes.
    pub log_offset: u64,
    /// Bytes of its output.
    pub log_bytes: u64,
}

/// The log of a stage: bytes as the commands printed them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogRef {
    /// The file's name: `debian-12_deb.build.log`.
    pub name: String,
    /// Digest of its bytes.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
}
