//! A git commit, as a deterministic tar and as a version.
//!
//! [`Repository`] opens a repository on disk or at an address, [`Repository::resolve`] finds a [`Commit`], and from
//! there everything is read from the repository's objects: the working directory is never looked at, but for
//! [`Repository::is_dirty`]. libgit2 reads the objects; the network is left to the `git` command, because it knows the
//! user's credential helpers, proxies and ssh settings.
//!
//! What a source tree is, byte for byte, is described at [`Repository::export`]; how a version follows from a commit,
//! at [`version`].

mod added;
mod changes;
mod error;
mod export;
mod fetch;
mod location;
mod repository;
mod submodule;
mod tag;
mod tarball;
#[cfg(test)]
mod testing;
mod tree;
pub mod version;
mod work_files;

pub use added::AddedFile;
pub use error::{SourceError, UnknownRevision};
pub use export::ExportedTree;
pub use location::Location;
pub use repository::{Commit, Repository};
pub use tag::SignedTag;
pub use tree::{TreeEntry, TreeEntryKind};
pub use version::VersionSource;
pub use work_files::WorkFile;

/// What the functions of this layer return.
pub type Result<T, E = SourceError> = std::result::Result<T, E>;
