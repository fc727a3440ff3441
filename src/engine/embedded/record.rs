//! What is kept of a container on disk, so that any process finds it and can remove it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::engine::{ContainerId, ContainerSpec};
use crate::model::Digest;

/// The files in a container's folder. All of them are the engine's; a container sees none but the three below `etc`.
const RECORD: &str = "container.json";
const RUNNING: &str = "running.json";
const REMOVED: &str = "removed";
const SNAPSHOT: &str = "snapshot";

/// What a container is, written before anything of it is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) image: Digest,
    /// The snapshots between the image and what the container writes, the lowest first.
    #[serde(default)]
    pub(super) snapshots: Vec<String>,
    pub(super) labels: BTreeMap<String, String>,
    /// The folder of the overlay's upper and work folders: the container's own, or one on a tmpfs.
    pub(super) changes: PathBuf,
    pub(super) capabilities: Vec<String>,
}

/// A process that cannot be mistaken for a later one with its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Process {
    pub(super) pid: i32,
    /// When it started, in clock ticks since boot (proc_pid_stat(5), field 22).
    pub(super) start: u64,
}

impl Process {
    /// The process with this number, if there is one that has not ended.
    pub(super) fn with_pid(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the program's name in parentheses and may hold anything.
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        if matches!(fields.next()?, "Z" | "X") {
            return None;
        }
        Some(Self { pid, start: fields.nth(18)?.parse().ok()? })
    }

    pub(super) fn runs(&self) -> bool {
        Self::with_pid(self.pid) == Some(*self)
    }
}

/// The folder of one container.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    pub(super) id: String,
    pub(super) path: PathBuf,
}

impl Folder {
    /// The folder of the container `id` in `containers`, if the id can be one. It need not exist.
    pub(super) fn of(containers: &Path, id: &ContainerId) -> Option<Self> {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let valid = !id.0.is_empty() && id.0.len() < 200 && id.0.chars().all(good);
        valid.then(|| Self { id: id.0.clone(), path: containers.join(&id.0) })
    }

    /// Makes the folder with its record in it, in one step: there is never a folder without a record.
    pub(super) fn make(
        containers: &Path,
        id: String,
        (image, snapshots): (Digest, Vec<String>),
        spec: &ContainerSpec,
        upper: Option<&Path>,
    ) -> io::Result<Self> {
        let path = containers.join(&id);
        let unfinished = tempfile::Builder::new().prefix(".new-").tempdir_in(containers)?;
        let changes = upper.map_or_else(|| path.join("changes"), |upper| upper.join(&id));
        let record = Record {
            image,
            snapshots,
            labels: spec.labels.clone(),
            changes,
            capabilities: spec.capabilities.clone(),
        };
        fs::write(unfinished.path().join(RECORD), serde_json::to_vec(&record)?)?;
        fs::rename(unfinished.path(), &path)?;
        // The folder has another name now.
        _ = unfinished.keep();
        Ok(Self { id, path })
    }

    pub(super) fn record(&self) -> io::Result<Record> {
        Ok(serde_json::from_slice(&fs::read(self.path.join(RECORD))?)?)
    }

    /// The first process, if it runs and nobody removes the container.
    pub(super) fn first_process(&self) -> Option<Process> {
        self.last_first_process().filter(|_| !self.is_removed())
    }

    /// The first process, if it runs, even while the container is being removed.
    pub(super) fn last_first_process(&self) -> Option<Process> {
        let told: Process = serde_json::from_slice(&fs::read(self.path.join(RUNNING)).ok()?).ok()?;
        (told.runs() && !self.is_snapshot()).then_some(told)
    }

    /// Writes down which process is the container's first.
    pub(super) fn set_first_process(&self, process: Process) -> io::Result<()> {
        let unfinished = self.path.join(".running");
        fs::write(&unfinished, serde_json::to_vec(&process)?)?;
        fs::rename(unfinished, self.path.join(RUNNING))
    }

    /// Says that the container is being removed: nothing is to be started in it any more.
    pub(super) fn set_removed(&self) -> io::Result<()> {
        fs::write(self.path.join(REMOVED), b"")
    }

    pub(super) fn is_removed(&self) -> bool {
        !self.path.exists() || self.path.join(REMOVED).exists()
    }

    /// Says that the container has ended and is a snapshot from now on.
    pub(super) fn set_snapshot(&self) -> io::Result<()> {
        fs::write(self.path.join(SNAPSHOT), b"")
    }

    pub(super) fn is_snapshot(&self) -> bool {
        self.path.join(SNAPSHOT).exists()
    }

    pub(super) fn merged(&self) -> PathBuf {
        self.path.join("rootfs")
    }
}

impl Record {
    pub(super) fn upper(&self) -> PathBuf {
        self.changes.join("upper")
    }

    pub(super) fn work(&self) -> PathBuf {
        self.changes.join("work")
    }
}

/// Whether an error of [`Folder::record`] says that there is none, or nothing that could be read another time.
pub(super) fn is_lost(error: &io::Error) -> bool {
    use io::ErrorKind as E;
    matches!(error.kind(), E::NotFound | E::InvalidData | E::UnexpectedEof)
}

/// All containers in `containers`. One whose record cannot be read is there without labels.
pub(super) fn all(containers: &Path) -> io::Result<Vec<Folder>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(containers)? {
        let name = entry?.file_name();
        let Some(name) = name.to_str() else { continue };
        // A dot begins what is not a container yet.
        if let Some(folder) = Folder::of(containers, &ContainerId(name.to_owned())) {
            found.push(folder);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_ended_does_not_run_even_if_its_number_lives_again() {
        let own = Process::with_pid(std::process::id().cast_signed()).expect("this process");
        assert!(own.runs());
        assert!(!Process { start: own.start + 1, ..own }.runs());
    }

    #[test]
    fn an_id_never_leaves_the_folder_of_the_containers() {
        let of =
            |id: &str| Folder::of(Path::new("/c"), &ContainerId(id.to_owned())).map(|folder| folder.path);
        assert_eq!(of("build-1"), Some(PathBuf::from("/c/build-1")));
        for bad in ["", ".", "..", "../x", "a/b", "/etc", ".new-1", "a\0"] {
            assert_eq!(of(bad), None, "{bad:?}");
        }
    }
}
