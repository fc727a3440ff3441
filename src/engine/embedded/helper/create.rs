use std::fs::{self, File};
use std::path::{Path, PathBuf};

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
use crate::engine::embedded::cgroup::{self, Group, is_unified};
use crate::engine::embedded::record::{Folder, Process};
use crate::engine::embedded::request::{Create, Report};
use crate::engine::embedded::rootless::is_inside;
use crate::engine::embedded::runtime_config::SYS;

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
    group.make(request.init).trying("make a control group")?;
    // They guard devices or not; from here on that is not seen any more.
    let filters = seccomp::filters(&request.capabilities).map_err(Stop::refused)?;
    let own_groups = !is_inside() && !is_unified();
    if own_groups {
        group.limit(&request.limits).trying("limit the container")?;
        // What makes a container counts for its limits, if only for the moment that it takes.
        let doors = group.doors().trying("open the control groups")?;
        cgroup::enter(doors).trying("enter the control groups")?;
    } else {
        // The container library enters the others.
        group.enter_as_helper().trying("enter a control group")?;
    }

    // What is mounted from here on is seen by nobody else and goes with the last process that sees it.
    let mut spaces = CloneFlags::CLONE_NEWNS;
    spaces.set(CloneFlags::CLONE_NEWNET, request.own_network);
    unshare(spaces).trying("make namespaces; this needs root")?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .trying("keep mounts to this process")?;
    if own_groups {
        cgroup::hide().trying("hide the control groups")?;
    }
    if request.own_network {
        let client = LinkClient::new(create_network_client());
        client.and_then(|mut client| client.set_up(LOOPBACK)).map_err(Stop::refused)?;
        for (setting, value) in NETWORK {
            // A kernel without it does not have what it would forbid. A group that no map has is none.
            _ = fs::write(Path::new("/proc/sys/net/ipv4").join(setting), value);
        }
    }
    if is_inside() && !request.own_network {
        mount_sysfs(request.folder.join(SYS))?;
    }
    for path in [&request.overlay.upper, &request.overlay.work, &request.overlay.merged] {
        fs::create_dir_all(path).trying(format!("make the folder {}", path.display()))?;
    }
    mount_for_writing(&request.overlay)?;

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

/// Mounts a sysfs that shows no interface of the host. It shows the network of the thread that mounts it, and an ordinary user has
/// to have made that.
fn mount_sysfs(place: PathBuf) -> Result<(), Stop> {
    fs::create_dir_all(&place).trying(format!("make the folder {}", place.display()))?;
    let mounting = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET)?;
        let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(Some("sysfs"), &place, Some("sysfs"), flags, None::<&str>)
    });
    // When it is gone this process has one thread again.
    let mounted = mounting.join().map_err(|_| Stop::refused("a thread that mounts sysfs ended early"))?;
    mounted.trying("mount a sysfs of an empty network")
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
