//! What this machine has to have.

use std::fs;
use std::path::Path;

use super::cgroup;

/// What this machine lacks to run containers by this engine, in words; nothing if it can.
pub fn missing() -> Vec<String> {
    let mut missing = Vec::new();
    if !rustix::process::geteuid().is_root() {
        missing.push("root: the program has to run as user 0".to_owned());
    }
    if !has_overlayfs() {
        missing.push("overlayfs: the kernel module `overlay` is neither loaded nor installed".to_owned());
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

/// A module that is not loaded is loaded by the first mount.
fn has_overlayfs() -> bool {
    let has_line = |path: &Path, word: &str| {
        fs::read_to_string(path).is_ok_and(|text| text.lines().any(|line| line.contains(word)))
    };
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    has_line(Path::new("/proc/filesystems"), "\toverlay")
        || has_line(&Path::new("/lib/modules").join(release).join("modules.dep"), "/overlay.ko")
}
