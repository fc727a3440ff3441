use std::io;

use crate::engine::EngineError;
use crate::model::Digest;
use crate::support::fs::{FsError, is_full};
use crate::support::tar_reader::TarError;

/// What went wrong inside of the store; [`StoreError::during`] makes an engine's error of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    /// The store's own file system.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// What came in is not accepted: in words.
    #[error("{0}")]
    Refused(String),
    /// An entry of a layer could not be made in the file system.
    #[error("`{name}` of a layer cannot be unpacked: {source}")]
    Entry {
        /// Its name.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// An entry of a container could not be read.
    #[error("`{name}` of the container cannot be read: {source}")]
    Upper {
        /// Its name.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// Bytes are not those that were promised.
    #[error("{what} should be {expected} and is {found}")]
    WrongDigest {
        /// What they are the bytes of.
        what: String,
        /// What they should be.
        expected: Digest,
        /// What they are.
        found: Digest,
    },
    /// The store has no such image or layer.
    #[error("there is no {0}")]
    Missing(String),
    /// What comes in broke off.
    #[error("{0}")]
    Input(io::Error),
    /// Whoever wanted it wants it no more.
    #[error("it was cancelled")]
    Cancelled,
}

/// The store's own result.
pub(super) type Result<T, E = StoreError> = std::result::Result<T, E>;

impl StoreError {
    /// True when the store's disk is full.
    pub(super) fn is_full(&self) -> bool {
        match self {
            Self::Fs(error) => error.is_full(),
            Self::Entry { source, .. } | Self::Input(source) => is_full(source),
            _ => false,
        }
    }

    /// The engine's error for who asked for `action`, in words.
    pub(super) fn during(self, action: impl Into<String>) -> EngineError {
        let action = action.into();
        match self {
            _ if self.is_full() => EngineError::NoSpace { action, message: chain(&self) },
            Self::Missing(what) => EngineError::NotFound(what),
            // A decoder tells what is wrong with its input in the words of I/O.
            Self::Input(error)
                if !matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::Other) =>
            {
                EngineError::Stream { action, source: error }
            }
            _ => EngineError::Refused { action, message: chain(&self) },
        }
    }
}

impl From<TarError> for StoreError {
    fn from(error: TarError) -> Self {
        match error {
            TarError::Io(error) => Self::Input(error),
            error => Self::Refused(error.to_string()),
        }
    }
}

/// An error and its causes in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !words.ends_with(&said) {
            words = format!("{words}: {said}");
        }
        cause = error.source();
    }
    words
}
