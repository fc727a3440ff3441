use std::io;

use crate::archive::ArchiveError;
use crate::model::RunId;
use crate::support::Hint;
use crate::support::fs::FsError;

/// What every call that leaves the machine returns.
pub type Result<T, E = RemoteError> = std::result::Result<T, E>;

/// Why a run could not travel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// The archive here could not do its part.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A file here could not be read or written.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// The place cannot be understood.
    #[error("`{text}` is no place that keeps runs: {reason}")]
    BadLocation {
        /// As it was given.
        text: String,
        /// Why not.
        reason: String,
    },
    /// The place does not have the run.
    #[error("{place} has no run {run}")]
    UnknownRun {
        /// The place.
        place: String,
        /// What was asked for.
        run: RunId,
    },
    /// The place wants to know who asks, or does not let them.
    #[error("{place} refuses access")]
    Denied {
        /// The place.
        place: String,
        /// What it said.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The place does not answer, or with an error.
    #[error("cannot {action} {place}")]
    Failed {
        /// What was tried: `read from`, `write to`.
        action: &'static str,
        /// The place.
        place: String,
        /// What it said.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The connection broke off in the middle of a file.
    #[error("{place} broke off in the middle of {object}")]
    BrokeOff {
        /// The place.
        place: String,
        /// The file.
        object: String,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// What the place has was not written by Packhold, or by a later one.
    #[error("{place} holds something that cannot be used: {reason}")]
    Foreign {
        /// The place.
        place: String,
        /// What is wrong.
        reason: String,
    },
}

impl RemoteError {
    /// True when trying again may help.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::Failed { .. } | Self::BrokeOff { .. })
    }
}

impl Hint for RemoteError {
    fn hint(&self) -> String {
        match self {
            Self::Archive(error) => error.hint(),
            Self::Fs(error) => error.hint(),
            Self::BadLocation { .. } => {
                "write oci://HOST/REPOSITORY, oci+http://HOST/REPOSITORY, s3://BUCKET/PREFIX, or a folder".to_owned()
            }
            Self::UnknownRun { .. } => "`packhold archive list` says which runs are here; a run has to be pushed first".to_owned(),
            Self::Denied { .. } => {
                "log in with `docker login` or `skopeo login`, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                    .to_owned()
            }
            Self::Failed { .. } | Self::BrokeOff { .. } => {
                "run it again: what has travelled is not sent again".to_owned()
            }
            Self::Foreign { .. } => "check the name of the repository or the prefix".to_owned(),
        }
    }
}
