//! The processes of a container where no control group holds them.
//!
//! What makes a container, what is in it first, and what waits for its commands are helpers: they run this program and no other, and
//! the container's id is an argument of theirs, which everybody reads in `/proc/PID/cmdline`. The commands are in the pid
//! namespace of the first process: they end with it, and are found by it.
//!
//! A program in a container may say the same of itself. It is then killed with the container that it names, which is no
//! loss to anybody else. Who says so and may not be killed is another user's process, and no helper.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::engine::embedded::held::Held;
use crate::engine::embedded::launch::HELPER_COMMAND;
use crate::engine::embedded::record::Process;

/// How long a helper may take to notice the end of its command.
const NOTICES: Duration = Duration::from_millis(500);

/// How long processes that were killed may take to end. One that waits for a dead disk takes longer.
const ENDS: Duration = Duration::from_secs(30);

/// How often processes are looked for that were made while others were stopped.
const ROUNDS: usize = 100;

/// Ends the first process of the container `id`, and with it all that are in the container; then its helpers, which end by
/// themselves when their command has. Returns when none is left.
pub(in crate::engine::embedded) fn kill(id: &str, first: Option<Process>) -> io::Result<()> {
    if let Some(first) = first {
        signal(first.pid, Signal::KILL, || first.runs());
    }
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        let helpers = helpers(id)?;
        if helpers.is_empty() && first.is_none_or(|first| !first.runs()) {
            return Ok(());
        }
        if first.is_none() || start.elapsed() > NOTICES {
            let killed =
                helpers.iter().filter(|pid| signal(**pid, Signal::KILL, || is_helper(**pid, id))).count();
            if killed == 0 && first.is_none_or(|first| !first.runs()) {
                return Ok(());
            }
        }
        if start.elapsed() > ENDS {
            let message = format!("{} killed processes do not end", helpers.len());
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Stops all processes in the pid namespace of `first` where they are, but for itself, or lets them go on. What is stopped cannot
/// make others, so that in the end there is none that runs.
pub(in crate::engine::embedded) fn freeze(first: Process, frozen: bool) -> io::Result<()> {
    let space = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let Some(own) = space(first.pid).filter(|_| first.runs()) else { return Ok(()) };
    let word = if frozen { Signal::STOP } else { Signal::CONT };
    for _ in 0..ROUNDS {
        let mut found = all()?;
        found.retain(|pid| *pid != first.pid && space(*pid).as_ref() == Some(&own));
        if frozen {
            found.retain(|pid| runs(*pid));
        }
        for pid in &found {
            signal(*pid, word, || space(*pid).as_ref() == Some(&own));
        }
        if !frozen || found.is_empty() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    // As with a control group: what still runs waits in the kernel, and changes no file.
    Ok(())
}

/// Whether the process has neither stopped nor ended (proc_pid_stat(5)).
fn runs(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    state.is_some_and(|state| !matches!(state, 'T' | 't' | 'Z' | 'X'))
}

fn helpers(id: &str) -> io::Result<Vec<i32>> {
    Ok(all()?.into_iter().filter(|pid| is_helper(*pid, id)).collect())
}

/// A zombie says nothing of itself any more.
fn is_helper(pid: i32, id: &str) -> bool {
    let words = fs::read(PathBuf::from(format!("/proc/{pid}/cmdline"))).unwrap_or_default();
    let mut words = words.split(|byte| *byte == 0).skip(1);
    words.next() == Some(HELPER_COMMAND.as_bytes()) && words.next() == Some(id.as_bytes())
}

fn all() -> io::Result<Vec<i32>> {
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc")? {
        pids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()));
    }
    Ok(pids)
}

/// Signals a process, if what now has its number is still what is meant; false if it is not, has ended, or is another user's.
fn signal(pid: i32, signal: Signal, is_meant: impl FnOnce() -> bool) -> bool {
    Held::if_meant(pid, is_meant).is_some_and(|held| held.signal(signal))
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A shell that waits for a line, with these arguments, and has no child that would outlive it.
    fn shell(arguments: &[&str]) -> Child {
        let script = ["-c", "read -r line"];
        Command::new("sh").args(script).args(arguments).stdin(Stdio::piped()).spawn().expect("a shell")
    }

    #[test]
    fn a_helper_is_who_begins_its_arguments_so_and_nobody_else() {
        let mut child = shell(&[HELPER_COMMAND, "id"]);
        let pid = child.id().cast_signed();
        assert!(!is_helper(pid, "id"), "the words are not its first arguments");
        assert!(runs(pid));
        signal(pid, Signal::KILL, || false);
        assert!(child.try_wait().expect("a child").is_none(), "it was not meant");
        signal(pid, Signal::KILL, || true);
        child.wait().expect("it ends");
        assert!(!runs(pid));
    }

    #[test]
    fn what_is_stopped_does_not_run_and_goes_on_when_it_is_let() {
        let mut child = shell(&[]);
        let pid = child.id().cast_signed();
        let wait_until = |wanted: bool| {
            let start = Instant::now();
            while runs(pid) != wanted {
                assert!(start.elapsed() < ENDS, "it does not become so");
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        signal(pid, Signal::STOP, || true);
        wait_until(false);
        signal(pid, Signal::CONT, || true);
        wait_until(true);
        child.kill().expect("it is killed");
        child.wait().expect("it ends");
    }
}
