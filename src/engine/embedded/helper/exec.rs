use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::time::Duration;

use fork::{Fork, fork};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::fs::FlockOperation;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use super::command::{NOT_STARTED, Start};
use super::entered::{ends_within, has_ended, hold};
use super::{Stop, Trying, input, seccomp};
use crate::engine::embedded::cgroup::Group;
use crate::engine::embedded::record::Folder;
use crate::engine::embedded::request::{Exec, Report};

/// How soon after a killed command its container is gone, if it was the container that was killed.
const FOLLOWS: Duration = Duration::from_millis(100);

/// How much of why a command could not be started is read.
const WORDS: u64 = 4096;

/// Runs a command in a container; its output is this process's standard output. Returns when the command has ended.
///
/// This process stays outside. What enters is its child, which takes on one after the other what the container's
/// first process has, and then becomes the command.
pub(super) fn exec(request: Exec, commands: BufReader<File>) -> Result<Report, Stop> {
    keep_files_from_commands()?;
    let first = hold(&request.first)?;
    // Whoever removes the container waits until the command is in its groups.
    let folder = Folder { id: request.id.clone(), path: request.folder.clone() };
    let lock = File::open(&folder.path).map_err(|_| Stop(Report::Gone))?;
    rustix::fs::flock(&lock, FlockOperation::LockShared).trying("lock the container's folder")?;
    let group = Group::of(&request.id).trying("find the control groups of this machine")?;
    if folder.is_removed() || group.enter_as_helper().is_err() {
        return Err(Stop(Report::Gone));
    }
    let doors = group.doors().map_err(|_| Stop(Report::Gone))?;
    let filters = seccomp::filters(&request.capabilities).map_err(Stop::refused)?;
    let (input, feed) = input::of(&request)?;
    // Nothing in the container may look into what is on its way there (CVE-2016-9962).
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .trying("keep others from looking into this process")?;
    match setns(&first, CloneFlags::CLONE_NEWPID) {
        Err(Errno::ESRCH) => return Err(Stop(Report::Gone)),
        done => done.trying("enter the container's process namespace; this needs root")?,
    }
    let (words, failed) = pipe_with(PipeFlags::CLOEXEC).trying("make a pipe")?;
    let pid = match fork() {
        Ok(Fork::Child) => {
            // The one folder of the host that is open.
            drop((lock, words));
            let start = Start { request, first, doors, filters, input };
            let error = start.run();
            _ = File::from(failed).write_all(error.as_bytes());
            std::process::exit(NOT_STARTED);
        }
        Ok(Fork::Parent(pid)) => Pid::from_raw(pid),
        // A process namespace whose first process has ended takes no others (pid_namespaces(7)).
        Err(_) if has_ended(&first) => return Ok(Report::Gone),
        Err(error) => return Err(Stop::io("start a process", &error)),
    };
    drop((failed, doors, input));
    let feeding = feed.begin(commands);
    // It ends with the command's start.
    let mut told = Vec::new();
    File::from(words).take(WORDS).read_to_end(&mut told).trying("see the command start")?;
    drop(lock);
    if let Some(feeding) = feeding {
        feeding.until_end_of(pid).trying("pass input on to the command")?;
    }
    let ended = wait(pid)?;
    if !told.is_empty() {
        if has_ended(&first) {
            return Ok(Report::Gone);
        }
        // The status that a shell gives where it cannot start a program that is there.
        _ = writeln!(io::stdout(), "packhold: cannot start the command: {}", String::from_utf8_lossy(&told));
        return Ok(Report::Exited(NOT_STARTED.into()));
    }
    let (code, killed) = match ended {
        WaitStatus::Signaled(_, signal, _) => (128 + i64::from(signal as i32), signal == Signal::SIGKILL),
        WaitStatus::Exited(_, code) => (i64::from(code), false),
        other => return Err(Stop::refused(format!("the command ended as nothing does: {other:?}"))),
    };
    let gone = code != 0 && ends_within(&first, if killed { FOLLOWS } else { Duration::ZERO });
    Ok(if gone { Report::Gone } else { Report::Exited(code) })
}

/// Waits until a child has ended.
fn wait(pid: Pid) -> Result<WaitStatus, Stop> {
    loop {
        match waitpid(pid, None) {
            Err(Errno::EINTR) => {}
            Ok(WaitStatus::Stopped(..) | WaitStatus::Continued(_)) => {}
            ended => return ended.trying("wait for the command"),
        }
    }
}

/// Has every open file but the first three closed when a command starts: also those that the program was started with.
fn keep_files_from_commands() -> Result<(), Stop> {
    for entry in std::fs::read_dir("/proc/self/fd").trying("list the open files")? {
        let name = entry.trying("list the open files")?.file_name();
        if let Some(file) = name.to_str().and_then(|name| name.parse::<i32>().ok()).filter(|file| *file > 2) {
            fcntl(file, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).trying("keep an open file from commands")?;
        }
    }
    Ok(())
}
