use std::io;
use std::path::PathBuf;

use crate::model::{Digest, RunId};
use crate::support::Hint;
use crate::support::fs::FsError;
use crate::support::tar_reader::TarError;

/// What every call of the archive returns.
pub type Result<T, E = ArchiveError> = std::result::Result<T, E>;

/// Why the archive could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// A file system call failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// The folder is not an archive.
    #[error("{} is not an archive", path.display())]
    NotAnArchive {
        /// The folder.
        path: PathBuf,
    },
    /// The folder holds something else.
    #[error("{} is not empty and not an archive: it holds `{found}`", path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// Something that is in it.
        found: String,
    },
    /// The archive was written by a later Packhold, in a format that this one does not know.
    #[error("{} has archive format {version}; this program knows formats up to {known}", path.display())]
    Newer {
        /// The folder.
        path: PathBuf,
        /// Its format.
        version: String,
        /// The newest format that is known.
        known: u32,
    },
    /// A document of the archive cannot be read.
    #[error("{what} is damaged: {reason}")]
    Damaged {
        /// The document: a file's name or a blob's digest.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A blob is not there.
    #[error("the archive has no blob {digest} ({what})")]
    MissingBlob {
        /// The blob.
        digest: Digest,
        /// What it should hold.
        what: String,
    },
    /// Bytes do not have the digest by which they are named.
    #[error("{what} should have the digest {expected}, and has {found}")]
    WrongDigest {
        /// What was read.
        what: String,
        /// The digest by which it is named.
        expected: Digest,
        /// The digest of its bytes.
        found: Digest,
    },
    /// The stream that is to become an image cannot be read to its end.
    #[error("cannot read the image")]
    Input(#[source] io::Error),
    /// The stream that is to become an image is no sound tar.
    #[error("cannot read the image")]
    Tar(#[from] TarError),
    /// The stream that is to become an image is sound and holds no usable image.
    #[error("cannot use the image: {reason}")]
    BadImage {
        /// Why not.
        reason: String,
    },
    /// Whoever reads the exported image stopped reading.
    #[error("cannot write the image")]
    Output(#[source] io::Error),
    /// A record and what should be stored with it contradict each other.
    #[error("cannot store {what}: {reason}")]
    Inconsistent {
        /// The run or image.
        what: String,
        /// The contradiction.
        reason: String,
    },
    /// The archive has a run with this id and other contents.
    #[error("the archive already has a run {id}, and its contents differ")]
    RunExists {
        /// The id.
        id: RunId,
    },
    /// No run has this id.
    #[error("the archive has no run `{wanted}`")]
    UnknownRun {
        /// What was asked for.
        wanted: String,
        /// Ids that look alike, or the newest.
        near: Vec<RunId>,
    },
    /// Several runs have ids that begin so.
    #[error("`{wanted}` may mean any of {} runs", matches.len())]
    AmbiguousRun {
        /// What was asked for.
        wanted: String,
        /// The runs, newest first.
        matches: Vec<RunId>,
    },
    /// A run has no such target.
    #[error("run {run} has no files of target {target}")]
    UnknownTarget {
        /// The run.
        run: RunId,
        /// What was asked for.
        target: String,
        /// The targets that it has.
        known: Vec<String>,
    },
    /// The index would be larger than any reader takes.
    #[error("index.json of the archive would have {bytes} bytes, and may have {most}")]
    Full {
        /// Bytes that it would have.
        bytes: u64,
        /// Bytes that it may have.
        most: u64,
    },
    /// A file is in the way.
    #[error("{} exists and its contents differ from the archive's", path.display())]
    WouldOverwrite {
        /// The file.
        path: PathBuf,
    },
}

impl ArchiveError {
    /// True when a file system had no space left (or a quota was used up): trying again helps once there is some.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Fs(error) if error.is_full())
    }
}

impl Hint for ArchiveError {
    fn hint(&self) -> String {
        let list = |ids: &[RunId]| {
            let ids: Vec<&str> = ids.iter().take(5).map(RunId::as_str).collect();
            ids.join(", ")
        };
        match self {
            Self::Fs(error) => error.hint(),
            Self::NotAnArchive { .. } => {
                "name the folder that holds `oci-layout` and `index.json`; a run makes a new one".to_owned()
            }
            Self::Foreign { .. } => "name an empty folder, or one that does not exist yet".to_owned(),
            Self::Newer { .. } => "use a Packhold that is at least as new as the one that wrote it".to_owned(),
            Self::Damaged { .. } | Self::MissingBlob { .. } | Self::WrongDigest { .. } => {
                "`packhold archive verify` lists everything that is damaged; bring it back from another copy of \
                 the archive"
                    .to_owned()
            }
            Self::Input(_) | Self::Tar(_) => {
                "the stream broke off or is damaged: save the image again, and check that nothing cut it short"
                    .to_owned()
            }
            Self::BadImage { .. } => {
                "give the output of `docker save` or `podman save --format docker-archive` for one image".to_owned()
            }
            Self::Output(_) => "check why the reader of the image stopped".to_owned(),
            Self::Inconsistent { .. } => "store the run again with everything that its record names".to_owned(),
            Self::RunExists { .. } => "give the run an id of its own".to_owned(),
            Self::UnknownRun { near, .. } if near.is_empty() => "the archive has no runs yet".to_owned(),
            Self::UnknownRun { near, .. } => format!("there are: {}", list(near)),
            Self::AmbiguousRun { matches, .. } => format!("give more of the id; it may be {}", list(matches)),
            Self::UnknownTarget { known, .. } if known.is_empty() => "the run left no files".to_owned(),
            Self::UnknownTarget { known, .. } => format!("it has {}", known.join(", ")),
            Self::Full { .. } => "prune runs and their images, or begin another archive".to_owned(),
            Self::WouldOverwrite { .. } => "move the file away, or restore into another folder".to_owned(),
        }
    }
}
