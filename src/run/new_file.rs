//! Files that appear whole or not at all.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::RunError;
use crate::support::fs::{FsError, PathContext};

/// Puts a text in the place of a file, at once. What is no file but a link or a device, such as `/dev/stdout`, is written to as it is.
pub fn write_text(path: &Path, text: &str) -> Result<(), RunError> {
    if fs::symlink_metadata(path).is_ok_and(|meta| !meta.is_file()) {
        return Ok(fs::write(path, text).at("write", path)?);
    }
    let mut file = temporary(path)?;
    file.write_all(text.as_bytes()).at("write", path)?;
    Ok(persist(file, path)?)
}

/// Makes a file of a text, at once, unless something of that name is there; says whether it did.
pub fn create_text(path: &Path, text: &str) -> Result<bool, RunError> {
    let mut file = temporary(path)?;
    file.write_all(text.as_bytes()).at("write", path)?;
    match file.persist_noclobber(path).map_err(|error| error.error) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        made => Ok(made.map(|_| true).at("write", path)?),
    }
}

/// A file that becomes `path` later, with the mode that any new file has.
pub(super) fn temporary(path: &Path) -> Result<tempfile::NamedTempFile, FsError> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    tempfile::Builder::new()
        .prefix(".packhold-")
        .permissions(fs::Permissions::from_mode(0o666))
        .tempfile_in(&folder)
        .at("create a file in", folder)
}

/// Puts a file in the place of `path`.
pub(super) fn persist(file: tempfile::NamedTempFile, path: &Path) -> Result<(), FsError> {
    file.persist(path).map_err(|error| error.error).at("write", path)?;
    Ok(())
}
