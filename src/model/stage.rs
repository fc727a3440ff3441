use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A stage of a run, in the order in which they follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The commit becomes a deterministic tar.
    Source,
    /// What all targets share is built once.
    Prepare,
    /// Base, builder and deps images are found or made.
    Deps,
    /// The packages are built in the deps image, with no network.
    Build,
    /// The packages are installed, tried and removed in a fresh base image.
    Verify,
    /// The packages are built again under other conditions, and compared.
    Reproduce,
    /// Everything that the run used and made is stored.
    Archive,
    /// Packages are put into a repository, and installed from there in a fresh base image.
    Publish,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Source => "source",
            Self::Prepare => "prepare",
            Self::Deps => "deps",
            Self::Build => "build",
            Self::Verify => "verify",
            Self::Reproduce => "reproduce",
            Self::Archive => "archive",
            Self::Publish => "publish",
        })
    }
}
