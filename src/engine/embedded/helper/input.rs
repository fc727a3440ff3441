//! The standard input of a command, and who feeds it.

use std::fs::File;
use std::io::BufReader;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{Gid, MemfdFlags, Mode, SealFlags, Uid, fchown};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};

use super::feeding::Feeding;
use super::{Stop, Trying, terminal};
use crate::engine::WindowSize;
use crate::engine::embedded::request::{Exec, Input};

/// What a command gets as standard input, before it has it.
pub(super) enum Stdin {
    /// A file.
    File(File),
    /// A terminal, which is made in the container. Its other side is sent into this socket.
    Terminal {
        /// Its size.
        size: WindowSize,
        /// Where its other side goes.
        other_side: OwnedFd,
    },
}

/// What this process does meanwhile for the command's input.
pub(super) enum Feed {
    /// Nothing: it has none.
    Nothing,
    /// Its input goes here.
    Pipe(File),
    /// Here comes the other side of its terminal.
    Terminal(OwnedFd),
}

/// The standard input that is asked for, and its other end.
pub(super) fn of(request: &Exec) -> Result<(Stdin, Feed), Stop> {
    match request.input {
        Input::Empty => Ok((Stdin::File(empty()?), Feed::Nothing)),
        Input::Pipe => {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC).trying("make a pipe")?;
            // The user of the command may open `/dev/stdin` again.
            let (uid, gid) = (Uid::from_raw(request.uid), Gid::from_raw(request.gid));
            fchown(&read, Some(uid), Some(gid)).trying("give a pipe to the user of the command")?;
            Ok((Stdin::File(read.into()), Feed::Pipe(write.into())))
        }
        Input::Terminal(size) => {
            let (kind, flags) = (SocketType::STREAM, SocketFlags::CLOEXEC);
            let (there, here) =
                socketpair(AddressFamily::UNIX, kind, flags, None).trying("make a pair of sockets")?;
            Ok((Stdin::Terminal { size, other_side: there }, Feed::Terminal(here)))
        }
    }
}

impl Feed {
    /// What feeds a command that is about to start; `commands` are its frames. Nothing feeds one without input, or one that could not start
    /// and so has no terminal.
    pub(super) fn begin(self, commands: BufReader<File>) -> Option<Feeding> {
        match self {
            Self::Nothing => None,
            Self::Pipe(pipe) => Some(Feeding::new(commands, pipe, false)),
            Self::Terminal(socket) => {
                Some(Feeding::new(commands, File::from(terminal::receive(&socket)?), true))
            }
        }
    }
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
