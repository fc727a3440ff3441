//! Pipeline files and builder folders: read, checked, and turned into values that nothing below has to check again.
//!
//! Files are strict: an unknown key is an error that names the file, the line and the nearest known key.

mod builder;
mod error;
mod limits;
mod pipeline;
mod strict;

pub use builder::{Base, Bootstrap, Builder, Builders};
pub use error::ConfigError;
pub use limits::StageLimits;
pub use pipeline::{
    Pipeline, PipelineFile, PrepareStage, SmokeCommand, SourceSection, TargetSection, VersionSection,
};
