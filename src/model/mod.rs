//! The vocabulary as types: ids, digests, targets, artifacts, outcomes, the run record and events.
//!
//! Nothing here does I/O. Every type that is stored or printed as JSON is defined here, so that the run record has
//! one home.

mod architecture;
mod artifact;
mod changes;
mod check;
mod commit;
mod condition;
mod digest;
mod event;
mod image;
mod lint;
mod outcome;
mod reason;
mod record;
mod reproducibility;
mod run_id;
mod schema;
mod stage;
mod target;
mod version;

pub use architecture::{Architecture, ElfMachine};
pub use artifact::{Artifact, ArtifactKind, PackageIdentity};
pub use changes::{Change, Changes, Person};
pub use check::{Check, Scenario, Tier};
pub use commit::short_commit;
pub use condition::Condition;
pub use digest::{Digest, DigestParseError, Hasher};
pub use event::Event;
pub use image::{ImageRecord, ImageRole, InstalledPackage, Origin};
pub use lint::LintLevel;
pub use outcome::Outcome;
pub use reason::{FailReason, InfraReason};
pub use record::{
    EngineRecord, LockRecord, LogRef, RunRecord, SourceRecord, StageRecord, StepRecord, TargetRecord,
    ToolRecord,
};
pub use reproducibility::{DifferenceCause, NotVaried, Reproducibility, Unreproducible};
pub use run_id::{RunId, RunIdParseError};
pub use stage::Stage;
pub use target::{Format, TargetName, TargetParseError};
pub use version::PackageVersion;
