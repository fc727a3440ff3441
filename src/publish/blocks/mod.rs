//! Index files that are compressed block by block, so that what did not change is not compressed again.
//!
//! Records are cut into blocks by what they are and not by how many come before them: a new record changes its own
//! block and no other. A gzip file is its blocks as members (RFC 1952, 2.2), a zstd file its blocks as frames (RFC 8878, 3), an
//! xz file its blocks as those of one stream.

mod xz;

use std::collections::HashMap;
use std::io::{self, Read};

use serde::{Deserialize, Serialize};

use crate::model::Digest;

/// One record in so many begins a new block.
const RECORDS: u8 = 32;

/// The most bytes of a block that is not a single record.
const MOST: usize = 1 << 20;

/// What each compressed form of a block takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Block {
    /// Of its text.
    digest: Digest,
    /// Bytes of its text.
    plain: u64,
    gz: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    xz: Option<(u64, u64)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zst: Option<u64>,
}

/// An index file in all its forms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Packed {
    pub(super) plain: Vec<u8>,
    pub(super) gz: Vec<u8>,
    /// Empty where only gzip was asked for, as is `zst`.
    pub(super) xz: Vec<u8>,
    pub(super) zst: Vec<u8>,
    pub(super) table: Vec<Block>,
}

/// The forms that are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forms {
    /// gzip alone.
    Gzip,
    /// gzip, xz and zstd.
    All,
}

/// Compressed blocks that are known, by the digest of their text.
#[derive(Default)]
pub(super) struct Known<'a>(HashMap<Digest, Compressed<'a>>);

#[derive(Clone, Copy)]
struct Compressed<'a> {
    gz: &'a [u8],
    xz: Option<(&'a [u8], u64)>,
    zst: Option<&'a [u8]>,
}

impl<'a> Known<'a> {
    /// The blocks of `table` in the files `gz`, `xz` and `zst`; those that the files do not hold are passed over.
    pub(super) fn new(table: &[Block], gz: &'a [u8], xz: &'a [u8], zst: &'a [u8]) -> Self {
        let mut known = HashMap::new();
        // The first block of an xz file begins after the header of its stream.
        let (mut gz_at, mut xz_at, mut zst_at) = (0, 12, 0);
        for block in table {
            let part = |file: &'a [u8], at: &mut usize, size: u64| {
                let end = at.checked_add(usize::try_from(size).ok()?)?;
                let part = file.get(*at..end)?;
                *at = end;
                Some(part)
            };
            let Some(gz) = part(gz, &mut gz_at, block.gz) else { break };
            let xz = block.xz.and_then(|(size, unpadded)| Some((part(xz, &mut xz_at, size)?, unpadded)));
            let zst = block.zst.and_then(|size| part(zst, &mut zst_at, size));
            known.insert(block.digest, Compressed { gz, xz, zst });
        }
        Self(known)
    }
}

/// Cuts records, each a key and its text, into blocks.
pub(super) fn cut<'a>(records: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    let mut blocks = vec![String::new()];
    for (key, text) in records {
        let current = blocks.last().map_or(0, String::len);
        let begins = Digest::of(key).bytes()[0] < u8::MAX / RECORDS + 1;
        if current > 0 && (begins || current + text.len() > MOST) {
            blocks.push(String::new());
        }
        if let Some(last) = blocks.last_mut() {
            last.push_str(text);
        }
    }
    blocks.retain(|block| !block.is_empty());
    blocks
}

/// Compresses those blocks that are not known, and puts the files together.
pub(super) fn pack(blocks: &[String], known: &Known<'_>, forms: Forms) -> io::Result<Packed> {
    let mut packed = Packed::default();
    let mut xz_blocks = Vec::new();
    for text in blocks {
        let text = text.as_bytes();
        let digest = Digest::of(text);
        let known = known.0.get(&digest);
        let before = (packed.gz.len(), packed.zst.len());
        match known {
            Some(known) => packed.gz.extend_from_slice(known.gz),
            None => {
                let mut member = flate2::GzBuilder::new().mtime(0).read(text, flate2::Compression::new(9));
                member.read_to_end(&mut packed.gz)?;
            }
        }
        let (mut xz, mut zst) = (None, None);
        if forms == Forms::All {
            let block = match known.and_then(|known| known.xz) {
                Some((bytes, unpadded)) => {
                    xz::Block { bytes: bytes.to_vec(), unpadded, plain: text.len() as u64 }
                }
                None => xz::block(text)?,
            };
            xz = Some((block.bytes.len() as u64, block.unpadded));
            xz_blocks.push(block);
            match known.and_then(|known| known.zst) {
                Some(bytes) => packed.zst.extend_from_slice(bytes),
                None => packed.zst.append(&mut zstd::encode_all(text, 12)?),
            }
            zst = Some((packed.zst.len() - before.1) as u64);
        }
        packed.plain.extend_from_slice(text);
        let gz = (packed.gz.len() - before.0) as u64;
        packed.table.push(Block { digest, plain: text.len() as u64, gz, xz, zst });
    }
    if blocks.is_empty() {
        // An empty file in a compressed form is one that holds nothing.
        flate2::GzBuilder::new()
            .mtime(0)
            .read(&b""[..], flate2::Compression::new(9))
            .read_to_end(&mut packed.gz)?;
    }
    if forms == Forms::All {
        if blocks.is_empty() {
            packed.zst = zstd::encode_all(&b""[..], 12)?;
        }
        packed.xz = xz::stream(xz_blocks.iter().map(|b| (b.bytes.as_slice(), b.unpadded, b.plain)));
    }
    Ok(packed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(count: usize) -> Vec<(String, String)> {
        (0..count)
            .map(|n| (format!("package-{n:05}"), format!("Package: package-{n:05}\nSize: {n}\n\n")))
            .collect()
    }

    fn blocks(records: &[(String, String)]) -> Vec<String> {
        cut(records.iter().map(|(key, text)| (key.as_str(), text.as_str())))
    }

    #[test]
    fn a_new_record_changes_one_or_two_blocks_and_no_text() {
        let mut all = records(1000);
        let before = blocks(&all);
        assert!(before.len() > 10, "{}", before.len());
        all.insert(500, ("package-00499a".to_owned(), "Package: package-00499a\n\n".to_owned()));
        let after = blocks(&all);
        assert!(after.iter().filter(|block| !before.contains(block)).count() <= 2);
        assert_eq!(after.concat(), all.iter().map(|(_, text)| text.as_str()).collect::<String>());
    }

    #[test]
    fn known_blocks_give_the_same_files_as_new_ones() {
        let mut all = records(300);
        let first = pack(&blocks(&all), &Known::default(), Forms::All).unwrap();
        all.remove(100);
        let known = Known::new(&first.table, &first.gz, &first.xz, &first.zst);
        assert_eq!(known.0.len(), first.table.len());
        assert!(known.0.values().all(|block| block.xz.is_some() && block.zst.is_some()));
        let again = pack(&blocks(&all), &known, Forms::All).unwrap();
        assert_eq!(again, pack(&blocks(&all), &Known::default(), Forms::All).unwrap());
        let mut gz = Vec::new();
        flate2::read::MultiGzDecoder::new(again.gz.as_slice()).read_to_end(&mut gz).unwrap();
        let mut xz = Vec::new();
        liblzma::read::XzDecoder::new(again.xz.as_slice()).read_to_end(&mut xz).unwrap();
        let zst = zstd::decode_all(again.zst.as_slice()).unwrap();
        assert!(gz == again.plain && xz == again.plain && zst == again.plain);
    }

    #[test]
    fn files_shorter_than_their_table_give_fewer_blocks() {
        let first = pack(&blocks(&records(300)), &Known::default(), Forms::All).unwrap();
        let known = Known::new(&first.table, &first.gz[..first.gz.len() / 2], &[], &first.zst);
        assert!(known.0.len() < first.table.len());
        assert!(known.0.values().all(|block| block.xz.is_none()));
    }
}
