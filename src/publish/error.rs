use std::error::Error;
use std::path::PathBuf;

use crate::sign::SignError;
use crate::support::Hint;
use crate::support::fs::FsError;
use crate::versions::GuardError;

/// Why something could not be published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// A file system call failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// A place that holds a repository could not be read or written.
    #[error("cannot {action} {key} of {place}")]
    Place {
        /// What was tried: `read`, `write`, `list`, `delete`.
        action: &'static str,
        /// The place, for people.
        place: String,
        /// The file of the repository.
        key: String,
        /// Why it failed.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A place does not let in who asks.
    #[error("{place} refuses access")]
    Denied {
        /// The place, for people.
        place: String,
        /// What it said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Storage with which publishers would overwrite what others have written.
    #[error("{place} writes files whether or not they are still what was read")]
    Unconditional {
        /// The place, for people.
        place: String,
    },
    /// rsync has not done its work.
    #[error("rsync cannot {action} {place}: {said}")]
    Rsync {
        /// What was tried: `read from`, `write to`.
        action: &'static str,
        /// The place, as rsync is told.
        place: String,
        /// What it said, or why it could not be started.
        said: String,
    },
    /// No place is meant by that.
    #[error("`{text}` is no place of a repository: {reason}")]
    Location {
        /// As it was given.
        text: String,
        /// Why not.
        reason: String,
    },
    /// A package that no repository should offer.
    #[error("{file} cannot be published: {reason}")]
    Package {
        /// The file's name.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A version was published before, with other bytes.
    #[error("{path} is published already, with other content")]
    Conflict {
        /// The file in the repository.
        path: String,
    },
    /// Something in the repository cannot be understood.
    #[error("{key} of the repository cannot be used: {reason}")]
    Foreign {
        /// The file.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A name that may not stand in a repository.
    #[error("`{name}` is no name for a {what}")]
    Name {
        /// What it would name.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// It is no upgrade of what users have.
    #[error(transparent)]
    Guard(Box<GuardError>),
    /// The signature could not be made.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// What is there would be signed, though nothing shows who has put it there.
    #[error("{key} is there, and not signed by a key that is given")]
    Untrusted {
        /// What nobody known has signed.
        key: String,
    },
    /// A signed repository would become one without signature.
    #[error("{key} is signed, and would be no more")]
    WouldUnsign {
        /// What is signed.
        key: String,
    },
    /// Others published all the time.
    #[error("{key} changed {attempts} times while it was being published")]
    Contended {
        /// What was to be switched.
        key: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// There is nothing to import, or it has to be said what.
    #[error("{} cannot be imported: {reason}", folder.display())]
    NothingToImport {
        /// The folder of the repository.
        folder: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A package of an imported repository has not arrived.
    #[error("{package} was imported, and the channel does not offer it")]
    NotImported {
        /// The package, with version and architecture.
        package: String,
    },
    /// There is no earlier state.
    #[error("channel {channel} has no earlier state")]
    NothingBefore {
        /// The channel.
        channel: String,
    },
    /// There is nothing to promote.
    #[error("channel {channel} offers nothing of {what}")]
    NothingToPromote {
        /// The channel.
        channel: String,
        /// What was asked for.
        what: String,
    },
}

/// What publishing gives.
pub type Result<T> = std::result::Result<T, PublishError>;

impl From<GuardError> for PublishError {
    fn from(error: GuardError) -> Self {
        Self::Guard(Box::new(error))
    }
}

impl PublishError {
    /// True where the person who asked can do something about it, and a machine cannot.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Name { .. }
                | Self::Location { .. }
                | Self::Unconditional { .. }
                | Self::Guard(_)
                | Self::Conflict { .. }
                | Self::Package { .. }
                | Self::Untrusted { .. }
                | Self::WouldUnsign { .. }
                | Self::NothingToImport { .. }
                | Self::NothingBefore { .. }
                | Self::NothingToPromote { .. }
        )
    }
}

impl Hint for PublishError {
    fn hint(&self) -> String {
        match self {
            Self::Fs(error) => error.hint(),
            Self::Place { .. } => "check the address, the permissions and the free space of the place".to_owned(),
            Self::Denied { .. } => {
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to those of somebody who may read, write and list there".to_owned()
            }
            Self::Unconditional { .. } => {
                "it has to heed If-Match and If-None-Match, as Amazon S3, MinIO, Ceph and Cloudflare R2 do in later versions; or publish to a folder and copy that".to_owned()
            }
            Self::Rsync { .. } => {
                "rsync has to be on both machines, and `rsync --list-only PLACE/` has to work by itself; RSYNC_RSH names another remote shell than ssh".to_owned()
            }
            Self::Location { .. } => {
                "write a folder, s3://BUCKET/PREFIX, rsync:HOST:PATH or rsync://HOST/MODULE/PATH".to_owned()
            }
            Self::Package { .. } => "build it again; a package is published as it is or not at all".to_owned(),
            Self::Conflict { .. } => {
                "what users may have installed never changes: publish it with a higher version".to_owned()
            }
            Self::Foreign { .. } => {
                "was it written by another program or changed by hand? restore it, or publish to an empty place".to_owned()
            }
            Self::Name { .. } => "use lower-case letters, digits, `.`, `+`, `~` and `-`, and begin with a letter or digit".to_owned(),
            Self::Guard(error) => error.hint(),
            Self::Sign(error) => error.hint(),
            Self::Untrusted { .. } => {
                "look at what it offers: whoever can write there may have put it there; to take it over, say --adopt once".to_owned()
            }
            Self::WouldUnsign { .. } => "give the key that signs it".to_owned(),
            Self::Contended { .. } => "try again when fewer others publish to it".to_owned(),
            Self::NothingToImport { .. } => {
                "name the folder that apt's or dnf's address stands for; --suite says which suite, --distro for which distro release".to_owned()
            }
            Self::NotImported { .. } => "does another one publish to the channel, with fewer versions to keep? import again".to_owned(),
            Self::NothingBefore { .. } => "earlier states are kept for a while only; publish the older version's run again".to_owned(),
            Self::NothingToPromote { .. } => "publish it to that channel first".to_owned(),
        }
    }
}
