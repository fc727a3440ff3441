use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A process, held by a file that stands for no other (pidfd_open(2)): its number may become another's, this does not.
///
/// Whoever goes by a number looks at what has the number after it is held: that is what is held, or the number is nobody's.
#[derive(Debug)]
pub(super) struct Held(OwnedFd);

impl Held {
    /// The process that has this number now, if there is one.
    pub(super) fn of(number: i32) -> Option<Self> {
        pidfd_open(Pid::from_raw(number)?, PidfdFlags::empty()).ok().map(Self)
    }

    /// The process that has this number, if it is what is meant.
    pub(super) fn if_meant(number: i32, is_meant: impl FnOnce() -> bool) -> Option<Self> {
        Self::of(number).filter(|_| is_meant())
    }

    /// Signals it; false if it has ended, or is another user's.
    pub(super) fn signal(&self, signal: Signal) -> bool {
        pidfd_send_signal(&self.0, signal).is_ok()
    }

    /// Whether it ends in this time.
    pub(super) fn ends_within(&self, time: Duration) -> io::Result<bool> {
        let time = Timespec { tv_sec: time.as_secs().cast_signed(), tv_nsec: time.subsec_nanos().into() };
        Ok(poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&time))? > 0)
    }

    /// Waits until all of these have ended, but no longer than `time`.
    pub(super) fn wait_for_all<'a>(held: impl Iterator<Item = &'a Self>, time: Duration) -> io::Result<()> {
        let end = Instant::now() + time;
        for process in held {
            match process.ends_within(end.saturating_duration_since(Instant::now())) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl AsFd for Held {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
