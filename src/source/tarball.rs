//! Tar entries that say nothing but what git knows.

use std::io::{self, Write};

use tar::{EntryType, Header};

use super::tree::TreeEntryKind;

/// A tar in GNU format, in which owner, group, mode and time of every entry follow from the commit.
///
/// The headers are filled in by hand, because the tar crate's own path functions tidy paths and link targets up.
pub(super) struct Tarball<W: Write> {
    builder: tar::Builder<W>,
    mtime: u64,
}

impl<W: Write> Tarball<W> {
    /// A tar whose entries all carry the time `mtime`, seconds since 1970 UTC.
    pub(super) fn new(writer: W, mtime: u64) -> Self {
        Self { builder: tar::Builder::new(writer), mtime }
    }

    /// Adds an entry. `content` is a file's bytes or a link's target. A folder's path ends in `/`.
    pub(super) fn entry(&mut self, path: &[u8], kind: TreeEntryKind, content: &[u8]) -> io::Result<()> {
        let (entry_type, mode, link, data) = match kind {
            TreeEntryKind::File => (EntryType::Regular, 0o644, &b""[..], content),
            TreeEntryKind::Executable => (EntryType::Regular, 0o755, &b""[..], content),
            TreeEntryKind::Symlink => (EntryType::Symlink, 0o777, content, &b""[..]),
            TreeEntryKind::Folder | TreeEntryKind::Submodule => {
                (EntryType::Directory, 0o755, &b""[..], &b""[..])
            }
        };
        let mut header = self.header(entry_type, mode, data.len());
        if let Some(gnu) = header.as_gnu_mut() {
            // The fields may be full: a terminating zero is not required (GNU tar, "Basic Tar Format").
            if path.len() > gnu.name.len() {
                self.long(EntryType::GNULongName, path)?;
            }
            if link.len() > gnu.linkname.len() {
                self.long(EntryType::GNULongLink, link)?;
            }
            fill(&mut gnu.name, path);
            fill(&mut gnu.linkname, link);
        }
        header.set_cksum();
        self.builder.append(&header, data)
    }

    /// The entry that holds the next entry's path or link target.
    fn long(&mut self, entry_type: EntryType, text: &[u8]) -> io::Result<()> {
        let data = [text, b"\0"].concat();
        let mut header = self.header(entry_type, 0, data.len());
        if let Some(gnu) = header.as_gnu_mut() {
            fill(&mut gnu.name, b"././@LongLink");
        }
        header.set_mtime(0);
        header.set_cksum();
        self.builder.append(&header, data.as_slice())
    }

    fn header(&self, entry_type: EntryType, mode: u32, size: usize) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(entry_type);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(self.mtime);
        header.set_size(size as u64);
        header
    }

    /// Writes the two blocks of zeros that end a tar, and gives the writer back.
    pub(super) fn finish(self) -> io::Result<W> {
        self.builder.into_inner()
    }
}

fn fill(field: &mut [u8], text: &[u8]) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text[..length]);
}
