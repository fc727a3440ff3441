use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::layout::Layout;
use crate::support::fs::{FsError, PathContext};

/// Begins the names of what is in the trash, below `tmp`.
const GONE: &str = "gone-";

/// What is not seen any more and is removed when this value goes: it may take long, and nobody is to wait for it under the
/// lock. Nothing is made for it, so that it works on a disk that is full.
pub(super) struct Trash {
    tmp: PathBuf,
    taken: Vec<PathBuf>,
}

impl Trash {
    pub(super) fn new(layout: &Layout) -> Self {
        Self { tmp: layout.tmp(), taken: Vec::new() }
    }

    /// Takes a folder out of its place. The caller holds the store's lock.
    pub(super) fn take(&mut self, path: &Path) -> Result<(), FsError> {
        let place = self.tmp.join(format!("{GONE}{}", ulid::Ulid::generate()));
        fs::rename(path, &place).at("remove", path)?;
        self.taken.push(place);
        Ok(())
    }
}

impl Drop for Trash {
    fn drop(&mut self) {
        for path in &self.taken {
            // What cannot be removed now goes with the next sweep.
            if let Err(error) = empty(path) {
                tracing::debug!(%error, "a layer that nobody needs stays for now");
            }
        }
    }
}

/// Whether this, below `tmp`, is something that its owner may have died with.
pub(super) fn is_trash(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(GONE))
}

/// Removes what is in the trash. Somebody else may be at it.
pub(super) fn empty(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
