use std::collections::BTreeSet;
use std::fmt::Write;
use std::io;
use std::path::Path;

use crate::model::Digest;
use crate::support::fs::{FsError, PathContext, open_regular};

/// The first line of a list.
const MAGIC: &str = "packhold chunks 1";

/// The beginning of the last line, which has the digest of all before it.
const END: &str = "end ";

/// The most bytes that a list may have: an extent for every chunk of some terabytes.
const MAX_LIST: u64 = 256 << 20;

/// Where the bytes of a blob lie that is kept in chunks. Its form is that of `FORMAT.md`, "Chunk list".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ChunkList {
    /// Bytes of the blob.
    pub(crate) size: u64,
    /// Where they lie, in their order.
    pub(crate) extents: Vec<Extent>,
}

/// Zstandard frames that lie beside each other in a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The pack, a blob.
    pub(crate) pack: Digest,
    /// Where they begin in it, bytes.
    pub(crate) offset: u64,
    /// Bytes that they have there.
    pub(crate) length: u64,
    /// Bytes that they become.
    pub(crate) size: u64,
}

/// Why a list cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListError {
    #[error(transparent)]
    Fs(#[from] FsError),
    /// It does not say what a list says.
    #[error("{0}")]
    Damaged(String),
}

impl ChunkList {
    /// The list in a file; `None` if there is none.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, ListError> {
        let text = match open_regular(path) {
            Ok(file) => {
                let mut text = String::new();
                let limited = io::Read::take(file, MAX_LIST);
                match io::Read::read_to_string(&mut { limited }, &mut text) {
                    Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                        return Err(ListError::Damaged("it is no text".to_owned()));
                    }
                    read => read.at("read", path)?,
                };
                text
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).at("read", path)?,
        };
        Self::parse(&text).map(Some).map_err(ListError::Damaged)
    }

    /// Adds what follows. Extents that touch each other become one.
    pub(crate) fn push(&mut self, extent: Extent) {
        self.size += extent.size;
        match self.extents.last_mut() {
            Some(last) if last.pack == extent.pack && last.offset + last.length == extent.offset => {
                last.length += extent.length;
                last.size += extent.size;
            }
            _ => self.extents.push(extent),
        }
    }

    /// The packs in which the bytes lie.
    pub(crate) fn packs(&self) -> BTreeSet<Digest> {
        self.extents.iter().map(|extent| extent.pack).collect()
    }

    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("{MAGIC}\nsize {}\n", self.size);
        for Extent { pack, offset, length, size } in &self.extents {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{} {offset} {length} {size}", pack.hex());
        }
        let digest = Digest::of(&text);
        let _ = writeln!(text, "{END}{}", digest.hex());
        text
    }

    /// Reads a list that anyone may have written.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let whole = || {
            let (lines, end) = text.strip_suffix('\n')?.rsplit_once(END)?;
            (Digest::from_hex(end).ok()? == Digest::of(lines)).then_some(lines)
        };
        let mut lines = whole().ok_or("its last line is not the digest of the others")?.lines();
        if lines.next() != Some(MAGIC) {
            return Err(format!("it does not begin with `{MAGIC}`"));
        }
        let size = lines.next().and_then(|line| line.strip_prefix("size "));
        let size: u64 = size.and_then(|size| size.parse().ok()).ok_or("its second line has no size")?;
        let mut list = Self::default();
        let mut sum: u64 = 0;
        for (number, line) in lines.enumerate() {
            let extent = extent(line).ok_or_else(|| format!("its line {} is no extent", number + 3))?;
            sum = sum.checked_add(extent.size).ok_or("its extents are too large")?;
            list.extents.push(extent);
        }
        match sum == size {
            true => Ok(Self { size, ..list }),
            false => Err(format!("its extents have {sum} bytes, not {size}")),
        }
    }
}

fn extent(line: &str) -> Option<Extent> {
    let mut words = line.split(' ');
    let pack = Digest::from_hex(words.next()?).ok()?;
    let mut number = || words.next()?.parse::<u64>().ok();
    let (offset, length, size) = (number()?, number()?, number()?);
    offset.checked_add(length)?;
    words.next().is_none().then_some(Extent { pack, offset, length, size })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pack: &str, offset: u64, length: u64) -> Extent {
        Extent { pack: Digest::of(pack), offset, length, size: 10 }
    }

    #[test]
    fn a_list_is_read_as_it_was_written() {
        let mut list = ChunkList::default();
        for extent in [of("a", 0, 5), of("a", 5, 7), of("b", 12, 1), of("a", 20, 2)] {
            list.push(extent);
        }
        assert_eq!((list.extents.len(), list.size), (3, 40));
        assert_eq!(list.extents[0], Extent { size: 20, ..of("a", 0, 12) });
        assert_eq!(ChunkList::parse(&list.to_text()), Ok(list));
    }

    #[test]
    fn a_list_that_is_not_whole_is_refused() {
        let mut list = ChunkList::default();
        list.push(of("a", 0, 5));
        list.push(of("b", 0, 5));
        let text = list.to_text();
        for end in 0..text.len() {
            assert!(ChunkList::parse(&text[..end]).is_err(), "{end}");
        }
        for bit in 0..text.len() * 8 {
            let mut flipped = text.clone().into_bytes();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let refused = String::from_utf8(flipped).map_or(true, |text| ChunkList::parse(&text).is_err());
            assert!(refused, "bit {bit}");
        }
    }

    #[test]
    fn a_list_that_says_something_impossible_is_refused() {
        let hex = Digest::of("a").hex();
        let sealed = |lines: String| format!("{lines}{END}{}\n", Digest::of(&lines).hex());
        assert!(ChunkList::parse(&sealed(format!("{MAGIC}\nsize 1\n{hex} 0 9 1\n"))).is_ok());
        for bad in [
            format!("{MAGIC}\nsize 2\n{hex} 0 9 1\n"),
            format!("{MAGIC}\nsize 1\n{hex} 0 9 1 1\n"),
            format!("{MAGIC}\nsize -1\n{hex} 0 9 1\n"),
            format!("{MAGIC}\nsize 1\n{hex} {} 1 1\n", u64::MAX),
            format!("{MAGIC}\nsize 1\n{hex} 0 1 {}\n{hex} 0 1 2\n", u64::MAX),
            format!("{MAGIC}\nsize 1\n../../etc/passwd 0 1 1\n"),
            format!("packhold chunks 2\nsize 1\n{hex} 0 9 1\n"),
        ] {
            assert!(ChunkList::parse(&sealed(bad.clone())).is_err(), "{bad}");
        }
    }
}
