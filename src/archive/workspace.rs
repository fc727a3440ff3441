use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::layout::{ArchiveLock, Layout};
use crate::model::Digest;
use crate::support::file_lock;
use crate::support::fs::{FsError, PathContext};

/// The file in a workspace whose lock its owner holds while it lives.
const OWNER: &str = "owner";

/// The file in a workspace that names the blobs that its owner relies on although nothing in the index refers to them yet:
/// sixty-four hexadecimal digits a line. It is written and read under the archive's lock.
const HOLDS: &str = "holds";

/// Where one [`Archive`](super::Archive) handle writes files before they are complete: a folder in the archive's `tmp`,
/// made on first use and removed with the handle. It is on the same file system as the blobs, so that a rename moves
/// a complete file into place at once.
///
/// Whether its owner lives is told by a lock that the kernel releases at the owner's death. A process id would not
/// do: archives are shared between containers, each of which counts its own.
pub(super) struct Workspace {
    layout: Layout,
    open: Mutex<Option<OpenWorkspace>>,
    files: AtomicU64,
}

struct OpenWorkspace {
    dir: PathBuf,
    /// The lock of the archive.
    lock: PathBuf,
    _owner: File,
    holds: File,
    held: BTreeSet<Digest>,
}

/// What [`Archive::sweep`](super::Archive::sweep) removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Workspaces of dead owners, and strays.
    pub entries: u64,
    /// Bytes that they held.
    pub bytes: u64,
}

impl Workspace {
    pub(super) fn new(layout: Layout) -> Self {
        Self { layout, open: Mutex::new(None), files: AtomicU64::new(0) }
    }

    /// A path for a new file; nothing is there yet.
    pub(super) fn new_path(&self) -> Result<PathBuf, FsError> {
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        self.opened(|workspace| Ok(workspace.dir.join(number.to_string())))
    }

    /// From now on, and until the handle is dropped, nobody prunes these blobs, whether they are there already or not.
    pub(super) fn hold<'a>(&self, digests: impl IntoIterator<Item = &'a Digest>) -> Result<(), FsError> {
        self.opened(|workspace| workspace.hold(digests))
    }

    fn opened<T>(&self, work: impl FnOnce(&mut OpenWorkspace) -> Result<T, FsError>) -> Result<T, FsError> {
        let mut open = self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        work(match &mut *open {
            Some(workspace) => workspace,
            none => none.insert(OpenWorkspace::make(&self.layout)?),
        })
    }
}

impl OpenWorkspace {
    /// Made under the archive's lock, so that a sweep never sees one whose owner has not yet locked it.
    fn make(layout: &Layout) -> Result<Self, FsError> {
        let _lock = ArchiveLock::take(&layout.lock())?;
        let tmp = layout.tmp();
        fs::create_dir_all(&tmp).at("create", &tmp)?;
        let dir = tempfile::Builder::new().prefix("w-").tempdir_in(&tmp).at("create a folder in", &tmp)?;
        let owner = dir.path().join(OWNER);
        let held = file_lock::try_take(&owner)?;
        let held = held.ok_or_else(|| io::Error::from(io::ErrorKind::WouldBlock)).at("lock", &owner)?;
        let holds = dir.path().join(HOLDS);
        let holds = OpenOptions::new().append(true).create_new(true).open(&holds).at("create", &holds)?;
        Ok(Self { dir: dir.keep(), lock: layout.lock(), _owner: held, holds, held: BTreeSet::new() })
    }

    /// Under the archive's lock: a prune reads what is held and removes what is not under one hold of that lock.
    fn hold<'a>(&mut self, digests: impl IntoIterator<Item = &'a Digest>) -> Result<(), FsError> {
        let new: BTreeSet<Digest> =
            digests.into_iter().filter(|digest| !self.held.contains(digest)).copied().collect();
        if new.is_empty() {
            return Ok(());
        }
        let lines: String = new.iter().flat_map(|digest| [digest.hex(), "\n".to_owned()]).collect();
        let _lock = ArchiveLock::take(&self.lock)?;
        self.holds.write_all(lines.as_bytes()).at("write", self.dir.join(HOLDS))?;
        self.held.extend(new);
        Ok(())
    }
}

impl Drop for OpenWorkspace {
    fn drop(&mut self) {
        // Under the lock, so that no sweep meets a half-removed folder, whose owner file may be gone already.
        let _lock = ArchiveLock::take(&self.lock);
        // What cannot be removed now goes with the next sweep.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Removes everything in the archive's `tmp` whose owner is dead.
pub(super) fn sweep(layout: &Layout) -> Result<Swept, FsError> {
    let _lock = ArchiveLock::take(&layout.lock())?;
    let tmp = layout.tmp();
    let mut swept = Swept::default();
    let entries = match fs::read_dir(&tmp) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(swept),
        Err(error) => return Err(error).at("list", &tmp),
    };
    for entry in entries {
        let path = entry.at("list", &tmp)?.path();
        let kind = fs::symlink_metadata(&path).at("read", &path)?;
        if !kind.is_dir() {
            swept.bytes += kind.len();
            fs::remove_file(&path).at("remove", &path)?;
        } else {
            if is_alive(&path)? {
                continue;
            }
            swept.bytes += bytes_in(&path);
            fs::remove_dir_all(&path).at("remove", &path)?;
        }
        swept.entries += 1;
    }
    Ok(swept)
}

fn is_alive(workspace: &Path) -> Result<bool, FsError> {
    let owner = workspace.join(OWNER);
    Ok(owner.exists() && file_lock::try_take(&owner)?.is_none())
}

/// What living writers rely on.
pub(super) struct Held {
    /// The blobs that they name.
    pub(super) digests: BTreeSet<Digest>,
    /// Writers that name none because they are of a version that could not.
    pub(super) silent: u64,
}

/// Reads what living writers rely on. The caller holds the archive's lock.
pub(super) fn held(layout: &Layout, _lock: &ArchiveLock) -> Result<Held, FsError> {
    let tmp = layout.tmp();
    let mut held = Held { digests: BTreeSet::new(), silent: 0 };
    let entries = match fs::read_dir(&tmp) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(held),
        Err(error) => return Err(error).at("list", &tmp),
    };
    for entry in entries {
        let workspace = entry.at("list", &tmp)?.path();
        if !workspace.is_dir() || !is_alive(&workspace)? {
            continue;
        }
        let holds = workspace.join(HOLDS);
        match fs::read_to_string(&holds) {
            Ok(lines) => held.digests.extend(lines.lines().filter_map(|hex| Digest::from_hex(hex).ok())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => held.silent += 1,
            Err(error) => return Err(error).at("read", &holds),
        }
    }
    Ok(held)
}

fn bytes_in(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::super::testing::Fixture;
    use super::*;

    #[test]
    fn a_sweep_removes_what_the_dead_left_and_nothing_of_the_living() {
        let fixture = Fixture::new();
        fixture.add_run(1);
        let living = fixture.archive.workspace().new_path().unwrap();
        fs::write(&living, "half a blob").unwrap();
        // What a crash leaves: a workspace whose lock nobody holds, one that was never locked, a lone file.
        let tmp = fixture.archive.layout().tmp();
        for (dir, file) in [("w-dead", "owner"), ("w-dead", "0"), ("w-unlocked", "0")] {
            fs::create_dir_all(tmp.join(dir)).unwrap();
            fs::write(tmp.join(dir).join(file), "12345").unwrap();
        }
        fs::write(tmp.join("lone"), "12345").unwrap();
        assert!(fixture.verify().is_sound());
        assert_eq!(fixture.archive.sweep().unwrap(), Swept { entries: 3, bytes: 20 });
        assert_eq!(fs::read(&living).unwrap(), b"half a blob");
        assert_eq!(fs::read_dir(&tmp).unwrap().count(), 1);
        assert!(fixture.verify().is_sound());
    }

    #[test]
    fn a_handle_leaves_no_workspace_behind() {
        let fixture = Fixture::new();
        fixture.archive.put_bytes(b"content").unwrap();
        let tmp = fixture.archive.layout().tmp();
        assert_eq!(fs::read_dir(&tmp).unwrap().count(), 1);
        drop(fixture.archive);
        assert_eq!(fs::read_dir(&tmp).unwrap().count(), 0);
    }
}
