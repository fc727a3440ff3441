//! Pipeline files and builder folders: read, checked, and turned into values that nothing below has to check again.
//!
//! Files are strict: an unknown key is an error that names the file, the line and the nearest known key.

mod builder;
mod changelog_section;
mod checker;
mod error;
mod limits;
mod lint;
mod lock;
mod lock_diff;
mod notify_file;
mod package;
mod package_lines;
mod pipeline;
mod publish_section;
mod schema;
mod strict;
mod verify_section;

pub use builder::{Base, Bootstrap, Builder, Builders};
pub use changelog_section::{BadTemplate, ChangelogEntries, ChangelogSection, Template};
pub use error::ConfigError;
pub use limits::StageLimits;
pub use lint::{LintSection, Waiver};
pub use lock::{Lock, LockFile, LockedBuilder, LockedDeps, LockedImage};
pub use lock_diff::{ImageChange, PackageChange, package_changes, render_changes};
pub use notify_file::{CommitStatus, Forge, NotifyCommand, NotifyFile, Webhook};
pub(crate) use package::is_for;
pub use package::{
    Dependency, FileSource, Owner, PackageDirectory, PackageFile, PackageGhost, PackageSection,
    PackageSymlink, PackageUnit, PackageUser, Relation, RelationKind, Scripts, Version, maintainer,
};
pub use package_lines::package_lines;
pub use pipeline::{
    PIPELINE_FILE, Pipeline, PipelineFile, PrepareStage, SourceSection, TargetSection, VersionSection,
};
pub use publish_section::PublishSection;
pub use schema::{builder_schema, pipeline_schema};
pub use verify_section::{
    Exception, FileAssertion, ServiceExpectation, SmokeCommand, UpgradeFrom, VerifySection,
};
