use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use caps::{CapSet, Capability};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{chdir, chroot};

use super::entered::{enter_file_system, hold};
use super::overlay::mount_for_reading;
use super::{Stop, Trying};
use crate::engine::embedded::request::{Files, Overlay, Report};
use crate::support::fs::{is_full, open_no_link};

/// What unpacking needs: owners, modes and extended attributes as a tar gives them, whoever a folder belongs to.
const UNPACK: [Capability; 5] = [
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_FOWNER,
    Capability::CAP_FSETID,
    Capability::CAP_SETFCAP,
];

/// What packing needs.
const PACK: [Capability; 1] = [Capability::CAP_DAC_READ_SEARCH];

/// What comes before a tar: from here on it is the tar that tells an error, by its end.
pub const FOUND: u8 = b'+';

/// Unpacks the tar `input` in the container. It is done in the container's own view of its files and without privileges
/// over the host, so links in the container, even while they change, lead nowhere else.
pub(super) fn put(request: &Files, input: &mut impl Read) -> Result<Report, Stop> {
    let Some(first) = &request.first else { return Ok(Report::Gone) };
    enter_file_system(&hold(first)?)?;
    keep_only(&UNPACK)?;
    let path = Path::new(&request.path);
    let found = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(not_found(request)),
        found => found.trying(&request.path)?,
    };
    if !found.is_dir() {
        return Err(Stop::refused(format!("{} is not a folder", request.path)));
    }
    let mut archive = tar::Archive::new(&mut *input);
    archive.set_preserve_permissions(true);
    archive.set_preserve_ownerships(true);
    archive.set_preserve_mtime(true);
    archive.set_unpack_xattrs(true);
    archive.set_overwrite(true);
    archive.unpack(path).map_err(|error| unpack_error(&error))?;
    // What follows the end of a tar, so that the sender can send it.
    io::copy(input, &mut io::sink()).trying("read the tar to its end")?;
    Ok(Report::Done)
}

/// The tar library says what it did, and its cause what failed.
fn unpack_error(error: &io::Error) -> Stop {
    let mut words = error.to_string();
    let mut full = is_full(error);
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        full |= error.downcast_ref::<io::Error>().is_some_and(is_full);
        words = format!("{words}: {error}");
        cause = error.source();
    }
    Stop(if full { Report::NoSpace(words) } else { Report::Refused(words) })
}

/// Writes the file or folder as a tar.
pub(super) fn get(request: &Files, output: &mut impl Write) -> Result<Report, Stop> {
    match (&request.first, &request.overlay) {
        (Some(first), _) => enter_file_system(&hold(first)?)?,
        (None, Some(overlay)) => enter_stopped(overlay)?,
        (None, None) => return Ok(Report::Gone),
    }
    keep_only(&PACK)?;
    let path = Path::new(&request.path);
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(not_found(request)),
        found => found.trying(&request.path)?,
    };
    output.write_all(&[FOUND]).trying("write the tar")?;
    let name = path.file_name().map_or_else(|| PathBuf::from("."), PathBuf::from);
    let mut pack = Pack {
        tar: tar::Builder::new(io::BufWriter::with_capacity(256 * 1024, output)),
        links: HashMap::new(),
    };
    pack.add_all(path, &name).trying(format!("pack {}", request.path))?;
    pack.tar.into_inner().and_then(|mut output| output.flush()).trying("write the tar")?;
    Ok(Report::Done)
}

fn not_found(request: &Files) -> Report {
    Report::NotFound(format!("path {} in the container", request.path))
}

/// The file system of a container that has no process any more, which would have it mounted.
fn enter_stopped(overlay: &Overlay) -> Result<(), Stop> {
    unshare(CloneFlags::CLONE_NEWNS).trying("make a mount namespace; this needs root")?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .trying("keep mounts to this process")?;
    mount_for_reading(overlay)?;
    chroot(&overlay.merged).trying("enter the container's root")?;
    chdir("/").trying("enter the container's root")
}

/// Gives up all capabilities but these.
fn keep_only(kept: &[Capability]) -> Result<(), Stop> {
    let kept = kept.iter().copied().collect();
    let drop_all = || {
        caps::clear(None, CapSet::Ambient)?;
        caps::clear(None, CapSet::Inheritable)?;
        caps::clear(None, CapSet::Bounding)?;
        caps::set(None, CapSet::Effective, &kept)?;
        caps::set(None, CapSet::Permitted, &kept)
    };
    drop_all()
        .map_err(|error: caps::errors::CapsError| Stop::refused(format!("give up capabilities: {error}")))
}

/// A tar in the making.
struct Pack<W: Write> {
    tar: tar::Builder<W>,
    /// Files with several names, by device and inode, and the name that each has in the tar.
    links: HashMap<(u64, u64), PathBuf>,
}

impl<W: Write> Pack<W> {
    /// Adds `path` and all below it, in order of the names. What vanishes meanwhile is left out.
    fn add_all(&mut self, path: &Path, name: &Path) -> io::Result<()> {
        let mut open = vec![(path.to_owned(), name.to_owned())];
        while let Some((path, name)) = open.pop() {
            let found = match fs::symlink_metadata(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                found => found?,
            };
            if found.is_dir() {
                let mut below = Vec::new();
                match fs::read_dir(&path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    entries => {
                        for entry in entries? {
                            below.push(entry?.file_name());
                        }
                    }
                }
                below.sort_unstable();
                open.extend(below.iter().rev().map(|each| (path.join(each), name.join(each))));
            }
            self.add(&path, &name, &found)?;
        }
        Ok(())
    }

    fn add(&mut self, path: &Path, name: &Path, found: &Metadata) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_metadata(found);
        let kind = found.file_type();
        if kind.is_socket() {
            // A tar has no word for it.
            return Ok(());
        }
        if kind.is_symlink() {
            header.set_size(0);
            return match fs::read_link(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                target => self.tar.append_link(&mut header, name, target?),
            };
        }
        if !kind.is_file() {
            header.set_size(0);
            return self.tar.append_data(&mut header, name, io::empty());
        }
        if found.nlink() > 1 {
            let file = (found.dev(), found.ino());
            if let Some(other) = self.links.get(&file) {
                header.set_entry_type(tar::EntryType::Link);
                header.set_size(0);
                return self.tar.append_link(&mut header, name, other);
            }
            self.links.insert(file, name.to_owned());
        }
        let file = match open_no_link(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            file => file?,
        };
        let found = file.metadata()?;
        header.set_metadata(&found);
        // It may shrink or grow meanwhile; the tar has said how long it is.
        let bytes = file.chain(io::repeat(0)).take(found.len());
        self.tar.append_data(&mut header, name, bytes)
    }
}
