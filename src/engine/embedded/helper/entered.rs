use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use nix::unistd::chdir;

use super::{Stop, Trying};
use crate::engine::embedded::held::Held;
use crate::engine::embedded::record::Process;
use crate::engine::embedded::request::Report;

/// A container's first process, held so that its number cannot become another's unnoticed.
pub(super) fn hold(first: &Process) -> Result<Held, Stop> {
    Held::if_meant(first.pid, || first.runs()).ok_or(Stop(Report::Gone))
}

/// Whether a process that is held has ended.
pub(super) fn has_ended(held: &Held) -> bool {
    ends_within(held, Duration::ZERO)
}

/// Whether a process that is held ends in this time.
pub(super) fn ends_within(held: &Held, time: Duration) -> bool {
    held.ends_within(time).unwrap_or(false)
}

/// Makes the file system of the container that of this process: from here on no path, whatever a link in it says, leads
/// to the host.
pub(super) fn enter_file_system(held: &Held) -> Result<(), Stop> {
    match setns(held, CloneFlags::CLONE_NEWNS) {
        Err(nix::errno::Errno::ESRCH) => return Err(Stop(Report::Gone)),
        other => other.trying("enter the container's mount namespace; this needs root")?,
    }
    chdir("/").trying("enter the container's root")
}
