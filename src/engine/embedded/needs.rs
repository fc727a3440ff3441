//! What this machine has to have.

use std::fs;
use std::path::Path;

use super::{cgroup, helper, rootless};

/// What this machine lacks to run containers by this engine for this user, in words; nothing if it can. An ordinary user can
/// [inside](rootless) only; this says what keeps the user from getting there.
pub fn missing() -> Vec<String> {
    let mut missing = Vec::new();
    if rootless::is_outside() {
        missing.extend(rootless::missing());
    } else if rootless::is_in_namespace() && !rootless::is_inside() {
        missing.push(
            "root, or an ordinary user: this is root of a user namespace that somebody else has made"
                .to_owned(),
        );
    }
    if !has_overlayfs() {
        missing.push("overlayfs: the kernel module `overlay` is neither loaded nor installed".to_owned());
    }
    if rootless::is_outside() || rootless::is_inside() {
        return missing;
    }
    let controllers = cgroup::missing_controllers();
    if !controllers.is_empty() {
        missing.push(format!(
            "control groups: no hierarchy with the controllers {} is mounted below /sys/fs/cgroup",
            controllers.join(" and ")
        ));
    }
    missing
}

/// Mounts two folders over each other in `folder`, as a container's file system would be, and takes them away again. Says in
/// words why that does not work: a file system that cannot be the upper one, a filter of system calls, a missing privilege.
pub fn try_overlay(folder: &Path) -> Result<(), String> {
    let trial = tempfile::Builder::new().prefix(".trial-").tempdir_in(folder);
    let trial = trial.map_err(|error| format!("cannot make a folder in {}: {error}", folder.display()))?;
    helper::try_overlay(trial.path())
}

/// A module that is not loaded is loaded by the first mount.
fn has_overlayfs() -> bool {
    let has_line = |path: &Path, word: &str| {
        fs::read_to_string(path).is_ok_and(|text| text.lines().any(|line| line.contains(word)))
    };
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    has_line(Path::new("/proc/filesystems"), "\toverlay")
        || has_line(&Path::new("/lib/modules").join(release).join("modules.dep"), "/overlay.ko")
}
