//! File system calls whose errors name the path and the action.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::Hint;

/// A file system call that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub struct FsError {
    /// What was tried: `read`, `write`, `create` …
    pub action: &'static str,
    /// On what.
    pub path: PathBuf,
    /// Why it failed.
    pub source: io::Error,
}

impl FsError {
    /// True when the file system had no space, no quota or no inode left.
    pub fn is_full(&self) -> bool {
        is_full(&self.source)
    }
}

impl FsError {
    /// True when the path may be read and not written.
    pub fn is_read_only(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
    }
}

/// True when `error` says that a file system is full or a quota is used up.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl Hint for FsError {
    fn hint(&self) -> String {
        match self.source.kind() {
            _ if self.is_full() => {
                format!("free some space on the file system of {}, then run it again", self.path.display())
            }
            io::ErrorKind::PermissionDenied => "check the owner and the mode of the path".to_owned(),
            io::ErrorKind::NotFound => "check the spelling of the path".to_owned(),
            io::ErrorKind::ReadOnlyFilesystem => "choose a folder that can be written".to_owned(),
            _ => "see the cause above".to_owned(),
        }
    }
}

/// The first `most` bytes of a regular file, which may have been put there by a stranger. See [`open_regular`].
pub fn read_up_to(path: impl AsRef<Path>, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a regular file that a stranger may have put there. A pipe, a device or a folder is an error: reading it might never
/// begin or never end.
pub fn open_regular(path: impl AsRef<Path>) -> io::Result<File> {
    open_with(path.as_ref(), OFlags::NONBLOCK)
}

/// As [`open_regular`]; a symbolic link is an error as well.
pub fn open_no_link(path: impl AsRef<Path>) -> io::Result<File> {
    open_with(path.as_ref(), OFlags::NONBLOCK | OFlags::NOFOLLOW)
}

fn open_with(path: &Path, flags: OFlags) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidData, "it is no regular file")),
    }
}

/// Adds what was tried, and on what, to an I/O error.
pub trait PathContext<T> {
    /// Names the action and the path.
    fn at(self, action: &'static str, path: impl AsRef<Path>) -> Result<T, FsError>;
}

impl<T> PathContext<T> for io::Result<T> {
    fn at(self, action: &'static str, path: impl AsRef<Path>) -> Result<T, FsError> {
        self.map_err(|source| FsError { action, path: path.as_ref().to_owned(), source })
    }
}
