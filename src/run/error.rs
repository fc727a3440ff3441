use std::path::{Path, PathBuf};

use crate::archive::ArchiveError;
use crate::config::ConfigError;
use crate::engine::EngineError;
use crate::model::{Architecture, Format, RunId, TargetName};
use crate::plan::packaging::BadDescription;
use crate::publish::PublishError;
use crate::sign::SignError;
use crate::source::SourceError;
use crate::support::Hint;
use crate::support::fs::FsError;
use crate::versions::GuardError;

/// Why no run began.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A pipeline or builder cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Packaging cannot be made of the pipeline's `[package]`.
    #[error(transparent)]
    Description(#[from] BadDescription),
    /// A file that is to be written is there already.
    #[error("{} is there already", path.display())]
    WouldOverwrite {
        /// The file.
        path: PathBuf,
    },
    /// There is nothing to eject, or no place for it.
    #[error("{what}")]
    NoEject {
        /// Why.
        what: String,
        /// What to do about it.
        hint: String,
    },
    /// The commit cannot be had.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The engine does not do its work.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The archive cannot be used.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A folder of ours cannot be used.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// A file that was named as a package is none.
    #[error("{} is not the name of a {format} package", path.display())]
    NoPackage {
        /// The file.
        path: PathBuf,
        /// What packages of the target are.
        format: Format,
    },
    /// Two files with one name cannot be installed together.
    #[error("two files are called {name}")]
    SameName {
        /// The name.
        name: String,
    },
    /// A target is for an architecture whose programs the engine's containers cannot run.
    #[error("{target}: the {engine} engine's containers run programs for {own}, and {}", why(.architecture, .interpreter.as_deref()))]
    NoEmulator {
        /// The target.
        target: Box<TargetName>,
        /// What it is for.
        architecture: Architecture,
        /// The engine.
        engine: String,
        /// The engine's own architecture, in OCI's word.
        own: String,
        /// The emulator that is registered, but not for containers.
        interpreter: Option<PathBuf>,
    },
    /// Something cannot be published.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// A key does not sign.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// A version is no upgrade.
    #[error(transparent)]
    Guard(Box<GuardError>),
    /// A tag that no release can be of.
    #[error("the tag `{tag}` is no release: {why}")]
    NoRelease {
        /// The tag.
        tag: String,
        /// Why.
        why: String,
    },
    /// A run has nothing that may be published.
    #[error("run {run} is not published: {what}")]
    NotPublished {
        /// The run.
        run: RunId,
        /// Why.
        what: String,
    },
    /// The user or the system asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl From<GuardError> for RunError {
    fn from(error: GuardError) -> Self {
        Self::Guard(Box::new(error))
    }
}

fn why(architecture: &Architecture, interpreter: Option<&Path>) -> String {
    match interpreter {
        None => format!("no emulator for {architecture} is registered with binfmt_misc"),
        Some(path) => format!(
            "the emulator for {architecture}, {}, is registered without flag F, so that containers do not see it",
            path.display()
        ),
    }
}

/// What gives a machine emulators that containers can use.
pub(super) const REGISTER: &str =
    "`apt-get install qemu-user-static binfmt-support arch-test` registers them";

impl RunError {
    /// The process's exit code: 2 for bad input, 3 for infrastructure, 130 for an interruption.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_)
            | Self::Description(_)
            | Self::WouldOverwrite { .. }
            | Self::NoEject { .. }
            | Self::NoPackage { .. }
            | Self::SameName { .. } => 2,
            Self::Source(
                SourceError::NoGitCommand(_)
                | SourceError::GitCommand { .. }
                | SourceError::Git { .. }
                | SourceError::Write(_)
                | SourceError::Fs(_),
            ) => 3,
            Self::Source(_) => 2,
            Self::Archive(error) => exit_code_of(error),
            Self::Publish(error) if !error.is_usage() => 3,
            Self::Publish(_) | Self::Guard(_) | Self::NotPublished { .. } | Self::NoRelease { .. } => 2,
            Self::Sign(error) => error.exit_code(),
            Self::Engine(_) | Self::Fs(_) | Self::NoEmulator { .. } => 3,
            Self::Interrupted => 130,
        }
    }
}

/// The process's exit code for an error of the archive.
pub fn exit_code_of(error: &ArchiveError) -> u8 {
    match error {
        ArchiveError::NotAnArchive { .. }
        | ArchiveError::Foreign { .. }
        | ArchiveError::UnknownRun { .. }
        | ArchiveError::AmbiguousRun { .. }
        | ArchiveError::UnknownTarget { .. }
        | ArchiveError::WouldOverwrite { .. } => 2,
        _ => 3,
    }
}

impl Hint for RunError {
    fn hint(&self) -> String {
        match self {
            Self::Config(error) => error.hint(),
            Self::Description(error) => error.hint.clone(),
            Self::WouldOverwrite { .. } => {
                "remove it, or keep it and name it in `packaging` of the target: nothing was written"
                    .to_owned()
            }
            Self::NoEject { hint, .. } => hint.clone(),
            Self::Source(error) => error.hint(),
            Self::Engine(error) => error.hint(),
            Self::Archive(error) => error.hint(),
            Self::Fs(error) => error.hint(),
            Self::Publish(error) => error.hint(),
            Self::Sign(error) => error.hint(),
            Self::Guard(error) => error.hint(),
            Self::NoRelease { .. } => {
                "choose another tag, or make the one that is meant by hand: git tag".to_owned()
            }
            Self::NotPublished { run, .. } => format!("`packhold archive show {run}` says what it has"),
            Self::NoPackage { format, .. } => {
                format!(
                    "name binary packages for users, which end in .{format}; leave debug and source packages out"
                )
            }
            Self::SameName { .. } => "name each package once".to_owned(),
            Self::NoEmulator { .. } => format!(
                "{REGISTER} (with flag F); where no service manager does it, `mount -t binfmt_misc binfmt_misc \
                 /proc/sys/fs/binfmt_misc` and `update-binfmts --enable` do; `packhold doctor` shows what is there; or choose \
                 other targets with --target"
            ),
            Self::Interrupted => "run it again; what was finished is reused".to_owned(),
        }
    }
}
