use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use crate::model::Digest;

/// The magic number of the skippable frame at the end of a pack, little endian (RFC 8878, section 3.1.2). Every decoder of
/// Zstandard passes over it.
const TABLE_FRAME: [u8; 4] = 0x184D_2A5B_u32.to_le_bytes();

/// The last bytes of a pack.
const TRAILER: &[u8; 8] = b"packhold";

/// Bytes of a chunk in the table: digest, bytes in the pack, bytes of the chunk.
const ROW: usize = 32 + 4 + 4;

/// Bytes behind the rows: the beginning of the rows' digest, their number, and the trailer.
const FOOT: usize = 8 + 4 + TRAILER.len();

/// A chunk in a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PackedChunk {
    /// The digest of its bytes.
    pub(crate) digest: Digest,
    /// Where its frame begins, bytes.
    pub(crate) offset: u64,
    /// Bytes of its frame.
    pub(crate) length: u32,
    /// Bytes of the chunk.
    pub(crate) size: u32,
}

/// The table at the end of a pack: what the frames before it hold.
pub(crate) fn table(chunks: &[PackedChunk]) -> io::Result<Vec<u8>> {
    let too_many = |_| io::Error::other("a pack has too many chunks");
    let mut rows = Vec::with_capacity(chunks.len() * ROW + FOOT);
    for chunk in chunks {
        // The digest's own bytes, from its digits: a table is written once a pack.
        rows.extend(hex::decode(chunk.digest.hex()).map_err(io::Error::other)?);
        rows.extend(chunk.length.to_le_bytes());
        rows.extend(chunk.size.to_le_bytes());
    }
    let check = check(&rows);
    rows.extend(check);
    rows.extend(u32::try_from(chunks.len()).map_err(too_many)?.to_le_bytes());
    rows.extend(TRAILER);
    let mut frame = TABLE_FRAME.to_vec();
    frame.extend(u32::try_from(rows.len()).map_err(too_many)?.to_le_bytes());
    frame.extend(rows);
    Ok(frame)
}

fn check(rows: &[u8]) -> [u8; 8] {
    let digest = Digest::of(rows).hex();
    let mut check = [0; 8];
    let _ = (&mut check[..]).write(&digest.as_bytes()[..8]);
    check
}

/// Reads the table of a pack; `None` if it is no sound pack: of what it might hold nothing is used then.
pub(crate) fn read_table(pack: &mut File) -> io::Result<Option<Vec<PackedChunk>>> {
    let length = pack.metadata()?.len();
    let mut foot = [0; FOOT];
    if length < FOOT as u64 {
        return Ok(None);
    }
    pack.seek(SeekFrom::Start(length - FOOT as u64))?;
    pack.read_exact(&mut foot)?;
    let (expected, rest) = foot.split_at(8);
    let (count, trailer) = rest.split_at(4);
    let count = u64::from(u32::from_le_bytes(count.try_into().unwrap_or_default()));
    let rows = count * ROW as u64;
    let frames = length.checked_sub(rows + FOOT as u64 + 8);
    let (true, Some(frames)) = (trailer == TRAILER, frames) else { return Ok(None) };
    pack.seek(SeekFrom::Start(frames + 8))?;
    let mut bytes = Vec::new();
    pack.take(rows).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != rows || check(&bytes) != expected {
        return Ok(None);
    }
    let mut offset = 0;
    let chunks: Option<Vec<PackedChunk>> = bytes
        .chunks_exact(ROW)
        .map(|row| {
            let number = |at: usize| Some(u32::from_le_bytes(row[at..at + 4].try_into().ok()?));
            let (length, size) = (number(32)?, number(36)?);
            let chunk = PackedChunk {
                digest: Digest::from_hex(&hex::encode(&row[..32])).ok()?,
                offset,
                length,
                size,
            };
            offset += u64::from(length);
            Some(chunk)
        })
        .collect();
    Ok(chunks.filter(|_| offset == frames))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack() -> (Vec<u8>, Vec<PackedChunk>) {
        let (mut bytes, mut chunks) = (Vec::new(), Vec::new());
        for content in ["first", "second", "third"] {
            let frame = zstd::bulk::compress(content.as_bytes(), 3).unwrap();
            chunks.push(PackedChunk {
                digest: Digest::of(content),
                offset: bytes.len() as u64,
                length: u32::try_from(frame.len()).unwrap(),
                size: u32::try_from(content.len()).unwrap(),
            });
            bytes.extend(frame);
        }
        bytes.extend(table(&chunks).unwrap());
        (bytes, chunks)
    }

    fn read(bytes: &[u8]) -> Option<Vec<PackedChunk>> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        read_table(&mut file).unwrap()
    }

    #[test]
    fn a_pack_says_what_it_holds_and_any_decoder_reads_it() {
        let (bytes, chunks) = pack();
        assert_eq!(read(&bytes), Some(chunks));
        assert_eq!(zstd::decode_all(&bytes[..]).unwrap(), b"firstsecondthird");
    }

    #[test]
    fn a_table_that_is_damaged_is_not_used() {
        let (bytes, _) = pack();
        for length in 0..bytes.len() {
            assert_eq!(read(&bytes[..length]), None, "{length}");
        }
        let start = bytes.len() - 3 * ROW - FOOT;
        for at in start..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(read(&damaged), None, "{at}");
        }
    }
}
