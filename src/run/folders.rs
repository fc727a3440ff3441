use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::RunError;
use crate::archive::Archive;
use crate::model::RunId;
use crate::sandbox::Owner;
use crate::support::fs::{FsError, PathContext};

/// How many runs' logs are kept as files. The logs of archived runs are in the archive as well.
const KEPT_LOGS: usize = 50;

/// The file that names the owner of a temporary folder.
const OWNER_FILE: &str = "owner";

/// Temporary folders without an owner's name are left alone for this long: their owner may be about to write it.
const UNNAMED: Duration = Duration::from_secs(3600);

/// Where Packhold keeps what is not in the archive.
#[derive(Clone, Debug)]
pub struct Folders {
    /// Fetched repositories, pages and temporary folders; may be removed while no run is going on.
    pub cache: PathBuf,
    /// Logs of the last runs.
    pub state: PathBuf,
}

impl Folders {
    /// The folder of fetched repositories.
    pub fn repositories(&self) -> PathBuf {
        self.cache.join("git")
    }

    /// The folder of copies of published repositories that lie on other machines.
    pub fn published(&self) -> PathBuf {
        self.cache.join("published")
    }

    /// The folder of what is installed in images.
    pub fn package_lists(&self) -> PathBuf {
        self.cache.join("packages")
    }

    /// The folder of what spec files ask for.
    pub fn declared_lists(&self) -> PathBuf {
        self.cache.join("declared")
    }

    /// The folder of pages that nobody has given another place.
    pub fn reports(&self) -> PathBuf {
        self.cache.join("reports")
    }

    fn work(&self) -> PathBuf {
        self.cache.join("work")
    }

    /// A temporary folder of this process; it goes when it is dropped, or with [`sweep`] if the process is killed.
    pub fn scratch(&self) -> Result<TempDir, FsError> {
        let work = self.work();
        fs::create_dir_all(&work).at("create", &work)?;
        let scratch = TempDir::with_prefix_in("run-", &work).at("create a folder in", &work)?;
        let owner = scratch.path().join(OWNER_FILE);
        fs::write(&owner, Owner::this_process().to_string()).at("write", &owner)?;
        Ok(scratch)
    }

    /// The folder in which every run has a folder of its logs, named by the run's id.
    pub fn runs(&self) -> PathBuf {
        self.state.join("runs")
    }

    /// The folder of a run's logs. The oldest runs' logs go.
    pub fn logs(&self, run: &RunId) -> Result<PathBuf, FsError> {
        let all = self.runs();
        let folder = all.join(run.as_str());
        fs::create_dir_all(&folder).at("create", &folder)?;
        let mut runs: Vec<PathBuf> =
            fs::read_dir(&all).at("read", &all)?.flatten().map(|e| e.path()).collect();
        runs.sort();
        for old in runs.iter().rev().skip(KEPT_LOGS) {
            // Somebody else may be removing it at the same time.
            let _ = fs::remove_dir_all(old);
        }
        Ok(folder)
    }
}

/// What [`sweep`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Temporary folders, the archive's among them.
    pub folders: usize,
}

/// Removes temporary folders whose owner has ended.
pub fn sweep(folders: &Folders, archive: &Archive) -> Result<Swept, RunError> {
    let mut swept = Swept { folders: usize::try_from(archive.sweep()?.entries).unwrap_or(usize::MAX) };
    let work = folders.work();
    let Ok(entries) = fs::read_dir(&work) else { return Ok(swept) };
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| is_abandoned(path)) {
        if fs::remove_dir_all(&path).is_ok() {
            swept.folders += 1;
        }
    }
    Ok(swept)
}

fn is_abandoned(folder: &Path) -> bool {
    match fs::read_to_string(folder.join(OWNER_FILE)).ok().and_then(|text| text.parse::<Owner>().ok()) {
        Some(owner) => owner.is_dead(),
        None => {
            let modified = fs::metadata(folder).and_then(|meta| meta.modified());
            modified.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age > UNNAMED))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_of_dead_owners_are_swept() {
        let root = tempfile::tempdir().unwrap();
        let folders = Folders { cache: root.path().join("cache"), state: root.path().join("state") };
        let archive = Archive::open_or_create(root.path().join("archive")).unwrap();
        let alive = folders.scratch().unwrap();
        let dead = folders.cache.join("work/run-dead");
        fs::create_dir_all(dead.join("inner")).unwrap();
        let owner = Owner::this_process().to_string();
        let ended = owner.rsplit_once(' ').unwrap().0.to_owned() + " 1";
        fs::write(dead.join(OWNER_FILE), ended).unwrap();
        let fresh = folders.cache.join("work/run-fresh");
        fs::create_dir_all(&fresh).unwrap();
        assert_eq!(sweep(&folders, &archive).unwrap(), Swept { folders: 1 });
        assert!(alive.path().exists() && fresh.exists() && !dead.exists());
    }

    #[test]
    fn the_logs_of_the_last_runs_are_kept() {
        let root = tempfile::tempdir().unwrap();
        let folders = Folders { cache: root.path().join("cache"), state: root.path().to_owned() };
        for number in 0..=u32::try_from(KEPT_LOGS).unwrap() {
            let at = format!("2026-01-01T00:{:02}:{:02}Z", number / 60, number % 60).parse().unwrap();
            folders.logs(&RunId::new(at, number)).unwrap();
        }
        assert_eq!(fs::read_dir(root.path().join("runs")).unwrap().count(), KEPT_LOGS);
        assert!(!root.path().join("runs/20260101-000000-000000").exists());
    }
}
