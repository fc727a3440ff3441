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
//! - There are no control groups: on `/sys/fs/cgroup` is a view of version 2 that nothing can be written to. So nothing limits
//!   memory, processes and processors (`shortcomings`), and the processes of a container are found by what they say of
//!   themselves (`processes`) instead of by their group. That all of them end is up to the kernel: the first process of a pid
//!   namespace takes all others with it (pid_namespaces(7)).
//!
//! # What keeps a container in
//!
//! All that keeps one of root's in, but for control groups; and what gets out nevertheless is no more than the user and the
//! user's subordinate ids.

mod enter;
pub(super) mod processes;
mod subordinate;

use std::fs;
use std::sync::OnceLock;

use super::super::{Capability, Shortcoming};

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

fn has_mark(mounts: &str) -> bool {
    let source = |line: &str| Some(line.split_once(" - cgroup2 ")?.1.split(' ').next()? == MARK);
    mounts.lines().any(|line| source(line) == Some(true))
}

/// Whether this process has to start again inside before it can be an engine.
pub fn is_outside() -> bool {
    !rustix::process::geteuid().is_root()
}

/// What an ordinary user's engine cannot do, and root's can.
pub(super) fn shortcomings() -> Vec<Shortcoming> {
    let lack = |what, why: &str| Shortcoming { what, why: why.to_owned() };
    vec![
        lack(
            Capability::Limits,
            "memory, processes and processors of a container are not limited: that takes control groups, which an ordinary \
             user does not have; the limits of the user's session hold",
        ),
        lack(
            Capability::Init,
            "systemd does not run in a container: that takes control groups, which an ordinary user does not have",
        ),
        lack(
            Capability::Devices,
            "no device node can be made in a container: a package whose scripts make one fails to install",
        ),
    ]
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
    }

    #[test]
    fn who_is_root_of_the_machine_is_in_no_namespace() {
        let map = fs::read_to_string("/proc/self/uid_map").expect("the map of this process");
        assert_eq!(is_in_namespace(), !map.contains("4294967295"));
    }
}
