//! What runs in a container when the container library has done its work.

use std::collections::HashMap;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use libcontainer::oci_spec::runtime::Spec;
use libcontainer::workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::seccomp::{self, Filters};

/// What an init system is run as; its image says what that is.
const INIT: &str = "/sbin/init";

/// The variables of an init system. By the first systemd knows where it is (systemd.io/CONTAINER_INTERFACE).
const INIT_ENV: [(&str, &str); 2] =
    [("container", "docker"), ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")];

/// The first process of a container: its image's init system, or this program, which reaps what is left to it. It runs
/// no program of the image, so a hostile one has nothing to replace.
#[derive(Clone)]
pub(super) struct FirstProcess {
    pub(super) init: bool,
    pub(super) filters: Filters,
}

impl Executor for FirstProcess {
    fn validate(&self, _: &Spec) -> Result<(), ExecutorValidationError> {
        match self.init && !Path::new(INIT).exists() {
            true => Err(ExecutorValidationError::ArgValidationError(format!("the image has no {INIT}"))),
            false => Ok(()),
        }
    }

    fn setup_envs(&self, _: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        Ok(())
    }

    fn exec(&self, _: &Spec) -> Result<(), ExecutorError> {
        if !self.init {
            close_files().map_err(|error| ExecutorError::Other(error.to_string()))?;
        }
        seccomp::apply(&self.filters).map_err(ExecutorError::Other)?;
        if self.init {
            let error = Command::new(INIT).env_clear().envs(INIT_ENV).exec();
            return Err(ExecutorError::Other(format!("cannot start {INIT}: {error}")));
        }
        reap()
    }
}

/// Closes every file but the first three, which are nothing: this process goes on without the program that would close
/// them at its start.
fn close_files() -> io::Result<()> {
    let mut open = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        open.extend(entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()));
    }
    for file in open.into_iter().filter(|file| *file > 2) {
        // The one that listed them is closed already.
        _ = nix::unistd::close(file);
    }
    Ok(())
}

/// Waits for orphans until it is told to end. A first process gets no signal that it does not wait for
/// (pid_namespaces(7)), so those from outside, SIGKILL, end it too.
fn reap() -> ! {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT] {
        signals.add(signal);
    }
    _ = signals.thread_block();
    loop {
        while let Ok(status) = waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
            if status == WaitStatus::StillAlive {
                break;
            }
        }
        if matches!(signals.wait(), Ok(Signal::SIGTERM | Signal::SIGINT)) {
            std::process::exit(0);
        }
    }
}
