//! The control groups of a container: one group of the same name in every hierarchy, cgroup v1, v2 and both at once. An ordinary
//! user has those of a group that was delegated to him ([`rootless`](super::rootless)), or none.

mod limits;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use rustix::process::Signal;

use super::held::Held;
use super::rootless::{has_groups, is_inside};

/// The group below which all of this program's are.
pub(super) const PARENT: &str = "packhold";

/// How often groups are made anew when the one above them goes meanwhile.
const TRIES: u32 = 20;

/// The controllers without which limits would not be kept.
const LIMITS: [&str; 2] = ["memory", "pids"];

/// The controllers of cgroup v1 that a helper does not enter: their groups are for the container's own processes.
const MANAGED: [&str; 12] = [
    "blkio",
    "cpu",
    "cpuacct",
    "cpuset",
    "devices",
    "freezer",
    "hugetlb",
    "memory",
    "net_cls",
    "net_prio",
    "perf_event",
    "pids",
];

/// Ends the name of the group of the helpers of a container, with cgroup v2 alone.
const HELPER: &str = ".helper";

/// With cgroup v2 alone the group, below a container's own, of the commands beside an init system. That has the container's group to itself: it
/// hands controllers down from it, and a group that does so may have no processes (cgroup-v2.rst, "No Internal Process Constraint").
pub(super) const BESIDE_INIT: &str = "packhold-exec";

/// The controllers that are handed down with cgroup v2.
const HANDED_DOWN: [&str; 3] = ["cpu", "memory", "pids"];

/// How long a helper may take to notice the end of its command.
const NOTICES: Duration = Duration::from_millis(500);

/// How long processes that were killed may take to end. One that waits for a dead disk takes longer.
const ENDS: Duration = Duration::from_secs(30);

/// A mounted hierarchy of control groups.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hierarchy {
    root: PathBuf,
    unified: bool,
    /// The controllers of a v1 hierarchy; of a v2 hierarchy nothing.
    controllers: Vec<String>,
}

impl Hierarchy {
    fn is_managed(&self) -> bool {
        self.controllers.iter().any(|name| MANAGED.contains(&name.as_str()))
    }

    /// The file of a group by which a process of one thread enters it.
    ///
    /// With v1 that is the file for threads: the kernel moves the calling thread at once, while for a process it waits until all
    /// processors have noticed (cgroup_threadgroup_rwsem in `kernel/cgroup/cgroup.c`), some milliseconds.
    fn door(&self) -> &'static str {
        if self.unified { "cgroup.procs" } else { "tasks" }
    }
}

/// statfs(2).
const CGROUP2_SUPER_MAGIC: rustix::fs::FsWord = 0x6367_7270;

/// The hierarchies of this machine that this process may use, as it sees them (proc_pid_mountinfo(5)).
fn hierarchies() -> io::Result<Vec<Hierarchy>> {
    if is_inside() && !has_groups() {
        return Ok(Vec::new());
    }
    let mut all = parse_mounts(&fs::read_to_string("/proc/self/mountinfo")?);
    if is_inside() {
        // What is delegated to an ordinary user is of version 2; groups of version 1 that somebody has mounted are not his.
        all.retain(|each| each.unified);
    }
    Ok(all)
}

fn parse_mounts(text: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in text.lines() {
        let Some((mount, fs)) = line.split_once(" - ") else { continue };
        let (Some(root), Some(point)) = (mount.split(' ').nth(3), mount.split(' ').nth(4)) else { continue };
        let mut fs = fs.split(' ');
        let kind = fs.next();
        let unified = match kind {
            Some("cgroup") => false,
            Some("cgroup2") => true,
            _ => continue,
        };
        // A part of a hierarchy, mounted for somebody else.
        if root != "/" || found.iter().any(|other| other.root == Path::new(point)) {
            continue;
        }
        let options = fs.nth(1).unwrap_or_default();
        let controllers = match unified {
            true => Vec::new(),
            false => {
                options.split(',').filter(|word| !["rw", "ro"].contains(word)).map(str::to_owned).collect()
            }
        };
        found.push(Hierarchy { root: PathBuf::from(point), unified, controllers });
    }
    found
}

/// Whether control groups are those of cgroup v2: what the container library goes by (systemd's "unified" layout). A hierarchy of
/// v1 that somebody has mounted besides changes nothing.
pub(super) fn is_unified() -> bool {
    rustix::fs::statfs(TOP).is_ok_and(|found| found.f_type == CGROUP2_SUPER_MAGIC)
}

/// Whether control groups guard the devices of containers; where they do not, the filter of system calls has to.
pub(super) fn guards_devices() -> bool {
    let is_devices =
        |each: &Hierarchy| !each.unified && each.controllers.iter().any(|name| name == "devices");
    !is_unified() && hierarchies().is_ok_and(|all| all.iter().any(is_devices))
}

/// The controllers for limits that this machine does not offer.
pub(super) fn missing_controllers() -> Vec<&'static str> {
    let all = hierarchies().unwrap_or_default();
    let unified: String = all
        .iter()
        .filter(|each| each.unified)
        .filter_map(|each| fs::read_to_string(each.root.join("cgroup.controllers")).ok())
        .collect();
    let offered = |name: &str| {
        unified.split_ascii_whitespace().any(|word| word == name)
            || all.iter().any(|each| each.controllers.iter().any(|word| word == name))
    };
    LIMITS.into_iter().filter(|name| !offered(name)).collect()
}

/// Whether the processors of a container can be limited.
pub(super) fn limits_processors() -> bool {
    let all = hierarchies().unwrap_or_default();
    all.iter().any(|each| match each.unified {
        false => each.controllers.iter().any(|name| name == "cpu"),
        true => offers(&each.root, "cpu"),
    })
}

/// Whether a group of version 2 has this controller.
pub(super) fn offers(group: &Path, controller: &str) -> bool {
    let all = fs::read_to_string(group.join("cgroup.controllers")).unwrap_or_default();
    all.split_ascii_whitespace().any(|name| name == controller)
}

/// Hands controllers down from a group of version 2 to those below it (cgroup-v2.rst, "Enabling and Disabling"): the first error, when all
/// have been tried. One that the group itself does not have is left out.
pub(super) fn hand_down(group: &Path) -> io::Result<()> {
    let mut done = Ok(());
    for name in HANDED_DOWN.into_iter().filter(|name| offers(group, name)) {
        done = done.and(fs::write(group.join("cgroup.subtree_control"), format!("+{name}")));
    }
    done
}

/// Whether the limit of memory has to say that swap counts. With version 2 swap has a limit of its own, which [`Group::make`] sets: the container
/// library takes none at all, 0, for none that was given.
pub(super) fn counts_swap() -> bool {
    let counts = |each: &Hierarchy| !each.unified && each.root.join("memory.memsw.limit_in_bytes").exists();
    hierarchies().unwrap_or_default().iter().any(counts)
}

/// Removes the group above those of containers, where there is no container.
pub(super) fn remove_parent_if_empty() {
    for each in hierarchies().unwrap_or_default() {
        // Somebody may have it in use, or need it this moment.
        _ = fs::remove_dir(each.root.join(PARENT));
    }
}

/// How often the limits of a group were reached since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// Processes that the kernel killed for memory.
    pub(super) oom_kills: u64,
    /// Processes and threads that could not be made.
    pub(super) refused_processes: u64,
}

/// The groups of one container.
#[derive(Clone, Debug)]
pub(super) struct Group {
    name: String,
    hierarchies: Vec<Hierarchy>,
}

impl Group {
    /// The groups of the container `id`, whether they are there or not.
    pub(super) fn of(id: &str) -> io::Result<Self> {
        Ok(Self { name: format!("{PARENT}/{id}"), hierarchies: hierarchies()? })
    }

    /// The path below the hierarchies, as an OCI runtime wants it.
    pub(super) fn path(id: &str) -> String {
        format!("/{PARENT}/{id}")
    }

    /// Makes the groups that are not there. `init` is whether they are for an init system, which wants one in every hierarchy.
    pub(super) fn make(&self, init: bool) -> io::Result<()> {
        for _ in 0..TRIES {
            match self.make_once(init) {
                // Another process has just found the group above them empty.
                Err(error) if is_gone(&error) => {}
                made => return made,
            }
        }
        self.make_once(init)
    }

    fn make_once(&self, init: bool) -> io::Result<()> {
        for each in self.hierarchies.iter().filter(|each| init || !self.is_spare(each)) {
            let folder = each.root.join(&self.name);
            if each.unified && is_unified() {
                fs::create_dir_all(each.root.join(PARENT))?;
                for level in [each.root.clone(), each.root.join(PARENT)] {
                    hand_down(&level)?;
                }
                // If the one above goes this moment, it is not to come back without controllers.
                make_folder(&folder)?;
                let swap = folder.join("memory.swap.max");
                if swap.exists() {
                    fs::write(swap, "0")?;
                }
                if init {
                    make_folder(&folder.join(BESIDE_INIT))?;
                }
            }
            if each.controllers.iter().any(|name| name == "cpuset") {
                // A new group of cpuset may use nothing (cgroup-v1/cpusets.rst); what the parent may it is to have.
                fs::create_dir_all(each.root.join(PARENT))?;
                inherit_cpuset(&each.root, &each.root.join(PARENT))?;
                fs::create_dir_all(&folder)?;
                inherit_cpuset(&each.root.join(PARENT), &folder)?;
            }
            fs::create_dir_all(&folder)?;
        }
        self.for_helpers().try_for_each(|(_, folder)| fs::create_dir_all(folder))
    }

    /// Moves this process of one thread, and what it will start, into the groups that limit nothing. With cgroup v2 alone that is
    /// a group beside the container's.
    ///
    /// So a helper that waits for a command counts for no limit of its container, and whoever removes the container finds what it
    /// started, even when it was killed before it had done its work.
    pub(super) fn enter_as_helper(&self) -> io::Result<()> {
        for (each, folder) in self.for_helpers() {
            write_self(&mut OpenOptions::new().write(true).open(folder.join(each.door()))?)?;
        }
        Ok(())
    }

    /// The group of this container's commands, below its own, if they have one.
    pub(super) fn beside_init(&self) -> Option<&'static str> {
        let is_there = |each: &Hierarchy| each.root.join(&self.name).join(BESIDE_INIT).is_dir();
        (is_unified() && self.hierarchies.iter().any(is_there)).then_some(BESIDE_INIT)
    }

    /// The ways into the container's groups, to be gone by [`enter`]: also for a process that does not see them any more, and has
    /// no privileges any more, since what counts is who has opened them (cgroup-v2.rst, "Delegation Containment").
    pub(super) fn doors(&self) -> io::Result<Vec<File>> {
        let mut doors = Vec::new();
        for each in &self.hierarchies {
            match OpenOptions::new().write(true).open(self.of_commands(each).join(each.door())) {
                Err(error) if is_gone(&error) && self.is_spare(each) => {}
                opened => doors.push(opened?),
            }
        }
        Ok(doors)
    }

    /// The group of this container's commands: its own, or the one below that is theirs beside an init system.
    fn of_commands(&self, each: &Hierarchy) -> PathBuf {
        let own = each.root.join(&self.name);
        match self.beside_init() {
            Some(below) if each.unified => own.join(below),
            _ => own,
        }
    }

    /// Whether a hierarchy has groups for init systems only: that of v2 beside v1, where v1 has one without controllers for helpers. To
    /// enter it takes milliseconds, and it would tell nothing that the others do not.
    fn is_spare(&self, each: &Hierarchy) -> bool {
        let other = |other: &Hierarchy| !other.unified && !other.is_managed();
        each.unified && !is_unified() && self.hierarchies.iter().any(other)
    }

    fn for_helpers(&self) -> impl Iterator<Item = (&Hierarchy, PathBuf)> {
        let unified = is_unified();
        let wanted = self.hierarchies.iter().filter(|each| !each.is_managed() && !self.is_spare(each));
        wanted.map(move |each| match unified {
            true => (each, each.root.join(format!("{}{HELPER}", self.name))),
            false => (each, each.root.join(&self.name)),
        })
    }

    /// The processes in the groups and below them: in those that limit, or in all.
    fn processes(&self, all: bool) -> io::Result<BTreeSet<i32>> {
        let mut pids = BTreeSet::new();
        let roots = self.hierarchies.iter().filter(|each| all || each.is_managed() || is_unified());
        let mut roots: Vec<PathBuf> = roots.map(|each| each.root.join(&self.name)).collect();
        if all {
            roots.extend(self.for_helpers().map(|(_, folder)| folder));
        }
        for folder in folders(roots)? {
            match fs::read_to_string(folder.join("cgroup.procs")) {
                Ok(text) => pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok())),
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(error),
            }
        }
        // 0 is a process of another pid namespace, which is not ours to end.
        pids.remove(&0);
        Ok(pids)
    }

    /// Kills every process in the groups, again and again until there is none: what a process makes while it is being
    /// killed is in the group too. Helpers end by themselves when their command has.
    pub(super) fn kill(&self) -> io::Result<()> {
        self.kill_some(false)?;
        let start = Instant::now();
        while let Some(left) = NOTICES.checked_sub(start.elapsed()) {
            let helpers = self.held(true)?;
            if helpers.is_empty() {
                return Ok(());
            }
            Held::wait_for_all(helpers.values(), left)?;
        }
        self.kill_some(true)
    }

    fn kill_some(&self, all: bool) -> io::Result<()> {
        let start = Instant::now();
        let mut pause = Duration::from_millis(5);
        loop {
            // Somebody may be making an image of it; with cgroup v1 what is frozen does not end.
            self.freeze(false)?;
            self.kill_whole_groups(all);
            let held = self.held(all)?;
            if held.is_empty() && self.processes(all)?.is_empty() {
                return Ok(());
            }
            for process in held.values() {
                // It may have ended meanwhile.
                process.signal(Signal::KILL);
            }
            if start.elapsed() > ENDS {
                let message = format!("{} killed processes do not end", held.len());
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
            match held.is_empty() {
                // They are ending, and not to be held any more.
                true => std::thread::sleep(Duration::from_micros(200)),
                false => Held::wait_for_all(held.values(), pause)?,
            }
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// The kernel kills all that is in a group and below it at once (cgroup-v2.rst, `cgroup.kill`; since Linux 5.14), without
    /// looking at numbers of processes. Where it cannot, they are killed one by one.
    fn kill_whole_groups(&self, all: bool) {
        if !is_unified() {
            return;
        }
        let own = self.hierarchies.iter().filter(|each| each.unified).map(|each| each.root.join(&self.name));
        let helpers = self.for_helpers().filter(|_| all).map(|(_, folder)| folder);
        for folder in own.chain(helpers) {
            _ = fs::write(folder.join("cgroup.kill"), "1");
        }
    }

    /// The processes as [`Group::processes`] gives them, each held by a file that stands for no other. A number that was given
    /// to another process between the listing and the holding is not among them: that process is in no group of these.
    fn held(&self, all: bool) -> io::Result<BTreeMap<i32, Held>> {
        let hold = |number| Some((number, Held::of(number)?));
        let mut held: BTreeMap<i32, Held> = self.processes(all)?.into_iter().filter_map(hold).collect();
        if !held.is_empty() {
            let still = self.processes(all)?;
            held.retain(|number, _| still.contains(number));
        }
        Ok(held)
    }

    /// Stops all processes of the groups where they are, or lets them go on.
    pub(super) fn freeze(&self, frozen: bool) -> io::Result<()> {
        for each in &self.hierarchies {
            let folder = each.root.join(&self.name);
            let v1 = each.controllers.iter().any(|name| name == "freezer");
            let (file, word, other) = match (each.unified, frozen) {
                (true, _) if is_unified() => ("cgroup.freeze", if frozen { "1" } else { "0" }, "frozen"),
                (false, true) if v1 => ("freezer.state", "FROZEN", "freezer.state"),
                (false, false) if v1 => ("freezer.state", "THAWED", "freezer.state"),
                _ => continue,
            };
            match fs::write(folder.join(file), word) {
                Ok(()) if frozen => wait_frozen(&folder, other),
                Ok(()) => {}
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Removes the groups, which have no processes any more.
    pub(super) fn remove(&self) -> io::Result<()> {
        let start = Instant::now();
        let groups = self.hierarchies.iter().map(|each| each.root.join(&self.name));
        for folder in folders(groups.chain(self.for_helpers().map(|(_, folder)| folder)).collect())? {
            loop {
                match fs::remove_dir(&folder) {
                    Ok(()) => break,
                    Err(error) if is_gone(&error) => break,
                    // The kernel lets go of a group a little later than of its last process.
                    Err(error) if start.elapsed() > ENDS => return Err(error),
                    Err(_) => std::thread::sleep(Duration::from_millis(1)),
                }
            }
        }
        Ok(())
    }

    /// What the kernel has counted (cgroup-v1/memory.rst, cgroup-v1/pids.rst, cgroup-v2.rst). Nothing where the
    /// groups are gone.
    pub(super) fn counters(&self) -> Counters {
        let mut counters = Counters::default();
        for each in &self.hierarchies {
            let folder = each.root.join(&self.name);
            let read = |file: &str, key: &str| {
                let text = fs::read_to_string(folder.join(file)).unwrap_or_default();
                let count =
                    |line: &str| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse::<u64>().ok();
                text.lines().find_map(count).unwrap_or(0)
            };
            let file = if each.unified { "memory.events" } else { "memory.oom_control" };
            counters.oom_kills += read(file, "oom_kill");
            counters.refused_processes += read("pids.events", "max");
            // Before Linux 6.11 a process that could not be made is counted where it would have been.
            counters.refused_processes += read(&format!("{BESIDE_INIT}/pids.events"), "max");
        }
        counters
    }
}

/// Moves this process of one thread, and what it will start, through the doors that [`Group::doors`] has opened.
pub(super) fn enter(doors: Vec<File>) -> io::Result<()> {
    doors.into_iter().try_for_each(|mut door| write_self(&mut door))
}

/// 0 is whoever writes it.
fn write_self(door: &mut File) -> io::Result<()> {
    door.write_all(b"0")
}

/// Where control groups are mounted (systemd, "Control Group APIs and Delegation").
const TOP: &str = "/sys/fs/cgroup";

/// Hides the groups of cgroup v1 from this process, which has mounts of its own: the container library then leaves them
/// alone. It would move processes by their number, for which the kernel waits.
pub(super) fn hide() -> io::Result<()> {
    // At once, since the kernel waits for its processors at each.
    unmount(Path::new(TOP))?;
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    // The library asks what kind of file system this is.
    mount(Some("tmpfs"), TOP, Some("tmpfs"), flags, Some("mode=555"))?;
    hierarchies()?.iter().try_for_each(|each| unmount(&each.root))
}

/// Unmounts a file system with all that is mounted in it. One that is not mounted is no error.
fn unmount(place: &Path) -> io::Result<()> {
    match umount2(place, MntFlags::MNT_DETACH) {
        Err(Errno::EINVAL | Errno::ENOENT) => Ok(()),
        done => Ok(done?),
    }
}

/// These folders of groups and those that a container made below them, the deepest first. Those that are gone are left
/// out.
fn folders(mut open: Vec<PathBuf>) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if is_gone(&error) => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(entry.path());
            }
        }
        found.push(folder);
    }
    found.reverse();
    Ok(found)
}

/// Makes a folder where there may be one, in a folder that has to be there.
fn make_folder(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

fn inherit_cpuset(parent: &Path, child: &Path) -> io::Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if fs::read_to_string(child.join(file))?.trim().is_empty() {
            fs::write(child.join(file), fs::read_to_string(parent.join(file))?)?;
        }
    }
    Ok(())
}

/// A group freezes process by process; what still runs after a while waits in the kernel and changes no file.
fn wait_frozen(folder: &Path, file: &str) {
    for _ in 0..200 {
        let done = match file {
            "frozen" => {
                fs::read_to_string(folder.join("cgroup.events")).is_ok_and(|text| text.contains("frozen 1"))
            }
            file => fs::read_to_string(folder.join(file)).is_ok_and(|text| text.trim() == "FROZEN"),
        };
        if done {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A group that was removed meanwhile is not found, or its open files have no device any more.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_control_groups_are_found_side_by_side() {
        let text = "30 24 0:26 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids\n\
                    31 24 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
                    32 24 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
                    33 24 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
                    34 24 0:26 /docker/x /var/lib/x/pids rw - cgroup cgroup rw,pids\n\
                    35 24 0:30 / /tmp rw - tmpfs tmpfs rw\n";
        let found = parse_mounts(text);
        let told: Vec<_> =
            found.iter().map(|each| (each.root.to_str().unwrap_or(""), each.controllers.join("+"))).collect();
        assert_eq!(
            told,
            [
                ("/sys/fs/cgroup/pids", "pids".to_owned()),
                ("/sys/fs/cgroup/cpu,cpuacct", "cpu+cpuacct".to_owned()),
                ("/sys/fs/cgroup/systemd", "name=systemd".to_owned()),
                ("/sys/fs/cgroup/unified", String::new()),
            ]
        );
        assert!(found[3].unified && !found[0].unified);
    }
}
