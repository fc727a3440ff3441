use std::io;
use std::path::PathBuf;

use crate::support::Hint;
use crate::support::fs::FsError;

/// Why a commit could not be read, exported or given a version.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// A location that is neither a path nor an address that Packhold fetches from.
    #[error("`{location}` is not a usable repository: {reason}")]
    BadLocation {
        /// The location, without a password.
        location: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No repository holds the path.
    #[error("{} is not in a git repository", path.display())]
    NotARepository {
        /// Where one was looked for.
        path: PathBuf,
    },
    /// The repository belongs to another user, and git does not trust it.
    #[error("the git repository at {} belongs to another user", path.display())]
    NotOwned {
        /// The repository.
        path: PathBuf,
    },
    /// The repository has no commits yet.
    #[error("the repository {repository} has no commits")]
    EmptyRepository {
        /// The repository.
        repository: String,
    },
    /// No commit has this name.
    #[error(transparent)]
    UnknownRevision(#[from] UnknownRevision),
    /// An abbreviated commit id that more than one object has.
    #[error("`{rev}` is the start of more than one object's id in {repository}")]
    AmbiguousRevision {
        /// The revision.
        rev: String,
        /// The repository.
        repository: String,
    },
    /// History was cut off, so that a version cannot be counted from the last tag.
    #[error("{repository} is a shallow clone: the commits since the last release cannot be counted")]
    Shallow {
        /// The repository.
        repository: String,
    },
    /// A path that leaves the source tree, or is not a path.
    #[error("`{path}` is not a relative path inside the source tree")]
    BadPath {
        /// The path.
        path: String,
    },
    /// The commit has no such folder.
    #[error("commit {commit} has no folder `{path}`")]
    NoFolder {
        /// The path.
        path: String,
        /// The commit's abbreviated id.
        commit: String,
    },
    /// A symbolic link that leads out of the source tree, or nowhere but to itself.
    #[error("the symbolic link `{path}` leads out of the source tree or in a circle")]
    BadLink {
        /// The link's path.
        path: String,
    },
    /// An entry that no sound git tree has. Extracting it could write outside of the tree.
    #[error("the commit's tree is damaged or hostile at `{path}`: {reason}")]
    BadTree {
        /// The entry's path.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A place in the source tree that is to get a file, and has something already.
    #[error("the commit has `{path}` already, where Packhold would put packaging that is made of [package]")]
    Occupied {
        /// The path.
        path: String,
    },
    /// A submodule that `.gitmodules` does not describe, or not safely.
    #[error("the submodule at `{path}` cannot be used: {reason}")]
    BadSubmodule {
        /// Where it is in the tree.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A submodule's commit is neither here nor at its address.
    #[error("commit {commit} of the submodule `{name}` was not found at {url}")]
    MissingSubmodule {
        /// The submodule's name in `.gitmodules`.
        name: String,
        /// Its address, without a password.
        url: String,
        /// The commit that the source tree names.
        commit: String,
        /// Why it could not be fetched.
        source: Box<SourceError>,
    },
    /// A tag that looks like a version and is not one by the scheme of [`version`](super::version).
    #[error("the tag `{tag}` does not give a version: {reason}")]
    BadTag {
        /// The tag.
        tag: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A tag that is not there and cannot be made.
    #[error("cannot make the tag `{tag}`: {reason}")]
    NoTag {
        /// The tag's name.
        tag: String,
        /// Why.
        reason: &'static str,
    },
    /// A release is to come from a signed tag, and this is none.
    #[error("the tag `{tag}` is not signed: {reason}")]
    NotSigned {
        /// The tag.
        tag: String,
        /// What it is instead.
        reason: &'static str,
    },
    /// The commit does not have the file that should name the version.
    #[error("commit {commit} has no file `{path}` to take the version from")]
    NoVersionFile {
        /// The file.
        path: String,
        /// The commit's abbreviated id.
        commit: String,
    },
    /// The file that should name the version does not, or not in plain text.
    #[error("{path}:{line}: {reason}")]
    BadVersionFile {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A Debian revision or an rpm release with characters that it cannot have.
    #[error("`{text}` is not a {what}")]
    BadRevision {
        /// What was given.
        text: String,
        /// What it should have been.
        what: &'static str,
    },
    /// The `git` command could not be started.
    #[error("cannot run the command `git`")]
    NoGitCommand(#[source] io::Error),
    /// The `git` command failed.
    #[error("git could not {action}: {message}")]
    GitCommand {
        /// What was tried, naming the repository.
        action: String,
        /// What git printed, without passwords.
        message: String,
    },
    /// An object that the commit needs is not in the repository.
    #[error("{repository} lacks an object of the commit: {object}")]
    MissingObject {
        /// The repository.
        repository: String,
        /// The object's id, or what was looked for.
        object: String,
        /// What libgit2 says.
        source: git2::Error,
    },
    /// libgit2 could not read the repository.
    #[error("cannot {action} {repository}")]
    Git {
        /// What was tried.
        action: &'static str,
        /// The repository.
        repository: String,
        /// What libgit2 says.
        source: git2::Error,
    },
    /// The source tree's tar could not be written.
    #[error("cannot write the source tree")]
    Write(#[source] io::Error),
    /// The cache of fetched repositories could not be used.
    #[error(transparent)]
    Fs(#[from] FsError),
}

/// A revision that names no commit.
#[derive(Debug, thiserror::Error)]
#[error("`{rev}` is not a commit, a tag or a branch of {repository}")]
pub struct UnknownRevision {
    /// The revision.
    pub rev: String,
    /// The repository.
    pub repository: String,
    /// The branch or tag whose name is most like it.
    pub nearest: Option<String>,
    /// True when the repository's history was cut off.
    pub shallow: bool,
}

impl Hint for SourceError {
    fn hint(&self) -> String {
        match self {
            Self::BadLocation { .. } => {
                "give a path, or an address that starts with https://, ssh://, file:// or user@host:".into()
            }
            Self::NotARepository { .. } => {
                "name a folder of a git repository, or make one: git init && git add . && git commit".into()
            }
            Self::NotOwned { path } => {
                format!("if you trust it: git config --global --add safe.directory {}", path.display())
            }
            Self::EmptyRepository { .. } => "commit the sources first: only a commit can be built".into(),
            Self::UnknownRevision(UnknownRevision { nearest: Some(name), .. }) => {
                format!("did you mean `{name}`?")
            }
            Self::UnknownRevision(UnknownRevision { shallow: true, .. }) => {
                "the clone is shallow; fetch the rest: git fetch --unshallow --tags".into()
            }
            Self::UnknownRevision(_) => "see `git log --all --oneline`, or fetch what is missing".into(),
            Self::AmbiguousRevision { .. } => "give more digits of the commit's id".into(),
            Self::Shallow { .. } => {
                "fetch the whole history (git fetch --unshallow --tags; in CI: fetch depth 0), or take the version \
                 from a file"
                    .into()
            }
            Self::BadPath { .. } => "write the path from the top of the tree, without `..`".into(),
            Self::NoFolder { .. } => {
                "check the spelling, and that the folder is committed: only what is in the commit is built".into()
            }
            Self::BadLink { .. } => "let the link point to a file of the same tree, relative to the link".into(),
            Self::Occupied { .. } => {
                "remove it, or name the packaging that is in the repository: `packaging` of the target".into()
            }
            Self::BadTree { .. } => "check the repository: git fsck --full".into(),
            Self::BadSubmodule { .. } => "correct .gitmodules in the commit, or build without submodules".into(),
            Self::MissingSubmodule { .. } => {
                "fetch it here (git submodule update --init --recursive), make its address reachable, or build without \
                 submodules"
                    .into()
            }
            Self::BadTag { .. } => {
                "tag releases like v1.2.3 or v1.2.3-rc1, choose another tag prefix, or take the version from a file"
                    .into()
            }
            Self::NoTag { tag, .. } => {
                format!("make it yourself: `git tag --annotate {tag}`, and push it where others fetch from")
            }
            Self::NotSigned { .. } => "sign it: git tag --sign v1.2.3".into(),
            Self::NoVersionFile { .. } => "commit the file, or take the version from tags".into(),
            Self::BadVersionFile { .. } => {
                "write the version out in the file (`Version: 1.2.3`, `name (1.2.3-1) …`), or take it from tags".into()
            }
            Self::BadRevision { .. } => "use letters, digits, `.`, `+` and `~`: `1`, `1~bpo12+1`".into(),
            Self::NoGitCommand(_) => "install git: it fetches what is not on this machine".into(),
            Self::GitCommand { .. } => {
                "try it by hand with `git ls-remote`; Packhold never asks for a password: configure a credential \
                 helper or an ssh agent"
                    .into()
            }
            Self::MissingObject { .. } => {
                "the clone is partial or damaged; make it whole: git fetch --refetch --no-filter".into()
            }
            Self::Git { .. } => "check the repository: git fsck --full".into(),
            Self::Write(error) if crate::support::fs::is_full(error) => {
                "free some space, then run it again".into()
            }
            Self::Write(_) => "see the cause above".into(),
            Self::Fs(error) => error.hint(),
        }
    }
}

impl SourceError {
    /// Adds to libgit2's error what was tried, and on which repository.
    pub(super) fn git(action: &'static str, repository: &str) -> impl FnOnce(git2::Error) -> Self {
        let repository = repository.to_owned();
        move |source| Self::Git { action, repository, source }
    }
}
