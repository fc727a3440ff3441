//! Where a repository is kept: static files under keys such as `dists/bookworm/InRelease`.

mod bucket;
mod folder;
mod location;
mod rsync;
mod shared;

use std::any::Any;
use std::path::Path;

use async_trait::async_trait;
use jiff::Timestamp;

pub use bucket::Bucket;
pub use folder::Folder;
pub use location::{Access, Location};
pub use rsync::Rsync;

use super::Result;

/// One version of a file, as its place tells versions apart (a digest, an ETag).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp(pub(super) String);

/// A file that was read.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its content.
    pub bytes: Vec<u8>,
    /// Which version of it that is.
    pub stamp: Stamp,
}

/// A file that was listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// When it was last written.
    pub modified: Timestamp,
}

/// A place that holds a repository. Each file is seen whole or not at all.
#[async_trait]
pub trait Place: Send + Sync {
    /// The place, for people.
    fn name(&self) -> String;

    /// Keeps other publishers out until the guard is dropped, where the place can do so. Where it cannot,
    /// [`Place::put_if_unchanged`] alone has to keep them apart, and is enough.
    async fn lock(&self) -> Result<Box<dyn Any + Send>>;

    /// A file, or `None` if there is none; an error if it has more than `most` bytes.
    async fn get(&self, key: &str, most: u64) -> Result<Option<Found>>;

    /// As [`Place::get`], without telling which version it is.
    async fn content(&self, key: &str, most: u64) -> Result<Option<Vec<u8>>> {
        Ok(self.get(key, most).await?.map(|found| found.bytes))
    }

    /// Bytes of a file, or `None` if there is none.
    async fn size(&self, key: &str) -> Result<Option<u64>>;

    /// Writes a file.
    async fn put(&self, key: &str, bytes: Vec<u8>) -> Result<()>;

    /// Writes files of which none needs another to be there: in less time than one after the other, where the place can do so.
    async fn put_all(&self, files: Vec<(String, Vec<u8>)>) -> Result<()> {
        for (key, bytes) in files {
            self.put(&key, bytes).await?;
        }
        Ok(())
    }

    /// Writes the content of a local file.
    async fn put_file(&self, key: &str, path: &Path) -> Result<()>;

    /// Writes a file if it still is the version `seen` (`None`: if there still is none). Tells whether it did; a publisher
    /// that learns that it did not has to read it again.
    async fn put_if_unchanged(&self, key: &str, bytes: Vec<u8>, seen: Option<&Stamp>) -> Result<bool>;

    /// Makes a second file of the content of a first.
    async fn copy(&self, from: &str, to: &str) -> Result<()>;

    /// All files whose keys begin with `folder` and a slash.
    async fn list(&self, folder: &str) -> Result<Vec<Listed>>;

    /// The names of the folders in `folder`.
    async fn folders(&self, folder: &str) -> Result<Vec<String>>;

    /// Removes a file; no error if there is none.
    async fn delete(&self, key: &str) -> Result<()>;

    /// Ends a publication: what was written and removed since the last anchor is seen by clients at the latest now.
    async fn settle(&self) -> Result<()> {
        Ok(())
    }
}
