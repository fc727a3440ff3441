//! The engine of an ordinary user.
//!
//! # How
//!
//! An ordinary user may own files of other users, mount overlayfs and make containers in a user namespace
//! (user_namespaces(7)) in which the user is root and the user's subordinate ids (subuid(5)) are everybody else: 0 there is the
//! user, 1 is the first subordinate id, and so on. So the whole program starts itself again in such a namespace
//! ([`enter_again`]), before it has a thread, and goes on as root. That it is there it knows by its user's ids and by a mount
//! of its own ([`is_inside`]). newuidmap(1) and newgidmap(1) make the maps, since only they know which ids are whose.
//!
//! Each process has a namespace of its own; what one has made any later one finds, reads, kills and removes, since the ids are the
//! same.
//!
//! # What is different
//!
//! - Overlays keep their marks in attributes of users (`user.overlay.*`, the mount option `userxattr`), which root's overlays do
//!   not read: a store belongs to root or to a user, never to both. Whiteouts are the same; making their device needs no
//!   privilege (mknod(2), Linux 5.8).
//! - Capabilities of files (`security.capability`) are on the disk with the user to whom they mean something (capabilities(7),
//!   "Version 3"). Who reads them inside gets what was written there, so that layers and images are byte for byte those of
//!   root's engine.
//! - Nodes in `/dev` are those of the host, mounted one by one, since nobody inside may make one.
//! - A fresh sysfs shows the network of whoever mounts it, so one for a container with the host's network is mounted in an empty
//!   network namespace.
//! - There are control groups only where one was delegated to the user (`delegated`). Else on `/sys/fs/cgroup` is a view of version 2 that
//!   nothing can be written to, no init system can run, and nothing limits memory, processes and processors (`shortcomings`). Either way the processes of a
//!   container are found by what they say of themselves (`processes`): who removes it may have been started in another group than who
//!   made it. That all of them end is up to the kernel: the first process of a pid namespace takes all others with it
//!   (pid_namespaces(7)).
//!
//! # What keeps a container in
//!
//! All that keeps one of root's in, but for control groups where there are none; and what gets out nevertheless is no more than the user and the
//! user's subordinate ids.

mod delegated;
mod enter;
pub(super) mod processes;
mod subordinate;

use std::fs;
use std::sync::OnceLock;

use super::super::{Capability, Shortcoming};
use super::cgroup::limits_processors;

pub(super) use enter::missing;
pub use enter::{enter_again, main, run_inside};

/// What is mounted on `/sys/fs/cgroup` inside: its name in the list of mounts, which nothing but a process inside can give it.
const MARK: &str = "packhold-rootless";

/// The map of the namespace that a machine starts with (user_namespaces(7)).
const EVERYBODY: [u32; 3] = [0, 0, u32::MAX];

/// Whether this process is in a user namespace, whoever has made it: root there is not the machine's.
pub(super) fn is_in_namespace() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        let numbers: Vec<u32> = map.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect();
        !numbers.is_empty() && numbers != EVERYBODY
    })
}

/// Whether this process is in the namespace that [`enter_again`] makes.
pub fn is_inside() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        is_in_namespace() && rustix::process::geteuid().is_root() && has_mark(&mounts)
    })
}

/// Whether this process is inside and has control groups: those below a group that was delegated to the user.
pub(super) fn has_groups() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        is_inside() && is_writable(&mounts)
    })
}

/// The options of the mount with the mark (proc_pid_mountinfo(5)).
fn marked(mounts: &str) -> Option<&str> {
    mounts.lines().find_map(|line| {
        let (mount, fs) = line.split_once(" - cgroup2 ")?;
        (fs.split(' ').next() == Some(MARK)).then(|| mount.split(' ').nth(5)).flatten()
    })
}

fn has_mark(mounts: &str) -> bool {
    marked(mounts).is_some()
}

fn is_writable(mounts: &str) -> bool {
    marked(mounts).is_some_and(|options| options.split(',').any(|word| word == "rw"))
}

/// Whether this process has to start again inside before it can be an engine.
pub fn is_outside() -> bool {
    !rustix::process::geteuid().is_root()
}

/// What an ordinary user's engine cannot do, and root's can.
pub(super) fn shortcomings() -> Vec<Shortcoming> {
    let lack = |what, why: &str| Shortcoming { what, why: why.to_owned() };
    let limits = match (has_groups(), limits_processors()) {
        (true, true) => None,
        (true, false) => Some(lack(
            Capability::Limits,
            "processors of a container are not limited: the control group that was delegated to this user has no controller for them",
        )),
        (false, _) => Some(lack(
            Capability::Limits,
            "memory, processes and processors of a container are not limited: that takes a control group of version 2 that is delegated \
             to this user and has no other process in it (`systemd-run --user --scope -p Delegate=yes packhold …`); the limits of \
             the user's session hold",
        )),
    };
    let init = (!has_groups()).then(|| {
        lack(
            Capability::Init,
            "systemd does not run in a container: that takes the machine's root, or a control group as above",
        )
    });
    let devices = lack(
        Capability::Devices,
        "no device node can be made in a container: a package whose scripts make one fails to install",
    );
    limits.into_iter().chain(init).chain([devices]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_the_name_of_a_mount_of_control_groups_and_not_of_another() {
        let line = |kind: &str, source: &str| {
            format!("93 62 0:30 / /sys/fs/cgroup ro,relatime shared:4 - {kind} {source} ro\n")
        };
        assert!(has_mark(&(line("tmpfs", "x") + &line("cgroup2", MARK))));
        assert!(!has_mark(&line("tmpfs", MARK)));
        assert!(!has_mark(&line("cgroup2", "cgroup2")));
        assert!(!is_writable(&line("cgroup2", MARK)), "the mount is read-only");
        assert!(is_writable(&line("cgroup2", MARK).replace("ro,relatime", "rw,relatime")));
        assert!(!is_writable(&line("cgroup2", "cgroup2").replace("ro,relatime", "rw,relatime")));
    }

    #[test]
    fn who_is_root_of_the_machine_is_in_no_namespace() {
        let map = fs::read_to_string("/proc/self/uid_map").expect("the map of this process");
        assert_eq!(is_in_namespace(), !map.contains("4294967295"));
    }
}
