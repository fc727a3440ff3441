//! What goes on while a command with an input runs. One thread does it all: a process that has joined another process namespace
//! for its children can start no thread (clone(2), EINVAL).

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::os::fd::AsFd;

use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::termios::tcsetwinsize;

use super::terminal::winsize;
use crate::engine::embedded::frame::{Frame, Frames};
use crate::engine::embedded::held::Held;

/// What a terminal may still hold when its command has ended; what comes after that was printed by somebody else.
const HELD: usize = 64 << 10;

/// How long a terminal is silent that holds nothing more: what was written to it is passed on by the kernel a little later.
const QUIET: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// Feeds a command with its input, and prints what its terminal shows.
pub(super) struct Feeding {
    /// Where frames come from, until they end.
    from: Option<File>,
    frames: Frames,
    /// The command's pipe, or the other side of its terminal, until nobody is there any more.
    to: Option<File>,
    is_terminal: bool,
    /// Input that is not taken yet.
    waiting: Vec<u8>,
    chunk: Vec<u8>,
}

impl Feeding {
    pub(super) fn new(commands: BufReader<File>, to: File, is_terminal: bool) -> Self {
        let mut frames = Frames::default();
        frames.take(commands.buffer());
        let from = Some(commands.into_inner());
        let chunk = vec![0; 32 << 10];
        Self { from, frames, to: Some(to), is_terminal, waiting: Vec::new(), chunk }
    }

    /// Goes on until the command has ended, which is a child of this process and was not waited for yet.
    pub(super) fn until_end_of(mut self, command: Pid) -> io::Result<()> {
        let Some(command) = Held::of(command.as_raw()) else { return Ok(()) };
        if let Some(to) = &self.to {
            fcntl_setfl(to, fcntl_getfl(to)? | OFlags::NONBLOCK)?;
        }
        self.decode()?;
        loop {
            let ready = self.wait(&command)?;
            if ready.shows {
                self.print()?;
            }
            if ready.ended {
                return self.print_rest();
            }
            if ready.takes {
                self.write()?;
            }
            if ready.told {
                self.read()?;
            }
        }
    }

    /// Waits until something can be done.
    fn wait(&self, command: &Held) -> io::Result<Ready> {
        // While the command takes nothing, nothing more is read for it.
        let from = self.from.as_ref().filter(|_| self.waiting.is_empty());
        let mut wanted = PollFlags::empty();
        wanted.set(PollFlags::IN, self.is_terminal);
        wanted.set(PollFlags::OUT, !self.waiting.is_empty());
        let to = self.to.as_ref().filter(|_| !wanted.is_empty());
        let command = command.as_fd();
        let mut files = vec![PollFd::new(&command, PollFlags::IN)];
        files.extend(from.map(|from| PollFd::new(from, PollFlags::IN)));
        files.extend(to.map(|to| PollFd::new(to, wanted)));
        while let Err(error) = poll(&mut files, None) {
            if error != Errno::INTR {
                return Err(error.into());
            }
        }
        let mut seen = files.iter().map(PollFd::revents);
        let mut next = |is_there: bool| match is_there {
            true => seen.next().unwrap_or(PollFlags::empty()),
            false => PollFlags::empty(),
        };
        let (ended, told, of_command) = (next(true), next(from.is_some()), next(to.is_some()));
        let gone = PollFlags::HUP | PollFlags::ERR;
        Ok(Ready {
            ended: !ended.is_empty(),
            told: !told.is_empty(),
            shows: self.is_terminal && of_command.intersects(PollFlags::IN | gone),
            takes: of_command.intersects(PollFlags::OUT | gone) && !self.waiting.is_empty(),
        })
    }

    /// Reads frames.
    fn read(&mut self) -> io::Result<()> {
        let Some(from) = &self.from else { return Ok(()) };
        match rustix::io::read(from, &mut self.chunk) {
            Err(Errno::INTR | Errno::AGAIN) => return Ok(()),
            Err(error) => return Err(error.into()),
            Ok(0) => self.from = None,
            Ok(length) => self.frames.take(&self.chunk[..length]),
        }
        self.decode()
    }

    /// Does what frames say.
    fn decode(&mut self) -> io::Result<()> {
        while let Some(frame) = self.frames.next()? {
            match (frame, &self.to) {
                (Frame::Input(bytes), _) => self.waiting.extend(bytes),
                (Frame::Size(size), Some(to)) if self.is_terminal => tcsetwinsize(to, winsize(size))?,
                (Frame::Size(_), _) => {}
            }
        }
        self.end_pipe();
        Ok(())
    }

    /// Passes on what waits, as far as it is taken.
    fn write(&mut self) -> io::Result<()> {
        let Some(to) = &self.to else {
            self.waiting.clear();
            return Ok(());
        };
        match rustix::io::write(to, &self.waiting) {
            Err(Errno::INTR | Errno::AGAIN) => {}
            // Nobody reads it any more; the command may run on.
            Err(Errno::PIPE | Errno::IO) => self.hang_up(),
            Err(error) => return Err(error.into()),
            Ok(length) => drop(self.waiting.drain(..length)),
        }
        self.end_pipe();
        Ok(())
    }

    /// Where nothing more comes and nothing waits, a pipe ends. A terminal does not.
    fn end_pipe(&mut self) {
        if self.from.is_none() && self.waiting.is_empty() && !self.is_terminal {
            self.to = None;
        }
    }

    fn hang_up(&mut self) {
        self.to = None;
        self.from = None;
        self.waiting.clear();
    }

    /// Prints what a terminal shows, and tells how many bytes it was.
    fn print(&mut self) -> io::Result<usize> {
        let Some(to) = &self.to else { return Ok(0) };
        match rustix::io::read(to, &mut self.chunk) {
            Err(Errno::INTR | Errno::AGAIN) => Ok(0),
            // Nobody has it open any more: EIO.
            Ok(0) | Err(_) => {
                self.hang_up();
                Ok(0)
            }
            Ok(length) => {
                let mut out = io::stdout().lock();
                out.write_all(&self.chunk[..length])?;
                out.flush()?;
                Ok(length)
            }
        }
    }

    /// Prints what a terminal still holds.
    fn print_rest(&mut self) -> io::Result<()> {
        let mut left = HELD;
        while let Some(to) = self.to.as_ref().filter(|_| self.is_terminal && left > 0) {
            match poll(&mut [PollFd::new(to, PollFlags::IN)], Some(&QUIET)) {
                Err(Errno::INTR) => continue,
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
            left = left.saturating_sub(self.print()?);
        }
        Ok(())
    }
}

/// What can be done.
struct Ready {
    ended: bool,
    told: bool,
    shows: bool,
    takes: bool,
}
