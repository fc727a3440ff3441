use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

/// The deepest folder of a layer. What goes deeper meets the limit of open files, and is no distro's.
pub(super) const DEEPEST: usize = 256;

/// Ways through a tree that follow no symbolic link: each folder is opened from the one above it (openat(2) with
/// O_NOFOLLOW), and the folders of the last way stay open, since a tar goes through a tree in order.
///
/// No folder may be moved or removed while a walker lives.
pub(super) struct Walker {
    root: OwnedFd,
    way: Vec<(Vec<u8>, OwnedFd)>,
}

/// What is in the place of a folder that is to be made.
pub(super) enum Made {
    /// Nothing was.
    New,
    /// A whiteout was, and is gone: whatever a lower layer has there is not to be seen.
    InsteadOfWhiteout,
}

impl Walker {
    /// Ways that begin at the folder `root`, which may be a link itself.
    pub(super) fn new(root: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { root: rustix::fs::open(root, flags, Mode::empty())?, way: Vec::new() })
    }

    /// The folder with these parts.
    pub(super) fn folder(&mut self, parts: &[&[u8]]) -> io::Result<BorrowedFd<'_>> {
        self.go(parts, |_, _| Err(Errno::NOENT.into()))
    }

    /// As [`Walker::folder`]; what is missing is made, with the mode that is usual for folders that nobody describes (0755),
    /// and told to `made` with its depth.
    pub(super) fn folder_or_make(
        &mut self,
        parts: &[&[u8]],
        mut made: impl FnMut(usize, BorrowedFd<'_>, Made) -> io::Result<()>,
    ) -> io::Result<BorrowedFd<'_>> {
        self.go(parts, |depth, parent| {
            let name = parts[depth - 1];
            let made_of = make_folder(parent, name)?;
            let folder = open_folder(parent, name)?;
            rustix::fs::fchmod(&folder, Mode::from_raw_mode(0o755))?;
            made(depth, folder.as_fd(), made_of)?;
            Ok(folder)
        })
    }

    fn go(
        &mut self,
        parts: &[&[u8]],
        mut missing: impl FnMut(usize, BorrowedFd<'_>) -> io::Result<OwnedFd>,
    ) -> io::Result<BorrowedFd<'_>> {
        if parts.len() > DEEPEST {
            return Err(io::Error::other(format!("it lies deeper than {DEEPEST} folders")));
        }
        let same = self.way.iter().zip(parts).take_while(|((name, _), part)| name == *part).count();
        self.way.truncate(same);
        for (at, part) in parts.iter().enumerate().skip(same) {
            let parent = self.way.last().map_or(self.root.as_fd(), |(_, folder)| folder.as_fd());
            let folder = match open_folder(parent, part) {
                Err(Errno::NOENT) => missing(at + 1, parent)?,
                // What is no folder, and a link is none, is one only if a whiteout is to make way for it.
                Err(Errno::NOTDIR | Errno::LOOP) if is_whiteout(parent, part)? => missing(at + 1, parent)?,
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    return Err(io::Error::other("what is above it is no folder"));
                }
                opened => opened?,
            };
            self.way.push((part.to_vec(), folder));
        }
        Ok(self.way.last().map_or(self.root.as_fd(), |(_, folder)| folder.as_fd()))
    }
}

/// The last part of a name, and the folders above it.
pub(super) fn split<'a, 'b>(parts: &'a [&'b [u8]]) -> (&'b [u8], &'a [&'b [u8]]) {
    parts.split_last().map_or((b"", &[]), |(last, folders)| (*last, folders))
}

/// Makes a folder; a whiteout makes way for it.
pub(super) fn make_folder(parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<Made> {
    let name = OsStr::from_bytes(name);
    let make = || rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o700));
    match make() {
        Err(Errno::EXIST) if is_whiteout(parent, name.as_bytes())? => {
            rustix::fs::unlinkat(parent, name, AtFlags::empty())?;
            make()?;
            Ok(Made::InsteadOfWhiteout)
        }
        made => Ok(made.map(|()| Made::New)?),
    }
}

pub(super) fn open_folder(parent: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, OsStr::from_bytes(name), flags, Mode::empty())
}

/// What is there, if anything is; a symbolic link is not followed.
pub(super) fn look(parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<Option<Stat>> {
    match rustix::fs::statat(parent, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(None),
        found => Ok(Some(found?)),
    }
}

pub(super) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn is_whiteout(parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<bool> {
    Ok(look(parent, name)?.is_some_and(|stat| super::overlay::is_whiteout(&stat)))
}
