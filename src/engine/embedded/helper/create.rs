use std::fs::{self, File};
use std::path::Path;

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::network::link::LinkClient;
use libcontainer::network::wrapper::create_network_client;
use libcontainer::syscall::syscall::SyscallType;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::FlockOperation;

use super::overlay::mount_for_writing;
use super::program::FirstProcess;
use super::{Stop, Trying, nothing, seccomp};
use crate::engine::embedded::cgroup::Group;
use crate::engine::embedded::record::{Folder, Process};
use crate::engine::embedded::request::{Create, Report};

/// The number of the loopback interface in every new network namespace.
const LOOPBACK: u32 = 1;

/// What Docker gives to every container with a network of its own: any user may listen on any port of it, and ping.
const NETWORK: [(&str, &str); 2] =
    [("ip_unprivileged_port_start", "0"), ("ping_group_range", "0 2147483647")];

/// Makes a container and starts its first process. While it is at work the container's folder is locked: who
/// removes the container waits for its end.
pub(super) fn create(request: &Create) -> Result<Report, Stop> {
    let folder = Folder { id: request.id.clone(), path: request.folder.clone() };
    let lock = File::open(&folder.path).trying("open the container's folder")?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).trying("lock the container's folder")?;
    if folder.is_removed() {
        return Err(Stop::refused("the container was removed while it was made"));
    }
    let group = Group::of(&request.id).trying("find the control groups of this machine")?;
    group.make().trying("make a control group")?;
    group.enter_as_helper().trying("enter a control group")?;

    // What is mounted from here on is seen by nobody else and goes with the last process that sees it.
    let mut spaces = CloneFlags::CLONE_NEWNS;
    spaces.set(CloneFlags::CLONE_NEWNET, request.own_network);
    unshare(spaces).trying("make namespaces; this needs root")?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .trying("keep mounts to this process")?;
    if request.own_network {
        let client = LinkClient::new(create_network_client());
        client.and_then(|mut client| client.set_up(LOOPBACK)).map_err(Stop::refused)?;
        for (setting, value) in NETWORK {
            // A kernel without it does not have what it would forbid.
            _ = fs::write(Path::new("/proc/sys/net/ipv4").join(setting), value);
        }
    }
    for path in [&request.overlay.upper, &request.overlay.work, &request.overlay.merged] {
        fs::create_dir_all(path).trying(format!("make the folder {}", path.display()))?;
    }
    mount_for_writing(&request.overlay)?;

    let filters = seccomp::filters(&request.capabilities).map_err(Stop::refused)?;
    let mut container = ContainerBuilder::new(request.id.clone(), SyscallType::Linux)
        .with_root_path(request.folder.join("state"))
        .map_err(Stop::refused)?
        .with_executor(FirstProcess { init: request.init, filters })
        .with_stdin(nothing()?)
        .with_stdout(nothing()?)
        .with_stderr(nothing()?)
        .as_init(&request.folder)
        .with_systemd(false)
        .with_detach(true)
        .build()
        .map_err(|error| Stop::refused(chain(&error)))?;
    let first = container.pid().and_then(|pid| Process::with_pid(pid.as_raw()));
    let first = first.ok_or_else(|| Stop::refused("its first process ended at once"))?;
    folder.set_first_process(first).trying("write down the first process")?;
    container.start().map_err(|error| Stop::refused(chain(&error)))?;
    Ok(Report::Done)
}

/// An error and its causes. The library's are often nothing but their cause.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut words = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if words.last() != Some(&text) {
            words.push(text);
        }
        cause = error.source();
    }
    words.join(": ")
}
