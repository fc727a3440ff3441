//! A terminal of a container's own (pty(7)), for a command that somebody works with.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, Uid, fchown, fstat, fstatfs, major, minor, open};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use rustix::process::ioctl_tiocsctty;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::engine::WindowSize;

/// The multiplexer of the container's own devpts: a link to it stands at `/dev/ptmx`, which an image's root may change.
const MULTIPLEXER: &str = "/dev/pts/ptmx";

/// The device of a multiplexer (Documentation/admin-guide/devices.txt).
const DEVICE: (u32, u32) = (5, 2);

/// The magic number of devpts (statfs(2)).
const DEVPTS: u64 = 0x1cd1;

pub(super) fn winsize(size: WindowSize) -> Winsize {
    Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// Makes a terminal in the container whose file system this process sees, and makes it that of this process, which leads a
/// session. It belongs to the user. Its other side goes into the socket, to the process that stays outside.
pub(super) fn take(size: WindowSize, uid: u32, other_side: OwnedFd) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let master = open(MULTIPLEXER, flags, Mode::empty())?;
    let about = fstat(&master)?;
    let is_device = FileType::from_raw_mode(about.st_mode) == FileType::CharacterDevice
        && (major(about.st_rdev), minor(about.st_rdev)) == DEVICE;
    // What is compared is a number of 32 bits on every architecture.
    if !is_device || fstatfs(&master)?.f_type as u64 & 0xffff_ffff != DEVPTS {
        return Err(io::Error::other("it is no multiplexer of terminals"));
    }
    unlockpt(&master)?;
    let terminal =
        ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    fchown(&terminal, Some(Uid::from_raw(uid)), None)?;
    tcsetwinsize(&terminal, winsize(size))?;
    ioctl_tiocsctty(&terminal)?;
    send(&other_side, &master)?;
    Ok(terminal)
}

fn send(socket: &OwnedFd, file: &OwnedFd) -> io::Result<()> {
    let files = [file.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut message = SendAncillaryBuffer::new(&mut space);
    if !message.push(SendAncillaryMessage::ScmRights(&files)) {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    sendmsg(socket, &[IoSlice::new(b"t")], &mut message, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// The other side of a command's terminal; `None` if it has none.
pub(super) fn receive(socket: &OwnedFd) -> Option<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut message = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut message, RecvFlags::CMSG_CLOEXEC).ok()?;
    let mut files = message.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    });
    files.next()
}
