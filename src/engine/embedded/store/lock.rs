use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use crate::support::fs::{FsError, PathContext};

/// The store's exclusive lock, held until it is dropped. It guards what is seen of the store: tags, images, leases, what is
/// published and what is removed; never long work. The kernel releases it when its holder dies (flock(2)).
pub(super) struct StoreLock {
    _file: File,
}

impl StoreLock {
    /// Waits for the lock whose file is `path`.
    pub(super) fn take(path: &Path) -> Result<Self, FsError> {
        let file = open(path)?;
        file.lock().at("lock", path)?;
        Ok(Self { _file: file })
    }
}

/// Takes the lock of `path` if nobody holds it; `None` if somebody does.
pub(super) fn try_take(path: &Path) -> Result<Option<File>, FsError> {
    let file = open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error).at("lock", path),
    }
}

fn open(path: &Path) -> Result<File, FsError> {
    OpenOptions::new().create(true).truncate(false).write(true).open(path).at("open", path)
}
