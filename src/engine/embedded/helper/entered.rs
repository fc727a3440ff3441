use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use nix::unistd::chdir;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::{Stop, Trying};
use crate::engine::embedded::record::Process;
use crate::engine::embedded::request::Report;

/// A container's first process, held so that its number cannot become another's unnoticed.
pub(super) fn hold(first: &Process) -> Result<OwnedFd, Stop> {
    let pid = Pid::from_raw(first.pid).ok_or(Stop(Report::Gone))?;
    let held = pidfd_open(pid, PidfdFlags::empty()).map_err(|_| Stop(Report::Gone))?;
    // Looked at after it is held: what runs now under this number is what is held.
    if first.runs() { Ok(held) } else { Err(Stop(Report::Gone)) }
}

/// Whether a process that is held has ended.
pub(super) fn has_ended(held: impl AsFd) -> bool {
    ends_within(held, Duration::ZERO)
}

/// Whether a process that is held ends in this time.
pub(super) fn ends_within(held: impl AsFd, time: Duration) -> bool {
    let mut files = [PollFd::new(&held, PollFlags::IN)];
    let time = Timespec { tv_sec: time.as_secs().cast_signed(), tv_nsec: time.subsec_nanos().into() };
    poll(&mut files, Some(&time)).is_ok_and(|ready| ready > 0)
}

/// Makes the file system of the container that of this process: from here on no path, whatever a link in it says, leads
/// to the host.
pub(super) fn enter_file_system(held: &OwnedFd) -> Result<(), Stop> {
    match setns(held, CloneFlags::CLONE_NEWNS) {
        Err(nix::errno::Errno::ESRCH) => return Err(Stop(Report::Gone)),
        other => other.trying("enter the container's mount namespace; this needs root")?,
    }
    chdir("/").trying("enter the container's root")
}
