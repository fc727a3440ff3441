//! Deletions, as overlayfs keeps them in a tree and as a layer's tar does.
//!
//! In a tar (OCI image specification, "Whiteouts"), an empty file `.wh.NAME` says that a lower layer's `NAME` is gone, and
//! `.wh..wh..opq` that nothing of the lower layers is seen in its folder. In a tree (Documentation/filesystems/overlayfs.rst of
//! Linux, "whiteouts and opaque directories"), a character device 0:0 and an extended attribute of the folder say so.

use std::ffi::OsStr;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{FileType, Mode, Stat, XattrFlags};
use rustix::io::Errno;

use crate::engine::embedded::rootless::is_in_namespace;

/// How the name of a whiteout begins.
pub(super) const WHITEOUT: &[u8] = b".wh.";
/// How names begin that older storage drivers (aufs) used for themselves.
pub(super) const RESERVED: &[u8] = b".wh..wh.";
/// The name that makes its folder opaque.
pub(super) const OPAQUE: &[u8] = b".wh..wh..opq";

/// The attribute that makes a folder opaque, for overlays that root mounts and for those that are mounted in a user namespace; and
/// its value.
const OPAQUE_ATTRIBUTE: [&str; 2] = ["trusted.overlay.opaque", "user.overlay.opaque"];
const OPAQUE_VALUE: &[u8] = b"y";

/// True for what hides a lower layer's entry.
pub(super) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Makes a whiteout; nothing of that name is there.
pub(super) fn make_whiteout(folder: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    let name = OsStr::from_bytes(name);
    Ok(rustix::fs::mknodat(folder, name, FileType::CharacterDevice, Mode::empty(), 0)?)
}

/// Makes a folder opaque.
pub(super) fn make_opaque(folder: BorrowedFd<'_>) -> io::Result<()> {
    let name = OPAQUE_ATTRIBUTE[usize::from(is_in_namespace())];
    Ok(rustix::fs::fsetxattr(folder, name, OPAQUE_VALUE, XattrFlags::empty())?)
}

/// What overlayfs has written on an entry of an upper folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// It is its own business.
    None,
    /// Nothing of the lower layers is seen in the folder.
    Opaque,
    /// The entry does not stand for itself: its content, or its name, is in a lower layer.
    Refers,
}

/// What the attribute `name` says, if it is one of overlayfs: those of an overlay that root mounted, and of one that was mounted in
/// a user namespace.
pub(super) fn mark(name: &[u8], value: &[u8]) -> Option<Mark> {
    let own = name.strip_prefix(b"trusted.overlay.").or_else(|| name.strip_prefix(b"user.overlay."))?;
    Some(match own {
        // `x` says that files with an attribute may be whiteouts; nothing of lower layers is hidden by it.
        b"opaque" if value == b"y" => Mark::Opaque,
        b"redirect" | b"metacopy" | b"whiteout" => Mark::Refers,
        _ => Mark::None,
    })
}

/// The attributes of an open file or folder: names and values. A file system without attributes has none.
pub(super) fn attributes(file: BorrowedFd<'_>) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut names = vec![0; 64 << 10];
    let length = match rustix::fs::flistxattr(file, &mut names[..]) {
        Err(Errno::NOTSUP | Errno::NOSYS) => 0,
        length => length?,
    };
    let mut found = Vec::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 64 << 10];
        match rustix::fs::fgetxattr(file, OsStr::from_bytes(name), &mut value[..]) {
            Err(Errno::NODATA) => {}
            length => {
                value.truncate(length?);
                found.push((name.to_vec(), value));
            }
        }
    }
    found.sort();
    Ok(found)
}
