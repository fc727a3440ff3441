//! The tar of a layer becomes a tree as overlayfs wants it, and a [recipe](super::recipe).
//!
//! The tree is written as root, or root of a user namespace, in a folder that nobody else may enter, and the tar is a stranger's. Names are judged by
//! [`layer_rules`], and no system call follows a symbolic link or a name of more than one part.
//! What else a tar may hold:
//!
//! - Set-id bits stay: images have them, and nobody but the engine's user reaches the tree.
//! - Of extended attributes, `security.capability` and `user.*` (but not overlayfs's own, which would make a folder lead elsewhere) are
//!   set. Others come back from the recipe alone.
//! - Character devices of `/dev` are in the recipe and not in the tree: a container has a `/dev` of its own, and a device 0:0 would be
//!   a whiteout. Devices elsewhere are refused.
//! - A hard link whose target is not in the same layer is refused, as Docker's overlay2 driver refuses it. Writers of layers copy
//!   up such a file first.
//! - Folders that no entry describes get root's ownership, mode 0755 and the time 0.
//! - A file that comes twice under one name counts as it came last; the content of the earlier ones goes beside the tree into
//!   `extra/DIGEST-OF-NAME.COUNT`, or the recipe could not give it back. A folder that becomes something else is refused.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use tar::EntryType;

use super::error::{Result, StoreError};
use super::layout::{EXTRA, RECIPE, TREE};
use super::overlay;
use super::recipe::RecipeWriter;
use super::walker::{Made, Walker, kind, look, open_folder, split};
use crate::engine::embedded::rootless::is_in_namespace;
use crate::model::Digest;
use crate::support::fs::PathContext;
use crate::support::layer_rules::{self, Judge, MOST_ENTRIES};
use crate::support::tar_reader::{RawEntry, TarError, TarReader};
use crate::support::terminal_text::neutralise;

/// The most bytes of a layer's tar: 64 GiB. A compressed one of some megabytes could become more.
pub(super) const MOST_BYTES: u64 = 64 << 30;

/// Bytes of files that are copied at a time.
const BUFFER: usize = 256 << 10;

/// Reads the tar of a layer to its end and makes its tree and recipe in `dir`, a new and empty folder. When this fails, a part
/// of them is there.
///
/// A tar of more than `most` bytes is refused. That the bytes are the right ones is for the caller to find out by their digest. A tar that ends early between two entries is
/// taken, as other engines do.
pub(super) fn unpack(input: impl Read, dir: &Path, most: u64) -> Result<()> {
    let (tree, recipe) = (dir.join(TREE), dir.join(RECIPE));
    fs::create_dir(&tree).at("create", &tree)?;
    let tape = RecipeWriter::new(File::create_new(&recipe).at("create", &recipe)?).at("write", &recipe)?;
    let tape = Rc::new(RefCell::new(Tape { recipe: tape, content: false, bytes: 0, most }));
    let walker = Walker::new(&tree).at("open", &tree)?;
    rustix::fs::fchmod(open_root(&tree)?, Mode::from_raw_mode(0o755))
        .map_err(io::Error::from)
        .at("change", &tree)?;
    let mut unpacker = Unpacker {
        dir,
        walker,
        targets: Walker::new(&tree).at("open", &tree)?,
        extra: None,
        replaced: HashMap::new(),
        times: BTreeMap::new(),
        tape: tape.clone(),
        buffer: vec![0; BUFFER],
    };
    let mut reader = TarReader::new(Taped { input, tape: tape.clone() });
    let mut judge = Judge::default();
    let mut entries = 0;
    loop {
        match reader.next_raw() {
            Ok(None) => break,
            Err(TarError::Truncated) if entries > 0 || tape.borrow().bytes == 0 => break,
            Ok(Some(entry)) => {
                let parts = judge.allow(&entry).map_err(StoreError::Refused)?;
                unpacker.take(&entry, &parts, &mut reader)?;
            }
            Err(error) => return Err(error.into()),
        }
        entries += 1;
        if entries > MOST_ENTRIES {
            return Err(StoreError::Refused(format!("a layer has more than {MOST_ENTRIES} entries")));
        }
    }
    // What follows the end marker belongs to the bytes.
    let mut rest = reader.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(StoreError::Input)?;
    unpacker.set_times()?;
    drop((rest, unpacker));
    let tape = Rc::into_inner(tape).map(RefCell::into_inner);
    tape.map_or(Ok(()), |tape| tape.recipe.finish()).at("write", &recipe)?;
    Ok(())
}

fn open_root(tree: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(tree, flags, Mode::empty()).map_err(io::Error::from).at("open", tree)?)
}

/// Where the recipe is written while the tar is read.
struct Tape {
    recipe: RecipeWriter,
    /// True while what is read is content that the tree keeps.
    content: bool,
    /// Bytes of the tar so far, and the most that are taken.
    bytes: u64,
    most: u64,
}

struct Taped<R> {
    input: R,
    tape: Rc<RefCell<Tape>>,
}

impl<R: Read> Read for Taped<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        let mut tape = self.tape.borrow_mut();
        tape.bytes += read as u64;
        if tape.bytes > tape.most {
            let most = tape.most;
            let words = format!("a layer has more than {most} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, words));
        }
        if !tape.content {
            tape.recipe.bytes(&buffer[..read])?;
        }
        Ok(read)
    }
}

struct Unpacker<'a> {
    dir: &'a Path,
    walker: Walker,
    /// The ways to what hard links mean, so that they do not spoil the other's.
    targets: Walker,
    extra: Option<OwnedFd>,
    /// How often a file was replaced, by its path.
    replaced: HashMap<Vec<u8>, u32>,
    /// When folders were last changed: set at the end, since what is put into them changes it.
    times: BTreeMap<Vec<Vec<u8>>, Timespec>,
    tape: Rc<RefCell<Tape>>,
    buffer: Vec<u8>,
}

/// What an entry says of owner, mode and time.
struct Attributes {
    user: Uid,
    group: Gid,
    mode: Mode,
    time: Timespec,
    extended: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Attributes {
    /// Why an owner was not given: in a user namespace, one that its maps do not have is refused so.
    fn no_owner(&self, errno: Errno) -> io::Error {
        match errno == Errno::INVAL && is_in_namespace() {
            true => io::Error::other(format!(
                "its owner {}:{} is beyond the user's subordinate ids: give the user more in /etc/subuid and /etc/subgid",
                self.user.as_raw(),
                self.group.as_raw()
            )),
            false => errno.into(),
        }
    }
}

impl Unpacker<'_> {
    fn take(&mut self, entry: &RawEntry, parts: &[&[u8]], content: &mut impl Read) -> Result<()> {
        let name = neutralise(&entry.path);
        let refused = |why: &str| Err(StoreError::Refused(format!("`{name}` of a layer {why}")));
        let failed = |source| StoreError::Entry { name: name.to_string(), source };
        let Some((last, folders)) = parts.split_last() else {
            return match entry.header.entry_type() {
                EntryType::Directory if entry.size == 0 => {
                    let attributes = attributes(entry).map_err(StoreError::Refused)?;
                    let root = self.walker.folder(&[]).map_err(failed)?;
                    self.times.insert(Vec::new(), attributes.time);
                    set_attributes(root, &attributes).map_err(failed)
                }
                _ => refused("is not the root folder and has its name"),
            };
        };
        if parts[0].starts_with(overlay::RESERVED) && parts[0] != overlay::OPAQUE {
            // What aufs has kept beside the files; its content stays in the recipe.
            return Ok(());
        }
        if folders.iter().any(|part| part.starts_with(overlay::WHITEOUT)) {
            return refused("lies in a whiteout");
        }
        let is_folder = is_folder(entry);
        if entry.size > 0 && (is_folder || !is_file(entry)) {
            // Readers differ in whether content follows.
            return refused("has content and is no file");
        }
        if last.starts_with(overlay::WHITEOUT) {
            return match is_folder {
                true => refused("is a folder and has the name of a whiteout"),
                false => self.whiteout(folders, last).map_err(failed),
            };
        }
        match entry.header.entry_type() {
            // The container's own is mounted there.
            EntryType::Char => return Ok(()),
            EntryType::Link => return self.link(entry, parts, &name),
            _ => {}
        }
        let attributes = attributes(entry).map_err(StoreError::Refused)?;
        if is_folder {
            let folder = self.make_folders(parts).map_err(failed)?;
            set_attributes(folder, &attributes).map_err(failed)?;
            self.times.insert(owned(parts), attributes.time);
            return Ok(());
        }
        self.make_way(folders, last, &name)?;
        match entry.header.entry_type() {
            _ if is_file(entry) => self.file(entry.size, parts, &attributes, content, &name),
            EntryType::Symlink if entry.link.is_empty() => refused("is a symbolic link to nothing"),
            EntryType::Symlink => {
                let folder = self.walker.folder(folders).map_err(failed)?;
                rustix::fs::symlinkat(OsStr::from_bytes(&entry.link), folder, OsStr::from_bytes(last))
                    .map_err(|error| failed(error.into()))?;
                self.dress(folders, last, &attributes, false).map_err(failed)
            }
            EntryType::Fifo => {
                let folder = self.walker.folder(folders).map_err(failed)?;
                rustix::fs::mknodat(folder, OsStr::from_bytes(last), FileType::Fifo, Mode::empty(), 0)
                    .map_err(|error| failed(error.into()))?;
                self.dress(folders, last, &attributes, true).map_err(failed)
            }
            kind => refused(&format!("is of the unknown type {:?}", char::from(kind.as_byte()))),
        }
    }

    /// The folder with these parts, made where it is missing.
    fn make_folders(&mut self, parts: &[&[u8]]) -> io::Result<BorrowedFd<'_>> {
        let times = &mut self.times;
        self.walker.folder_or_make(parts, |depth, folder, made| {
            if let Made::InsteadOfWhiteout = made {
                overlay::make_opaque(folder)?;
            }
            times.insert(owned(&parts[..depth]), Timespec { tv_sec: 0, tv_nsec: 0 });
            Ok(())
        })
    }

    fn whiteout(&mut self, folders: &[&[u8]], name: &[u8]) -> io::Result<()> {
        let folder = self.make_folders(folders)?;
        if name == overlay::OPAQUE {
            return overlay::make_opaque(folder);
        }
        let hidden = &name[overlay::WHITEOUT.len()..];
        if name.starts_with(overlay::RESERVED) {
            return Ok(());
        }
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it hides nothing that has a name"));
        }
        match look(folder, hidden)? {
            None => overlay::make_whiteout(folder, hidden),
            // A whiteout hides what lower layers have; what the same layer has stays (OCI image specification, "Whiteouts").
            Some(stat) if kind(&stat) == FileType::Directory => {
                overlay::make_opaque(open_folder(folder, hidden)?.as_fd())
            }
            Some(_) => Ok(()),
        }
    }

    fn link(&mut self, entry: &RawEntry, parts: &[&[u8]], name: &str) -> Result<()> {
        let refused = |why: &str| Err(StoreError::Refused(format!("`{name}` of a layer {why}")));
        let failed = |source| StoreError::Entry { name: name.to_owned(), source };
        let target = layer_rules::link_parts(&entry.link).unwrap_or_default();
        let linked = neutralise(&entry.link);
        let Some((target_name, target_folders)) = target.split_last() else {
            return refused("is a hard link to a folder");
        };
        if target == parts {
            return refused("is a hard link to itself");
        }
        let missing = format!("is a hard link to `{linked}`, which the layer does not hold");
        let found = match self.targets.folder(target_folders) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return refused(&missing),
            folder => look(folder.map_err(failed)?, target_name).map_err(failed)?,
        };
        match found.as_ref().map(kind) {
            Some(FileType::RegularFile | FileType::Symlink | FileType::Fifo) => {}
            Some(FileType::Directory) => return refused("is a hard link to a folder"),
            _ => return refused(&missing),
        }
        let (last, folders) = split(parts);
        self.make_way(folders, last, name)?;
        let to = self.walker.folder(folders).map_err(failed)?;
        let from = self.targets.folder(target_folders).map_err(failed)?;
        let (target_name, last) = (OsStr::from_bytes(target_name), OsStr::from_bytes(last));
        rustix::fs::linkat(from, target_name, to, last, AtFlags::empty())
            .map_err(|error| failed(error.into()))
    }

    fn file(
        &mut self,
        size: u64,
        parts: &[&[u8]],
        attributes: &Attributes,
        content: &mut impl Read,
        name: &str,
    ) -> Result<()> {
        let failed = |source| StoreError::Entry { name: name.to_owned(), source };
        let (last, folders) = split(parts);
        let folder = self.walker.folder(folders).map_err(failed)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(folder, OsStr::from_bytes(last), flags, Mode::from_raw_mode(0o600));
        let mut file = File::from(file.map_err(|error| failed(error.into()))?);
        if size > 0 {
            {
                let mut tape = self.tape.borrow_mut();
                tape.recipe.file(&parts.join(&b'/'), size).map_err(failed)?;
                tape.content = true;
            }
            let mut left = size;
            while left > 0 {
                let most = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
                let read = content.read(&mut self.buffer[..most]).map_err(StoreError::Input)?;
                file.write_all(&self.buffer[..read]).map_err(failed)?;
                left -= read as u64;
            }
            self.tape.borrow_mut().content = false;
        }
        set_attributes(file.as_fd(), attributes)
            .and_then(|()| Ok(rustix::fs::futimens(&file, &both(attributes.time))?))
            .map_err(failed)
    }

    /// Removes what an earlier entry of the same name has made; its content goes where the recipe finds it.
    fn make_way(&mut self, folders: &[&[u8]], last: &[u8], name: &str) -> Result<()> {
        let refused = |why: &str| Err(StoreError::Refused(format!("`{name}` of a layer {why}")));
        let failed = |source| StoreError::Entry { name: name.to_owned(), source };
        let folder = self.make_folders(folders).map_err(failed)?;
        let Some(there) = look(folder, last).map_err(failed)? else { return Ok(()) };
        let entry = OsStr::from_bytes(last);
        match kind(&there) {
            FileType::Directory => return refused("takes the place of a folder"),
            FileType::RegularFile if there.st_size == 0 => {}
            FileType::RegularFile if there.st_nlink > 1 => {
                return refused("takes the place of a file with several names");
            }
            FileType::RegularFile => {
                let path = [folders, &[last]].concat().join(&b'/');
                let dir = self.dir.join(EXTRA);
                if self.extra.is_none() {
                    fs::create_dir(&dir).at("create", &dir)?;
                    self.extra = Some(open_root(&dir)?);
                }
                let stem = Digest::of(&path).hex();
                let count = self.replaced.entry(path).or_default();
                let to = format!("{stem}.{count}");
                *count += 1;
                let folder = self.walker.folder(folders).map_err(failed)?;
                let extra = self.extra.as_ref().map_or(folder, |extra| extra.as_fd());
                return rustix::fs::renameat(folder, entry, extra, &*to)
                    .map_err(|error| failed(error.into()));
            }
            _ => {}
        }
        rustix::fs::unlinkat(folder, entry, AtFlags::empty()).map_err(|error| failed(error.into()))
    }

    /// Owner, mode and time of what cannot be opened.
    fn dress(
        &mut self,
        folders: &[&[u8]],
        last: &[u8],
        attributes: &Attributes,
        mode: bool,
    ) -> io::Result<()> {
        let folder = self.walker.folder(folders)?;
        let (name, here) = (OsStr::from_bytes(last), AtFlags::SYMLINK_NOFOLLOW);
        let owned = rustix::fs::chownat(folder, name, Some(attributes.user), Some(attributes.group), here);
        owned.map_err(|errno| attributes.no_owner(errno))?;
        if mode {
            // It was made a moment ago in a folder that is ours alone, and is no link.
            rustix::fs::chmodat(folder, name, attributes.mode, AtFlags::empty())?;
        }
        Ok(rustix::fs::utimensat(folder, name, &both(attributes.time), here)?)
    }

    fn set_times(&mut self) -> Result<()> {
        for (parts, time) in std::mem::take(&mut self.times) {
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            let set =
                self.walker.folder(&parts).and_then(|folder| Ok(rustix::fs::futimens(folder, &both(time))?));
            set.map_err(|source| StoreError::Entry {
                name: neutralise(&parts.join(&b'/')).to_string(),
                source,
            })?;
        }
        Ok(())
    }
}

fn owned(parts: &[&[u8]]) -> Vec<Vec<u8>> {
    parts.iter().map(|part| part.to_vec()).collect()
}

fn both(time: Timespec) -> Timestamps {
    Timestamps { last_access: time, last_modification: time }
}

fn is_file(entry: &RawEntry) -> bool {
    matches!(entry.header.entry_type(), EntryType::Regular | EntryType::Continuous)
}

/// Tars older than POSIX tell a folder by the slash at its name's end.
fn is_folder(entry: &RawEntry) -> bool {
    entry.header.entry_type() == EntryType::Directory || (is_file(entry) && entry.path.ends_with(b"/"))
}

/// Owner and mode first: changing the owner takes away set-id bits and capabilities.
fn set_attributes(file: BorrowedFd<'_>, attributes: &Attributes) -> io::Result<()> {
    let owned = rustix::fs::fchown(file, Some(attributes.user), Some(attributes.group));
    owned.map_err(|errno| attributes.no_owner(errno))?;
    rustix::fs::fchmod(file, attributes.mode)?;
    for (name, value) in &attributes.extended {
        match rustix::fs::fsetxattr(file, OsStr::from_bytes(name), value, XattrFlags::empty()) {
            // A file system without attributes of users; nothing that runs needs them.
            Err(Errno::NOTSUP) if name.starts_with(b"user.") => {}
            set => set?,
        }
    }
    Ok(())
}

fn attributes(entry: &RawEntry) -> std::result::Result<Attributes, String> {
    let name = neutralise(&entry.path);
    let bad = |what: &str| format!("`{name}` of a layer has {what} that cannot be read");
    let record = |key: &str| {
        let found = entry.pax.iter().rev().find(|(name, value)| name == key.as_bytes() && !value.is_empty());
        found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    };
    let id = |key: &str, of_header: io::Result<u64>| -> std::result::Result<u32, String> {
        let id = match record(key) {
            Some(text) => text.parse().ok(),
            None => of_header.ok(),
        };
        // The last one means "leave it as it is" to chown(2).
        id.and_then(|id| u32::try_from(id).ok()).filter(|id| *id != u32::MAX).ok_or_else(|| bad("an owner"))
    };
    let time = match record("mtime") {
        Some(text) => time(&text).ok_or_else(|| bad("a time"))?,
        None => {
            let seconds = entry.header.mtime().map_err(|_| bad("a time"))?;
            Timespec { tv_sec: seconds.cast_signed(), tv_nsec: 0 }
        }
    };
    let extended = entry.pax.iter().filter_map(|(key, value)| {
        let name = key.strip_prefix(b"SCHILY.xattr.")?;
        is_kept(name).then(|| (name.to_vec(), value.clone()))
    });
    Ok(Attributes {
        user: Uid::from_raw(id("uid", entry.header.uid())?),
        group: Gid::from_raw(id("gid", entry.header.gid())?),
        mode: Mode::from_raw_mode(entry.header.mode().map_err(|_| bad("a mode"))? & 0o7777),
        time,
        extended: extended.collect(),
    })
}

/// True for the extended attributes that trees and layers keep.
pub(super) fn is_kept(attribute: &[u8]) -> bool {
    let of_user = attribute.starts_with(b"user.") && !attribute.starts_with(b"user.overlay.");
    (of_user && !attribute.contains(&0)) || attribute == b"security.capability"
}

/// A time of a pax record: seconds, with a fraction or without (POSIX.1-2017 pax, "pax Extended Header").
fn time(text: &str) -> Option<Timespec> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let nanos: i64 = format!("{fraction:0<9}")[..9].parse().ok()?;
    // -1.5 is half a second before -1.
    Some(match nanos > 0 && whole.starts_with('-') {
        true => Timespec { tv_sec: seconds.checked_sub(1)?, tv_nsec: 1_000_000_000 - nanos },
        false => Timespec { tv_sec: seconds, tv_nsec: nanos },
    })
}
