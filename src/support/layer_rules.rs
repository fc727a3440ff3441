//! What the tar of a layer may hold. An engine unpacks it as root; what leaves the root file system, or makes it grow without
//! bytes, is refused.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use tar::EntryType;

use super::tar_reader::RawEntry;
use super::terminal_text::neutralise;

/// The most entries of a layer, of all distros' images by far.
pub(crate) const MOST_ENTRIES: usize = 10_000_000;

/// The names of symbolic links that a layer has brought so far, by their hashes.
#[derive(Default)]
struct Links(BTreeSet<u64>);

impl Links {
    fn hash(parts: &[&[u8]]) -> u64 {
        let mut hasher = DefaultHasher::new();
        parts.hash(&mut hasher);
        hasher.finish()
    }

    /// True when the name goes through a link.
    fn are_passed(&self, parts: &[&[u8]]) -> bool {
        !self.0.is_empty() && (1..parts.len()).any(|depth| self.0.contains(&Self::hash(&parts[..depth])))
    }

    fn has(&self, parts: &[&[u8]]) -> bool {
        self.0.contains(&Self::hash(parts))
    }

    fn note(&mut self, parts: &[&[u8]], is_link: bool) {
        match is_link {
            true => self.0.insert(Self::hash(parts)),
            false => self.0.remove(&Self::hash(parts)),
        };
    }
}

/// Judges the entries of one layer in their order.
#[derive(Default)]
pub(crate) struct Judge {
    links: Links,
}

impl Judge {
    /// The parts of the name of an entry that a layer may hold; else what is wrong with it, in words. Symbolic links may
    /// say anything: in the container they lead to what is in the container.
    pub(crate) fn allow<'a>(&mut self, entry: &'a RawEntry) -> Result<Vec<&'a [u8]>, String> {
        let links = &mut self.links;
        allow(entry, links)
    }
}

fn allow<'a>(entry: &'a RawEntry, links: &mut Links) -> Result<Vec<&'a [u8]>, String> {
    let name = neutralise(&entry.path);
    let parts = inside(&entry.path).ok_or_else(|| format!("`{name}` leaves the root file system"))?;
    let kind = entry.header.entry_type();
    if links.are_passed(&parts) {
        return Err(format!("`{name}` goes through a symbolic link of the same layer"));
    }
    if entry.sparse {
        return Err(format!("`{name}` is a sparse file"));
    }
    let mut is_link = kind == EntryType::Symlink;
    match kind {
        EntryType::Link => match link_parts(&entry.link) {
            Some(target) if !links.are_passed(&target) => is_link = links.has(&target),
            _ => return Err(format!("the hard link `{name}` leads out of the root file system")),
        },
        EntryType::Block => return Err(format!("`{name}` is a block device")),
        EntryType::Char if parts.first() != Some(&&b"dev"[..]) => {
            return Err(format!("`{name}` is a device outside of /dev"));
        }
        _ => {}
    }
    links.note(&parts, is_link);
    Ok(parts)
}

/// The parts of the name that a hard link means. Some writers begin it with a slash.
pub(crate) fn link_parts(link: &[u8]) -> Option<Vec<&[u8]>> {
    inside(link.strip_prefix(b"/").unwrap_or(link))
}

/// The parts of a name that stays inside: relative and without `..`.
fn inside(name: &[u8]) -> Option<Vec<&[u8]>> {
    let parts: Vec<&[u8]> =
        name.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
    (!name.starts_with(b"/") && !name.contains(&0) && !parts.contains(&&b".."[..])).then_some(parts)
}
