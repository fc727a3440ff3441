//! The upper folder of an overlay becomes the tar of a layer: the same folder always the same tar.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Dir, FileType, Mode, OFlags, Stat};
use tar::EntryType;

use super::error::{Result, StoreError};
use super::overlay::{self, Mark};
use super::unpack::is_kept;
use super::walker::{DEEPEST, kind, look, open_folder};
use crate::support::fs::PathContext;
use crate::support::terminal_text::neutralise;

/// The largest numbers that the fields of a header hold: seven and eleven octal digits.
const MOST_OWNER: u64 = 0o7_777_777;
const MOST_SIZE: u64 = 0o77_777_777_777;

/// Bytes of a tar block.
const BLOCK: u64 = 512;

/// Writes the tar of what is in `upper`, in the order of names, with times in whole seconds, as Docker does. Nothing in `upper` may
/// change meanwhile.
///
/// Sockets are left out: they mean nothing without the process that made them. Devices outside of `/dev`, block devices and
/// names that mean something in a layer are refused, since what has them could not be unpacked, or not as what it is.
pub(super) fn write(upper: &Path, out: &mut impl Write) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(upper, flags, Mode::empty()).map_err(io::Error::from).at("open", upper)?;
    let mut writer = Writer { out, links: HashMap::new(), path: Vec::new() };
    writer.folder(root.as_fd(), 0)?;
    writer.put(&[0; 2 * BLOCK as usize])
}

struct Writer<'a, W> {
    out: &'a mut W,
    /// Files that have several names: device and inode, and the first name.
    links: HashMap<(u64, u64), Vec<u8>>,
    /// The name of the entry that is written.
    path: Vec<u8>,
}

/// What a header says.
struct Entry<'a> {
    kind: EntryType,
    link: &'a [u8],
    size: u64,
    extended: &'a [(Vec<u8>, Vec<u8>)],
}

impl<W: Write> Writer<'_, W> {
    fn folder(&mut self, folder: BorrowedFd<'_>, depth: usize) -> Result<()> {
        if depth > DEEPEST {
            return Err(self.refused(&format!("lies deeper than {DEEPEST} folders")));
        }
        let mut names = Vec::new();
        for entry in Dir::read_from(folder).map_err(|error| self.failed(error.into()))? {
            let entry = entry.map_err(|error| self.failed(error.into()))?;
            names.push(entry.file_name().to_bytes().to_vec());
        }
        names.sort();
        for name in names.iter().filter(|name| !matches!(name.as_slice(), b"." | b"..")) {
            let length = self.path.len();
            if length > 0 {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(name);
            self.entry(folder, name, depth)?;
            self.path.truncate(length);
        }
        Ok(())
    }

    fn entry(&mut self, folder: BorrowedFd<'_>, name: &[u8], depth: usize) -> Result<()> {
        let found = look(folder, name).map_err(|error| self.failed(error))?;
        let stat = found.ok_or_else(|| self.refused("vanished while it was read"))?;
        if overlay::is_whiteout(&stat) {
            return self.whiteout(name);
        }
        if name.starts_with(overlay::WHITEOUT) {
            return Err(self.refused("has a name that means something else in a layer"));
        }
        let plain = |kind| Entry { kind, link: b"", size: 0, extended: &[] };
        match kind(&stat) {
            FileType::Directory => self.inner_folder(folder, name, &stat, depth),
            FileType::RegularFile => self.file(folder, name),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(folder, OsStr::from_bytes(name), Vec::new());
                let target = target.map_err(|error| self.failed(error.into()))?;
                self.header(&stat, &Entry { link: target.as_bytes(), ..plain(EntryType::Symlink) })
            }
            FileType::Fifo => self.header(&stat, &plain(EntryType::Fifo)),
            FileType::CharacterDevice if self.path.starts_with(b"dev/") => {
                self.header(&stat, &plain(EntryType::Char))
            }
            FileType::Socket => Ok(()),
            _ => Err(self.refused("is a device, which a layer may not hold there")),
        }
    }

    /// An empty file beside where the hidden one would be.
    fn whiteout(&mut self, name: &[u8]) -> Result<()> {
        let folder = self.path.len() - name.len();
        let whole = self.path.clone();
        self.path.splice(folder..folder, overlay::WHITEOUT.iter().copied());
        let written = self.marker();
        self.path = whole;
        written
    }

    fn inner_folder(&mut self, folder: BorrowedFd<'_>, name: &[u8], stat: &Stat, depth: usize) -> Result<()> {
        let inner = open_folder(folder, name).map_err(|error| self.failed(error.into()))?;
        let (extended, marks) = self.attributes(inner.as_fd())?;
        self.header(stat, &Entry { kind: EntryType::Directory, link: b"", size: 0, extended: &extended })?;
        if marks.contains(&Mark::Opaque) {
            let length = self.path.len();
            self.path.push(b'/');
            self.path.extend_from_slice(overlay::OPAQUE);
            self.marker()?;
            self.path.truncate(length);
        }
        self.folder(inner.as_fd(), depth + 1)
    }

    fn file(&mut self, folder: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(folder, OsStr::from_bytes(name), flags, Mode::empty());
        let file = file.map_err(|error| self.failed(error.into()))?;
        let stat = rustix::fs::fstat(&file).map_err(|error| self.failed(error.into()))?;
        if kind(&stat) != FileType::RegularFile {
            return Err(self.refused("changed while it was read"));
        }
        if stat.st_nlink > 1 {
            let inode = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.links.get(&inode).cloned() {
                return self
                    .header(&stat, &Entry { kind: EntryType::Link, link: &first, size: 0, extended: &[] });
            }
            self.links.insert(inode, self.path.clone());
        }
        let (extended, _) = self.attributes(file.as_fd())?;
        let size = stat.st_size.cast_unsigned();
        self.header(&stat, &Entry { kind: EntryType::Regular, link: b"", size, extended: &extended })?;
        let mut file = File::from(file);
        let mut left = size;
        let mut buffer = vec![0; 256 << 10];
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let read = file.read(&mut buffer[..most]).map_err(|error| self.failed(error))?;
            if read == 0 {
                return Err(self.refused("became shorter while it was read"));
            }
            self.put(&buffer[..read])?;
            left -= read as u64;
        }
        self.pad(size)
    }

    /// The attributes that a layer keeps, and what overlayfs has to say.
    #[expect(clippy::type_complexity, reason = "names and values, and marks")]
    fn attributes(&self, file: BorrowedFd<'_>) -> Result<(Vec<(Vec<u8>, Vec<u8>)>, Vec<Mark>)> {
        let (mut kept, mut marks) = (Vec::new(), Vec::new());
        for (name, value) in overlay::attributes(file).map_err(|error| self.failed(error))? {
            match overlay::mark(&name, &value) {
                Some(Mark::Refers) => {
                    return Err(self.refused(
                        "is in a lower layer but for its name or attributes: the overlay was mounted with redirect_dir or metacopy",
                    ));
                }
                Some(mark) => marks.push(mark),
                None if is_kept(&name) => kept.push((name, value)),
                None => {}
            }
        }
        Ok((kept, marks))
    }

    /// An empty file of nobody, at no time.
    fn marker(&mut self) -> Result<()> {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0);
        let mut records = Vec::new();
        let path = self.path.clone();
        name_into(&mut header.as_old_mut().name, "path", &path, &mut records);
        self.finish(header, EntryType::Regular, 0, &records)
    }

    fn header(&mut self, stat: &Stat, entry: &Entry<'_>) -> Result<()> {
        let mut header = tar::Header::new_ustar();
        let mut records = Vec::new();
        let mut path = self.path.clone();
        if entry.kind == EntryType::Directory {
            path.push(b'/');
        }
        name_into(&mut header.as_old_mut().name, "path", &path, &mut records);
        name_into(&mut header.as_old_mut().linkname, "linkpath", entry.link, &mut records);
        header.set_mode(stat.st_mode & 0o7777);
        let (user, group) = (u64::from(stat.st_uid), u64::from(stat.st_gid));
        header.set_uid(number("uid", user, MOST_OWNER, &mut records));
        header.set_gid(number("gid", group, MOST_OWNER, &mut records));
        header.set_mtime(match u64::try_from(stat.st_mtime) {
            Ok(time) => number("mtime", time, MOST_SIZE, &mut records),
            Err(_) => {
                records.extend(record(b"mtime", stat.st_mtime.to_string().as_bytes()));
                0
            }
        });
        if entry.kind == EntryType::Char {
            let device = stat.st_rdev;
            let set = header
                .set_device_major(rustix::fs::major(device))
                .and_then(|()| header.set_device_minor(rustix::fs::minor(device)));
            set.map_err(|error| self.failed(error))?;
        }
        for (name, value) in entry.extended {
            records.extend(record(&[b"SCHILY.xattr.", name.as_slice()].concat(), value));
        }
        self.finish(header, entry.kind, entry.size, &records)
    }

    fn finish(&mut self, mut header: tar::Header, kind: EntryType, size: u64, records: &[u8]) -> Result<()> {
        let mut records = records.to_vec();
        header.set_size(number("size", size, MOST_SIZE, &mut records));
        if !records.is_empty() {
            let mut extension = tar::Header::new_ustar();
            let last = self.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
            let name = [&b"PaxHeaders.0/"[..], &last[..last.len().min(80)]].concat();
            extension.as_old_mut().name[..name.len()].copy_from_slice(&name);
            extension.set_entry_type(EntryType::XHeader);
            extension.set_mode(0o644);
            extension.set_uid(0);
            extension.set_gid(0);
            extension.set_mtime(0);
            extension.set_size(records.len() as u64);
            extension.set_cksum();
            self.put(extension.as_bytes())?;
            self.put(&records)?;
            self.pad(records.len() as u64)?;
        }
        header.set_entry_type(kind);
        header.set_cksum();
        self.put(header.as_bytes())
    }

    fn pad(&mut self, size: u64) -> Result<()> {
        self.put(&[0; BLOCK as usize][..(size.next_multiple_of(BLOCK) - size) as usize])
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(StoreError::Input)
    }

    fn refused(&self, why: &str) -> StoreError {
        StoreError::Refused(format!("`{}` {why}", neutralise(&self.path)))
    }

    fn failed(&self, source: io::Error) -> StoreError {
        StoreError::Upper { name: neutralise(&self.path).to_string(), source }
    }
}

/// Writes a name into its field. One that is too long stands in a pax record.
fn name_into(field: &mut [u8], key: &str, name: &[u8], records: &mut Vec<u8>) {
    if name.len() > field.len() {
        records.extend(record(key.as_bytes(), name));
    }
    let fitting = name.len().min(field.len());
    field[..fitting].copy_from_slice(&name[..fitting]);
}

/// A number for a field that holds no more than `most`. A larger one stands in a pax record.
fn number(key: &str, number: u64, most: u64, records: &mut Vec<u8>) -> u64 {
    if number > most {
        records.extend(record(key.as_bytes(), number.to_string().as_bytes()));
        return 0;
    }
    number
}

/// A pax record: `LENGTH KEY=VALUE\n`, where the length counts its own digits.
fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}
