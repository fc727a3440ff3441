//! What lies in an archive's folder, whoever needs it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use super::error::Result;
use super::layout::Layout;
use crate::model::Digest;
use crate::support::fs::PathContext;

/// How the bytes of a digest are stored: as they are, in chunks, or (where an earlier version stored them first) both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stored {
    /// Bytes of the file that holds them as they are.
    pub(super) plain: Option<u64>,
    /// Bytes of the list of their chunks.
    pub(super) list: Option<u64>,
}

impl Stored {
    /// Bytes of the files. The packs that a list names are blobs of their own.
    pub(super) fn bytes(&self) -> u64 {
        self.plain.unwrap_or(0) + self.list.unwrap_or(0)
    }
}

/// Everything that is stored under a digest.
pub(super) fn stored(layout: &Layout) -> Result<BTreeMap<Digest, Stored>> {
    let mut all: BTreeMap<Digest, Stored> = BTreeMap::new();
    for (name, bytes) in files(&layout.blobs())? {
        if let Ok(digest) = Digest::from_hex(&name) {
            all.entry(digest).or_default().plain = Some(bytes);
        }
    }
    for (name, bytes) in files(&layout.chunk_lists())? {
        if let Ok(digest) = Digest::from_hex(&name) {
            all.entry(digest).or_default().list = Some(bytes);
        }
    }
    Ok(all)
}

/// Files that do not belong to an archive, as paths in it, sorted.
pub(super) fn strays(layout: &Layout) -> Result<Vec<String>> {
    let mut strays = Vec::new();
    for (folder, dir) in [("blobs/sha256", layout.blobs()), ("chunked/sha256", layout.chunk_lists())] {
        for name in names(&dir)? {
            if Digest::from_hex(&name).is_err() || !dir.join(&name).is_file() {
                strays.push(format!("{folder}/{name}"));
            }
        }
    }
    for name in names(layout.root())? {
        if !Layout::is_own_name(&name) {
            strays.push(name);
        }
    }
    for (folder, own) in [("blobs", "sha256"), ("chunked", "sha256")] {
        let others = names(&layout.root().join(folder))?.into_iter().filter(|name| name != own);
        strays.extend(others.map(|name| format!("{folder}/{name}")));
    }
    strays.sort();
    Ok(strays)
}

/// The regular files of a folder that may be missing, and their sizes.
fn files(dir: &Path) -> Result<Vec<(String, u64)>> {
    let mut files = Vec::new();
    for name in names(dir)? {
        if let Ok(metadata) = fs::symlink_metadata(dir.join(&name))
            && metadata.is_file()
        {
            files.push((name, metadata.len()));
        }
    }
    Ok(files)
}

fn names(dir: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).at("list", dir)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.at("list", dir)?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}
