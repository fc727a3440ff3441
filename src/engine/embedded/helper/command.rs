//! From a process of the host to a command in a container.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::str::FromStr;

use caps::errors::CapsError;
use caps::{CapSet, Capability};
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::unistd::{Gid, Uid, chdir, dup2, setgroups, setresgid, setresuid, setsid};
use rustix::thread::{set_keep_capabilities, set_no_new_privs};

use super::entered::has_ended;
use super::input::Stdin;
use super::seccomp::{self, Filters};
use super::terminal;
use crate::engine::embedded::cgroup;
use crate::engine::embedded::held::Held;
use crate::engine::embedded::record::Process;
use crate::engine::embedded::request::Exec;

/// What a shell says of a program that it cannot start (POSIX, "Exit Status for Commands").
const NOT_FOUND: i32 = 127;
pub(super) const NOT_STARTED: i32 = 126;

/// The namespaces of a container besides that of processes, by their names in `/proc/PID/ns`.
const NAMESPACES: [(&str, CloneFlags); 5] = [
    ("cgroup", CloneFlags::CLONE_NEWCGROUP),
    ("ipc", CloneFlags::CLONE_NEWIPC),
    ("mnt", CloneFlags::CLONE_NEWNS),
    ("net", CloneFlags::CLONE_NEWNET),
    ("uts", CloneFlags::CLONE_NEWUTS),
];

/// A process of one thread that is to become a command, and what it needs for that. It is in the container's process
/// namespace and in nothing else of it, cannot be looked into, and has no folder open.
pub(super) struct Start {
    pub(super) request: Exec,
    /// The container's first process, as a file that stands for no other.
    pub(super) first: Held,
    pub(super) doors: Vec<File>,
    pub(super) filters: Filters,
    pub(super) input: Stdin,
}

impl Start {
    /// Becomes the command. What this gives is why it could not.
    pub(super) fn run(self) -> String {
        match self.try_run() {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    fn try_run(self) -> Result<std::convert::Infallible, String> {
        let Self { request, first, doors, filters, input } = self;
        // Signals to a group of processes are for the container's.
        setsid().map_err(failing("begin a session"))?;
        if let Stdin::File(input) = &input {
            dup2(input.as_raw_fd(), 0).map_err(failing("take the input"))?;
        }
        dup2(1, 2).map_err(failing("take the output"))?;
        cgroup::enter(doors).map_err(failing("enter the container's control groups"))?;
        // The number may be another's, but not after what comes next: then `first` has ended.
        let spaces = others(&request.first).map_err(failing("see the container's namespaces"))?;
        setns(&first, spaces).map_err(failing("enter the container's namespaces"))?;
        // As long as that process is there, nobody else had its number.
        if has_ended(&first) {
            return Err("the container has stopped".to_owned());
        }
        drop(first);
        if let Stdin::Terminal { size, other_side } = input {
            let terminal =
                terminal::take(size, request.uid, other_side).map_err(failing("make a terminal"))?;
            for stream in 0..3 {
                dup2(terminal.as_raw_fd(), stream).map_err(failing("take the terminal"))?;
            }
        }
        // A file system may be closed to root and open to the user.
        let entered = match chdir(request.dir.as_str()) {
            Err(Errno::EPERM) => false,
            done => done.map(|()| true).map_err(failing(&request.dir))?,
        };
        set_no_new_privs(true).map_err(failing("give up new privileges"))?;
        become_user(request.uid, request.gid).map_err(failing("become the command's user"))?;
        keep_capabilities(&request.capabilities)?;
        if !entered {
            chdir(request.dir.as_str()).map_err(failing(&request.dir))?;
        }
        // A folder that is not below the root of the container has no path there (getcwd(3), CVE-2024-21626).
        let folder = std::env::current_dir().map_err(failing(&request.dir))?;
        if !folder.is_absolute() {
            return Err(format!("{} is not in the container", request.dir));
        }
        seccomp::apply(&filters)?;
        let (program, arguments) = request.argv.split_first().ok_or("there is no program to run")?;
        // This also undoes what the Rust runtime does to signals.
        let error = Command::new(program).args(arguments).env_clear().envs(&request.env).exec();
        _ = writeln!(io::stderr(), "packhold: cannot run {program}: {error}");
        std::process::exit(match error.kind() {
            io::ErrorKind::NotFound => NOT_FOUND,
            _ => NOT_STARTED,
        })
    }
}

fn failing<E: std::fmt::Display>(action: &str) -> impl FnOnce(E) -> String {
    move |error| format!("{action}: {error}")
}

/// The namespaces that a process has and this one has not. To enter one's own is refused to who has not made it.
fn others(process: &Process) -> io::Result<CloneFlags> {
    let mut others = CloneFlags::empty();
    for (name, flag) in NAMESPACES {
        let own = fs::read_link(format!("/proc/self/ns/{name}"))?;
        others.set(flag, own != fs::read_link(format!("/proc/{}/ns/{name}", process.pid))?);
    }
    Ok(others)
}

/// A user with the one group: what `docker exec --user UID:GID` gives. Capabilities stay for now.
fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    setgroups(&[gid])?;
    set_keep_capabilities(true)?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    set_keep_capabilities(false)?;
    Ok(())
}

/// Gives up all capabilities but these, named without `CAP_`, and those too for whoever is not root (capabilities(7)).
fn keep_capabilities(names: &[String]) -> Result<(), String> {
    let parse = |name: &String| Capability::from_str(&format!("CAP_{name}")).map_err(failing(name));
    let kept: HashSet<Capability> = names.iter().map(parse).collect::<Result<_, String>>()?;
    let keep = || -> Result<(), CapsError> {
        // A change of the user has taken what drops the others.
        caps::set(None, CapSet::Effective, &caps::read(None, CapSet::Permitted)?)?;
        for other in caps::all().difference(&kept) {
            // One that this kernel does not know, nobody has.
            if caps::has_cap(None, CapSet::Bounding, *other).unwrap_or(false) {
                caps::drop(None, CapSet::Bounding, *other)?;
            }
        }
        caps::clear(None, CapSet::Ambient)?;
        caps::clear(None, CapSet::Inheritable)?;
        caps::set(None, CapSet::Effective, &kept)?;
        caps::set(None, CapSet::Permitted, &kept)
    };
    keep().map_err(failing("give up capabilities"))
}
