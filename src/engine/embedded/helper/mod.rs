//! The process that enters containers: this program again, under a hidden command.
//!
//! Making and joining namespaces wants a process with one thread, and the container library forks; neither goes
//! together with an async runtime. A helper does one thing and ends. It reads nothing of the environment.
//!
//! One that makes a container enters its control groups, and has the container library do the rest. One that runs a command stays
//! outside and has a child enter. Both go into groups of cgroup v1 by themselves, thread by thread: the kernel makes a process
//! that is moved by its number, as the library does it, wait for milliseconds. `make bench-engines` measures it.

mod command;
mod create;
mod entered;
mod exec;
mod feeding;
mod files;
mod inherited;
mod input;
mod overlay;
mod program;
mod seccomp;
mod terminal;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

use nix::sys::stat::{Mode, umask};
use nix::unistd::setgroups;

pub(super) use files::FOUND;
pub(super) use overlay::try_overlay;

use super::launch::HELPER_COMMAND;
use super::request::{Report, Request};
use crate::support::fs::is_full;

/// Does what a helper process has to do, where the command line says that this is one; otherwise nothing, at once. To be
/// called before anything has started a thread.
pub fn main(mut arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    if arguments.nth(1)? != HELPER_COMMAND {
        return None;
    }
    let report = serve().unwrap_or_else(|error| error.0);
    let mut line = serde_json::to_vec(&report).unwrap_or_default();
    line.push(b'\n');
    // Who started it may be gone.
    _ = io::stderr().write_all(&line);
    Some(ExitCode::SUCCESS)
}

/// What ends a helper early.
struct Stop(Report);

impl Stop {
    fn refused(message: impl std::fmt::Display) -> Self {
        Self(Report::Refused(message.to_string()))
    }

    /// An error while doing `action`.
    fn io(action: impl std::fmt::Display, error: &io::Error) -> Self {
        let message = format!("{action}: {error}");
        Self(if is_full(error) { Report::NoSpace(message) } else { Report::Refused(message) })
    }
}

/// Says what was tried when a call of the kernel failed.
trait Trying<T> {
    fn trying(self, action: impl std::fmt::Display) -> Result<T, Stop>;
}

impl<T, E: Into<io::Error>> Trying<T> for Result<T, E> {
    fn trying(self, action: impl std::fmt::Display) -> Result<T, Stop> {
        self.map_err(|error| Stop::io(action, &error.into()))
    }
}

fn serve() -> Result<Report, Stop> {
    // Nothing of the user who started the program is for a container: groups, limits, the mask of modes.
    setgroups(&[]).trying("give up the groups of the user")?;
    umask(Mode::from_bits_truncate(0o022));
    inherited::reset()?;
    // Not that of the standard library, which tells nobody what it has read ahead.
    let input = io::stdin().as_fd().try_clone_to_owned().trying("take the input")?;
    let mut input = BufReader::new(File::from(input));
    let mut line = Vec::new();
    input.read_until(b'\n', &mut line).trying("read the request")?;
    let request: Request = serde_json::from_slice(&line).map_err(Stop::refused)?;
    match request {
        Request::Create(request) => create::create(&request),
        Request::Exec(request) => exec::exec(request, input),
        Request::Put(request) => files::put(&request, &mut input),
        Request::Get(request) => files::get(&request, &mut io::stdout().lock()),
    }
}

/// `/dev/null`, to be the input or output of a process.
fn nothing() -> Result<File, Stop> {
    let path = Path::new("/dev/null");
    std::fs::OpenOptions::new().read(true).write(true).open(path).trying("open /dev/null")
}
