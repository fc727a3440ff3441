use std::path::PathBuf;

use crate::support::Hint;
use crate::support::fs::FsError;

/// A pipeline or builder file that cannot be used, or a name that nothing carries.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error(transparent)]
    Unreadable(#[from] FsError),
    /// A pipeline that is to be built as locked has no lock.
    #[error("there is no lock {}", file.display())]
    NoLock {
        /// The file that is missing.
        file: PathBuf,
    },
    /// There is no pipeline of that name or path.
    #[error("there is no pipeline `{name}`")]
    NoPipeline {
        /// What was asked for.
        name: String,
        /// What to do about it.
        hint: String,
    },
    /// Something in the file is not as it should be.
    #[error("{}:{line}:{column}: {message}", file.display())]
    Invalid {
        /// The file, as it was named.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong.
        message: String,
        /// What to do about it.
        hint: String,
    },
    /// A builder that no folder carries.
    #[error("there is no builder `{name}`")]
    UnknownBuilder {
        /// What was asked for.
        name: String,
        /// What to do about it.
        hint: String,
    },
    /// A target that the pipeline does not have.
    #[error("the pipeline has no target `{name}`")]
    UnknownTarget {
        /// What was asked for.
        name: String,
        /// What to do about it.
        hint: String,
    },
    /// A builder's folder lacks something or contradicts itself.
    #[error("builder `{builder}`: {message}")]
    BadBuilder {
        /// The builder.
        builder: String,
        /// What is wrong.
        message: String,
        /// What to do about it.
        hint: String,
    },
}

impl Hint for ConfigError {
    fn hint(&self) -> String {
        match self {
            Self::Unreadable(error) => error.hint(),
            Self::NoLock { .. } => {
                "make it with `packhold update`, and commit it beside the pipeline".to_owned()
            }
            Self::NoPipeline { hint, .. }
            | Self::Invalid { hint, .. }
            | Self::UnknownBuilder { hint, .. }
            | Self::UnknownTarget { hint, .. }
            | Self::BadBuilder { hint, .. } => hint.clone(),
        }
    }
}
