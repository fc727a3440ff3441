use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::layout::{Layout, StoreLock};
use super::trash;
use crate::model::Digest;
use crate::support::file_lock;
use crate::support::fs::{FsError, PathContext};

/// The file whose lock the owner of a workspace holds while it lives.
const OWNER: &str = "owner";
/// The file that names the layers that its owner relies on although no image may name them yet: 64 hexadecimal digits a line.
const HOLDS: &str = "holds";

/// The folder in which one call makes what is not complete, on the file system of the store, so that a rename moves it into its
/// place at once. It goes with this value. Whether its owner lives is told by a lock that the kernel releases at the owner's
/// death; what the dead left goes with [`sweep`].
pub(super) struct Workspace {
    dir: PathBuf,
    lock: PathBuf,
    owner: Option<File>,
    holds: Mutex<File>,
    made: AtomicU64,
}

impl Workspace {
    /// Made under the store's lock, so that a sweep never sees one whose owner has not yet locked it.
    pub(super) fn new(layout: &Layout) -> Result<Self, FsError> {
        let _lock = StoreLock::take(&layout.lock())?;
        let tmp = layout.tmp();
        let dir = tempfile::Builder::new().prefix("w-").tempdir_in(&tmp).at("create a folder in", &tmp)?;
        let owner = dir.path().join(OWNER);
        let held = file_lock::try_take(&owner)?;
        let held = held.ok_or_else(|| io::Error::from(io::ErrorKind::WouldBlock)).at("lock", &owner)?;
        let holds = dir.path().join(HOLDS);
        let holds = OpenOptions::new().append(true).create_new(true).open(&holds).at("create", &holds)?;
        Ok(Self {
            dir: dir.keep(),
            lock: layout.lock(),
            owner: Some(held),
            holds: Mutex::new(holds),
            made: AtomicU64::new(0),
        })
    }

    /// The folder itself: it is there while the owner lives.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// A path for something new.
    pub(super) fn new_path(&self) -> PathBuf {
        self.dir.join(self.made.fetch_add(1, Ordering::Relaxed).to_string())
    }

    /// From now on, and while the workspace is there, nobody removes this layer. The caller holds the store's lock.
    pub(super) fn hold(&self, layer: &Digest, _lock: &StoreLock) -> Result<(), FsError> {
        let mut holds = self.holds.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        holds.write_all(format!("{}\n", layer.hex()).as_bytes()).at("write", self.dir.join(HOLDS))
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        // What cannot be removed now goes with the next sweep.
        let _ = empty(&self.dir);
        let _lock = StoreLock::take(&self.lock);
        drop(self.owner.take());
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Removes everything but what tells that somebody lives: it may take long, and nobody is to wait for it.
fn empty(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path())?,
            false if entry.file_name() == OWNER || entry.file_name() == HOLDS => {}
            false => fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

/// Removes the workspaces of the dead.
pub(super) fn sweep(layout: &Layout) -> Result<(), FsError> {
    let tmp = layout.tmp();
    let (mut dead, mut gone) = (Vec::new(), Vec::new());
    {
        let _lock = StoreLock::take(&layout.lock())?;
        for entry in fs::read_dir(&tmp).at("list", &tmp)? {
            let path = entry.at("list", &tmp)?.path();
            if trash::is_trash(&path) {
                gone.push(path);
            } else if !path.is_dir() {
                fs::remove_file(&path).at("remove", &path)?;
            } else if let Some(owner) = file_lock::try_take(&path.join(OWNER))? {
                // Whoever else sweeps now takes it for alive.
                dead.push((path, owner));
            }
        }
    }
    for path in gone {
        trash::empty(&path).at("remove", &path)?;
    }
    for (path, owner) in dead {
        empty(&path).at("remove", &path)?;
        let _lock = StoreLock::take(&layout.lock())?;
        drop(owner);
        fs::remove_dir_all(&path).at("remove", &path)?;
    }
    Ok(())
}

/// The layers on which the living rely. The caller holds the store's lock.
pub(super) fn held(layout: &Layout, _lock: &StoreLock) -> Result<BTreeSet<Digest>, FsError> {
    let tmp = layout.tmp();
    let mut held = BTreeSet::new();
    for entry in fs::read_dir(&tmp).at("list", &tmp)? {
        let workspace = entry.at("list", &tmp)?.path();
        // One that is dead and not yet swept holds a little longer.
        match fs::read_to_string(workspace.join(HOLDS)) {
            Ok(lines) => held.extend(lines.lines().filter_map(|hex| Digest::from_hex(hex).ok())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).at("read", workspace.join(HOLDS)),
        }
    }
    Ok(held)
}
