use std::fmt::Write;

use crate::archive::ArchiveError;
use crate::config::ConfigError;
use crate::engine::EngineError;
use crate::notify::NotifyError;
use crate::provenance::EnvelopeError;
use crate::remote::RemoteError;
use crate::run::{RunError, exit_code_of};
use crate::sign::SignError;
use crate::support::Hint;
use crate::support::fs::FsError;

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Receipt(#[from] EnvelopeError),
    #[error(transparent)]
    Remote(#[from] RemoteError),
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error(transparent)]
    Notify(#[from] NotifyError),
    #[error("{message}")]
    Usage { message: String, hint: String },
}

impl CliError {
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Run(error) => error.exit_code(),
            Self::Remote(RemoteError::BadLocation { .. } | RemoteError::UnknownRun { .. })
            | Self::Notify(_)
            | Self::Usage { .. } => 2,
            Self::Remote(RemoteError::Archive(error)) => exit_code_of(error),
            Self::Remote(_) => 3,
            Self::Sign(error) => error.exit_code(),
            Self::Receipt(
                EnvelopeError::Fs(_) | EnvelopeError::Exposed { .. } | EnvelopeError::BadKey { .. },
            ) => 2,
            Self::Receipt(_) => 1,
        }
    }

    /// What is printed: the error, its causes, and what to do.
    pub fn render(&self) -> String {
        let mut text = format!("Error: {self}\n");
        let mut last = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let said = error.to_string();
            // Errors that only pass another on say the same words.
            if said != last {
                let _ = writeln!(text, "Caused by: {said}");
            }
            last = said;
            cause = error.source();
        }
        let _ = writeln!(text, "Hint: {}", self.hint());
        text
    }
}

impl Hint for CliError {
    fn hint(&self) -> String {
        match self {
            Self::Run(error) => error.hint(),
            Self::Remote(error) => error.hint(),
            Self::Receipt(error) => error.hint(),
            Self::Sign(error) => error.hint(),
            Self::Notify(error) => error.hint(),
            Self::Usage { hint, .. } => hint.clone(),
        }
    }
}

macro_rules! through_run_error {
    ($($kind:ty),*) => {
        $(impl From<$kind> for CliError {
            fn from(error: $kind) -> Self {
                Self::Run(error.into())
            }
        })*
    };
}

through_run_error!(crate::publish::PublishError, ConfigError, EngineError, ArchiveError, FsError);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::fs::PathContext;

    #[test]
    fn an_error_names_the_object_its_cause_and_ends_with_a_hint() {
        let error =
            std::fs::read("/nonexistent/packhold.toml").at("read", "/nonexistent/packhold.toml").unwrap_err();
        assert_eq!(
            CliError::from(error).render(),
            "Error: cannot read /nonexistent/packhold.toml\n\
             Caused by: No such file or directory (os error 2)\n\
             Hint: check the spelling of the path\n"
        );
    }

    #[test]
    fn every_kind_of_error_has_its_exit_code() {
        let unreachable =
            EngineError::Unreachable { engine: "docker".into(), address: "x".into(), source: None };
        assert_eq!(CliError::from(unreachable).exit_code(), 3);
        let unknown = ConfigError::UnknownTarget { name: "x".into(), hint: "y".into() };
        assert_eq!(CliError::from(unknown).exit_code(), 2);
        assert_eq!(CliError::Run(RunError::Interrupted).exit_code(), 130);
    }
}
