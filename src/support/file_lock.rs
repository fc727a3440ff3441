use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::support::fs::{FsError, PathContext};

/// An exclusive lock between processes, held until it is dropped. The kernel releases it when its holder dies (flock(2)).
pub(crate) struct FileLock {
    _file: File,
}

impl FileLock {
    /// Waits for the lock whose file is `path`.
    pub(crate) fn take(path: &Path) -> Result<Self, FsError> {
        let file = open(path)?;
        lock(&file, FlockOperation::LockExclusive).at("lock", path)?;
        Ok(Self { _file: file })
    }
}

/// Takes the lock of `path` if nobody holds it; `None` if somebody does.
pub(crate) fn try_take(path: &Path) -> Result<Option<File>, FsError> {
    let file = open(path)?;
    match lock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error).at("lock", path),
    }
}

/// The file is opened for writing because network file systems demand it of an exclusive lock.
fn open(path: &Path) -> Result<File, FsError> {
    OpenOptions::new().create(true).truncate(false).write(true).open(path).at("open", path)
}

fn lock(file: &File, operation: FlockOperation) -> io::Result<()> {
    loop {
        match flock(file, operation) {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}
