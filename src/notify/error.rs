use std::path::PathBuf;

use crate::sign::SignError;
use crate::support::Hint;

/// Why nobody can be told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotifyError {
    /// A secret cannot be read.
    #[error(transparent)]
    Secret(#[from] SignError),
    /// A file holds no secret.
    #[error("{} holds no {what}", path.display())]
    NoSecret {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// What to do about it.
        hint: &'static str,
    },
    /// There is no TLS on this machine.
    #[error("cannot speak with anybody by https")]
    Client(#[source] reqwest::Error),
}

impl Hint for NotifyError {
    fn hint(&self) -> String {
        match self {
            Self::Secret(error) => error.hint(),
            Self::NoSecret { hint, .. } => (*hint).to_owned(),
            Self::Client(_) => {
                "install the certificates of authorities: Debian's package ca-certificates".to_owned()
            }
        }
    }
}
