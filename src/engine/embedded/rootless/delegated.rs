//! Control groups of an ordinary user: those below a group that was delegated to him (cgroup-v2.rst, "Delegation").
//!
//! On his way inside the process makes the group that it is in the root of what it sees, and hands its controllers down to the group
//! `packhold`, which has no processes of its own: this program goes on in `packhold/program`, and each container has its group beside that. Other
//! processes in the delegated group would forbid this, and are not moved: whether they may be is for who has started them to say.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{Access, AtFlags, CWD, accessat};

use crate::engine::embedded::cgroup::{PARENT, hand_down, offers};

/// Where the process and what it starts are while containers are in groups beside it.
const PROGRAM: &str = "program";

/// The controllers without which there is nothing to gain. That for processors may be missing: systemd has not always delegated it.
const NEEDED: [&str; 2] = ["memory", "pids"];

/// How systemd marks a group that is not its own to rule (systemd.resource-control(5), `Delegate=`).
const DELEGATED: &str = "user.delegate";

/// Whether the group that this process is in was delegated to its user, so that [`take`] can be tried. To be asked before a namespace is made.
pub(super) fn is_offered() -> bool {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    own_group(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup")).is_some_and(|group| is_ours(&group))
}

/// The folder of the group of version 2 that a process with this `/proc/PID/cgroup` is in (cgroups(7)).
fn own_group(mounts: &str, groups: &str) -> Option<PathBuf> {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mut mounted = mounts.lines().filter_map(|line| {
        let (mount, fs) = line.split_once(" - ")?;
        fs.starts_with("cgroup2 ").then_some(())?;
        let mut fields = mount.split(' ').skip(3);
        Some((fields.next()?, fields.next()?))
    });
    mounted.find_map(|(root, point)| {
        let below = Path::new(path).strip_prefix(root).ok()?;
        Some(Path::new(point).join(below))
    })
}

fn is_ours(group: &Path) -> bool {
    let writable = |path: PathBuf| accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS).is_ok();
    writable(group.to_owned())
        && ["cgroup.procs", "cgroup.subtree_control"].iter().all(|file| writable(group.join(file)))
        && NEEDED.iter().all(|name| offers(group, name))
        && (!is_unit(group) || is_marked(group) || is_delegated(Path::new("systemctl"), group))
}

/// Whether systemd has made the group: all of a user's are the user's, but only those that it marks are left to him.
fn is_unit(group: &Path) -> bool {
    let ends = group.extension().and_then(|word| word.to_str());
    matches!(ends, Some("scope" | "service" | "slice"))
}

fn is_marked(group: &Path) -> bool {
    let mut value = [0; 8];
    matches!(rustix::fs::getxattr(group, DELEGATED, &mut value), Ok(1) if value[0] == b'1')
}

/// Whether the user's service manager says of its unit that it is delegated: some releases of systemd mark only what the system's manager delegates.
fn is_delegated(systemctl: &Path, group: &Path) -> bool {
    let Some(unit) = group.file_name() else { return false };
    let asked = Command::new(systemctl)
        .args(["--user", "show", "--property=Delegate", "--value", "--"])
        .arg(unit)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    asked.is_ok_and(|said| said.status.success() && said.stdout.trim_ascii() == b"yes")
}

/// Makes the groups below `root`, where this process's own group is mounted as the root of all, and enters one of them. What was changed is
/// changed back if that fails.
pub(super) fn take(root: &Path) -> io::Result<()> {
    let parent = root.join(PARENT);
    let program = parent.join(PROGRAM);
    fs::create_dir_all(&program)?;
    let enter = |group: &Path| fs::write(group.join("cgroup.procs"), "0");
    let taken = enter(&program).and_then(|()| hand_down(root)).and_then(|()| hand_down(&parent));
    if taken.is_err() {
        // Another process of this user may be in them by now.
        _ = enter(root).and_then(|()| fs::remove_dir(&program)).and_then(|()| fs::remove_dir(&parent));
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_of_a_process_is_found_below_what_is_mounted() {
        let mounts = "30 24 0:26 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
                      31 24 0:27 /user.slice /mnt/part rw - cgroup2 cgroup2 rw\n\
                      32 24 0:27 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        let group = |text: &str| own_group(mounts, text);
        assert_eq!(group("2:pids:/a\n0::/system.slice/b\n"), Some("/sys/fs/cgroup/system.slice/b".into()));
        assert_eq!(group("0::/user.slice/c.scope\n"), Some("/mnt/part/c.scope".into()));
        assert_eq!(group("2:pids:/a\n"), None);
        // In a namespace, above its root.
        assert_eq!(own_group("1 2 0:3 / /x rw - tmpfs tmpfs rw\n", "0::/\n"), None);
    }

    #[test]
    fn a_group_of_systemd_needs_its_mark_and_another_does_not() {
        assert!(is_unit(Path::new("/sys/fs/cgroup/user.slice/run-1.scope")));
        assert!(!is_unit(Path::new("/sys/fs/cgroup/ours")));
        assert!(!is_unit(Path::new("/sys/fs/cgroup")));
        let folder = tempfile::tempdir().expect("a folder");
        assert!(!is_marked(folder.path()));
        assert!(!is_ours(folder.path()), "there are no files of a group");
    }

    #[test]
    fn the_service_manager_is_asked_about_the_unit_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("systemctl");
        let script = "#!/bin/sh\n[ \"$*\" = \"--user show --property=Delegate --value -- run-1.scope\" ] && echo yes || echo no\n";
        fs::write(&program, script).expect("a script");
        fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("a program");
        assert!(is_delegated(&program, Path::new("/sys/fs/cgroup/user.slice/run-1.scope")));
        assert!(!is_delegated(&program, Path::new("/sys/fs/cgroup/user.slice/run-2.scope")));
        assert!(!is_delegated(&folder.path().join("none"), Path::new("/sys/fs/cgroup/run-1.scope")));
    }
}
