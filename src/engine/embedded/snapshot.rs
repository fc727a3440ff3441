//! Containers that have ended and are layers of others.
//!
//! A snapshot is the folder of the container that it was, with a mark in it. What the container wrote stays where it is and
//! is a lower layer of overlayfs from then on, which nobody writes to.

use std::io;
use std::path::PathBuf;

use rustix::fs::FlockOperation;

use super::containers;
use super::discard::open_folder;
use super::processes::Processes;
use super::record::{self, Folder, Record};
use super::{Embedded, blocking, detached, io_error};
use crate::engine::{ContainerId, EngineError, Found, Result, SnapshotId};
use crate::model::Digest;
use crate::support::file_lock::FileLock;

impl Embedded {
    pub(super) async fn find_snapshots(&self, label: &str) -> Result<Vec<Found>> {
        let (containers, label) = (self.containers.clone(), label.to_owned());
        blocking(format!("list snapshots with the label {label}"), move || {
            let mut found = Vec::new();
            for folder in record::all(&containers)?.into_iter().filter(Folder::is_snapshot) {
                // It may go meanwhile.
                let Ok(record) = folder.record() else { continue };
                if record.labels.contains_key(&label) {
                    found.push(Found::Snapshot { id: SnapshotId(folder.id), labels: record.labels });
                }
            }
            Ok(found)
        })
        .await
    }

    pub(super) async fn make_snapshot(&self, container: &ContainerId) -> Result<SnapshotId> {
        let (folder, _) = self.existing(container)?;
        let action = format!("make a snapshot of the container {}", container.0);
        let missing = format!("container {}", container.0);
        let made = blocking(action, move || end(&folder)).await?;
        made.map(SnapshotId).ok_or(EngineError::NotFound(missing))
    }

    /// Calls `make` with the image and the snapshots that a container of `snapshot` is made of. Meanwhile the snapshot is
    /// there, and goes not after that, since its user is. `None` if there is no such snapshot.
    pub(super) fn on_snapshot<T>(
        &self,
        snapshot: &SnapshotId,
        make: impl FnOnce((Digest, Vec<String>)) -> io::Result<T>,
    ) -> io::Result<Option<T>> {
        let _lock = self.lock_snapshots()?;
        let folder = self.snapshot_folder(snapshot);
        let Some(folder) = folder.filter(|folder| folder.is_snapshot() && !folder.is_removed()) else {
            return Ok(None);
        };
        let record = folder.record()?;
        let snapshots = record.snapshots.into_iter().chain([folder.id]).collect();
        make((record.image, snapshots)).map(Some)
    }

    /// What the snapshots below a container hold, the lowest first.
    pub(super) fn snapshots_of(&self, record: &Record) -> Result<Vec<PathBuf>> {
        let upper = |id: &String| {
            let missing = || EngineError::NotFound(format!("snapshot {id}"));
            let folder = self.snapshot_folder(&SnapshotId(id.clone())).ok_or_else(missing)?;
            let record =
                folder.record().map_err(|error| io_error(format!("look at the snapshot {id}"), error))?;
            Ok(record.upper())
        };
        record.snapshots.iter().map(upper).collect()
    }

    pub(super) async fn remove_snapshot(&self, id: &SnapshotId) -> Result<()> {
        let Some(folder) = self.snapshot_folder(id) else { return Ok(()) };
        let (engine, action) = (self.clone(), format!("remove the snapshot {}", id.0));
        detached(move || {
            let fail = |error| io_error(action.clone(), error);
            let _lock = engine.lock_snapshots().map_err(fail)?;
            if !folder.is_snapshot() {
                return Ok(());
            }
            let uses = |other: &Folder| {
                other
                    .record()
                    .is_ok_and(|record| record.snapshots.contains(&folder.id))
                    .then(|| other.id.clone())
            };
            match record::all(&engine.containers).map_err(fail)?.iter().find_map(uses) {
                Some(user) => Err(EngineError::Refused { action, message: format!("{user} is made of it") }),
                None => {
                    containers::remove(&folder, &engine.containers, engine.upper.as_deref()).map_err(fail)
                }
            }
        })
        .await
    }

    fn snapshot_folder(&self, id: &SnapshotId) -> Option<Folder> {
        Folder::of(&self.containers, &ContainerId(id.0.clone()))
    }

    /// Held while it is decided whether a snapshot has users.
    fn lock_snapshots(&self) -> io::Result<FileLock> {
        FileLock::take(&self.folder.join("snapshots.lock")).map_err(io::Error::other)
    }
}

/// Ends the processes of a container and marks what is left of it as a snapshot, whose name this gives. `None` if the
/// container was removed meanwhile.
fn end(folder: &Folder) -> io::Result<Option<String>> {
    Processes::of(folder)?.kill()?;
    let lock = match open_folder(&folder.path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    // As when a container is removed: nobody starts anything in it after this.
    rustix::fs::flock(&lock, FlockOperation::LockExclusive)?;
    if folder.is_removed() {
        return Ok(None);
    }
    let left = Processes::of(folder)?;
    left.kill()?;
    left.remove()?;
    folder.set_snapshot()?;
    Ok(Some(folder.id.clone()))
}
