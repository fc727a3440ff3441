use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::Duration;

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::syscall::syscall::SyscallType;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use rustix::fs::{FlockOperation, MemfdFlags, Mode, SealFlags};

use super::create::chain;
use super::entered::{ends_within, has_ended, hold};
use super::program::CommandProcess;
use super::{Stop, Trying, seccomp};
use crate::engine::embedded::cgroup::Group;
use crate::engine::embedded::record::Folder;
use crate::engine::embedded::request::{Exec, Report};

/// How soon after a killed command its container is gone, if it was the container that was killed.
const FOLLOWS: Duration = Duration::from_millis(100);

/// Runs a command in a container; its output is this process's standard output. Returns when the command has ended.
pub(super) fn exec(request: Exec) -> Result<Report, Stop> {
    let first = Arc::new(hold(&request.first)?);
    // Until the command is in the container's groups nobody may remove them: the library would make them again.
    let folder = Folder { id: request.id.clone(), path: request.folder.clone() };
    let lock = File::open(&folder.path).map_err(|_| Stop(Report::Gone))?;
    rustix::fs::flock(&lock, FlockOperation::LockShared).trying("lock the container's folder")?;
    let group = Group::of(&request.id).trying("find the control groups of this machine")?;
    if folder.is_removed() || group.enter_as_helper().is_err() {
        return Err(Stop(Report::Gone));
    }
    let beside_init = group.beside_init().map(str::to_owned);
    let output = || io::stdout().as_fd().try_clone_to_owned().trying("hand over the output");
    let filters = seccomp::filters(&request.capabilities).map_err(Stop::refused)?;
    let description = in_memory(&description(&request))?;
    let process = CommandProcess { argv: request.argv, env: request.env, filters, first: Arc::clone(&first) };
    let started = ContainerBuilder::new(request.id, SyscallType::Linux)
        .with_root_path(request.folder.join("state"))
        .map_err(Stop::refused)?
        .with_executor(process)
        .with_stdin(empty()?)
        .with_stdout(output()?)
        .with_stderr(output()?)
        .as_tenant()
        .with_sub_cgroup(beside_init)
        .with_detach(true)
        .with_process(Some(format!("/proc/self/fd/{}", description.as_raw_fd())))
        .build();
    drop(lock);
    let pid = match started {
        Ok(pid) => pid,
        Err(_) if has_ended(&first) => return Ok(Report::Gone),
        Err(error) => {
            // The status that a shell gives where it cannot start a program that is there.
            _ = writeln!(io::stdout(), "packhold: cannot start the command: {}", chain(&error));
            return Ok(Report::Exited(126));
        }
    };
    let (code, killed) = loop {
        match waitpid(pid, None).trying("wait for the command")? {
            WaitStatus::Exited(_, code) => break (i64::from(code), false),
            WaitStatus::Signaled(_, signal, _) => {
                break (128 + i64::from(signal as i32), signal == Signal::SIGKILL);
            }
            _ => {}
        }
    };
    let gone = code != 0 && ends_within(&first, if killed { FOLLOWS } else { Duration::ZERO });
    Ok(if gone { Report::Gone } else { Report::Exited(code) })
}

/// Without it the library would look up the user's home, and with that load what the image says is to be asked for users:
/// code of the image in a process that still has files of the host. No command sees it.
pub(in crate::engine::embedded) const NO_LOOKUP: &str = "HOME=/";

/// The command as the library wants it: a process of an OCI runtime configuration (config.md, "Process").
fn description(request: &Exec) -> serde_json::Value {
    let capabilities: Vec<String> = request.capabilities.iter().map(|name| format!("CAP_{name}")).collect();
    serde_json::json!({
        "terminal": false,
        // The user's own group, and no others: what `docker exec --user UID:GID` gives.
        "user": { "uid": request.uid, "gid": request.gid, "additionalGids": [request.gid] },
        "args": request.argv,
        "env": [NO_LOOKUP],
        "cwd": request.dir,
        "capabilities": {
            "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
            "inheritable": [], "ambient": [],
        },
        // The helper's own stay.
        "rlimits": [],
        "noNewPrivileges": true,
    })
}

/// Empty standard input: a file of the command's own. The host's `/dev/null` would be one that root in the container may close
/// to the whole host (chmod(2) through `/proc/self/fd/0`), and whether the container's is still there is up to it.
fn empty() -> Result<File, Stop> {
    let file = rustix::fs::memfd_create("packhold-stdin", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
        .trying("make a file in memory")?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&file, seals).trying("seal a file in memory")?;
    // Any user in the container may open `/dev/stdin` again.
    rustix::fs::fchmod(&file, Mode::from_raw_mode(0o444)).trying("make a file in memory readable")?;
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).trying("open a file in memory")
}

/// A file that only this process has.
fn in_memory(content: &serde_json::Value) -> Result<File, Stop> {
    let file = rustix::fs::memfd_create("packhold-process", MemfdFlags::CLOEXEC);
    let mut file = File::from(file.trying("make a file in memory")?);
    file.write_all(content.to_string().as_bytes()).trying("write a file in memory")?;
    Ok(file)
}
