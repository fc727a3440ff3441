//! An xz stream made of blocks that were compressed one by one (The .xz File Format, version 1.2.1).
//!
//! Streams may be concatenated as well (section 2), but apt reads only the first of them; several blocks in one stream every
//! reader understands.

use std::io::{self, Read};

use liblzma::stream::{Check, Filters, LzmaOptions, Stream};

/// Stream header: magic bytes, then flags for CRC32 (section 2.1.1).
pub(super) const HEADER: [u8; 12] = [0xfd, b'7', b'z', b'X', b'Z', 0, 0, 1, 0x69, 0x22, 0xde, 0x36];

/// A compressed block, with its padding, and what the index says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) bytes: Vec<u8>,
    /// Bytes without padding.
    pub(super) unpadded: u64,
    /// Bytes when unpacked.
    pub(super) plain: u64,
}

/// The preset of the compressor (xz(1)), and its dictionary, bytes; the smallest that there is.
const PRESET: u32 = 6;
const DICTIONARY: u32 = 8 << 20;
const SMALLEST: u32 = 4096;

/// Compresses one block, which is at most 2^32 bytes long.
pub(super) fn block(plain: &[u8]) -> io::Result<Block> {
    // A dictionary as large as the text finds as much, and is made in a hundredth of the time.
    let dictionary = u32::try_from(plain.len()).unwrap_or(DICTIONARY).clamp(SMALLEST, DICTIONARY);
    let mut options = LzmaOptions::new_preset(PRESET)?;
    options.dict_size(dictionary.next_power_of_two());
    let stream = Stream::new_stream_encoder(Filters::new().lzma2(&options), Check::Crc32)?;
    let mut whole = Vec::new();
    liblzma::read::XzEncoder::new_stream(plain, stream).read_to_end(&mut whole)?;
    let broken = || io::Error::other("the compressor wrote no single block");
    // The last but one field of the footer is the size of the index, in words of four bytes, less one.
    let footer = whole.len().checked_sub(12).ok_or_else(broken)?;
    let words =
        whole.get(footer + 4..footer + 8).and_then(|bytes| bytes.try_into().ok()).ok_or_else(broken)?;
    let index = footer.checked_sub((u32::from_le_bytes(words) as usize + 1) * 4).ok_or_else(broken)?;
    let bytes = whole.get(12..index).ok_or_else(broken)?.to_vec();
    let fields = whole.get(index..footer).ok_or_else(broken)?;
    let (count, at) = read_number(fields, 1).ok_or_else(broken)?;
    let (unpadded, at) = read_number(fields, at).ok_or_else(broken)?;
    let (size, _) = read_number(fields, at).ok_or_else(broken)?;
    match count == 1 && size == plain.len() as u64 && whole[..12] == HEADER {
        true => Ok(Block { bytes, unpadded, plain: size }),
        false => Err(broken()),
    }
}

/// Ends a stream that holds its header and its blocks, of each of which it says the bytes without padding and when unpacked.
pub(super) fn finish(out: &mut Vec<u8>, blocks: &[(u64, u64)]) {
    let mut records = Vec::new();
    for (unpadded, plain) in blocks {
        write_number(&mut records, *unpadded);
        write_number(&mut records, *plain);
    }
    // Index (section 4): an indicator, the number of records, the records, padding, CRC32.
    let mut index = vec![0];
    write_number(&mut index, blocks.len() as u64);
    index.append(&mut records);
    index.resize(index.len().next_multiple_of(4), 0);
    let check = crc32(&index);
    index.extend_from_slice(&check.to_le_bytes());
    out.extend_from_slice(&index);
    // Footer (section 2.1.2): CRC32 of what follows, backward size, flags, magic bytes.
    let words = u32::try_from(index.len() / 4 - 1).unwrap_or(u32::MAX);
    let mut end = words.to_le_bytes().to_vec();
    end.extend_from_slice(&[0, 1]);
    out.extend_from_slice(&crc32(&end).to_le_bytes());
    out.extend_from_slice(&end);
    out.extend_from_slice(b"YZ");
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// A multibyte integer (section 1.2) at `at`, and where the next field begins.
fn read_number(bytes: &[u8], mut at: usize) -> Option<(u64, usize)> {
    let mut number = 0;
    for shift in (0..63).step_by(7) {
        let byte = *bytes.get(at)?;
        at += 1;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((number, at));
        }
    }
    None
}

fn write_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_that_were_compressed_apart_are_one_stream_that_a_decoder_of_single_streams_reads_whole() {
        let texts: [&[u8]; 3] = [b"first\n", &[7; 300_000], b"last\n"];
        let blocks: Vec<Block> = texts.iter().map(|text| block(text).unwrap()).collect();
        let whole = stream(&blocks);
        let single = liblzma::stream::Stream::new_stream_decoder(u64::MAX, 0).unwrap();
        let mut read = Vec::new();
        liblzma::read::XzDecoder::new_stream(whole.as_slice(), single).read_to_end(&mut read).unwrap();
        assert_eq!(read, texts.concat());
    }

    fn stream(blocks: &[Block]) -> Vec<u8> {
        let mut whole = HEADER.to_vec();
        blocks.iter().for_each(|block| whole.extend_from_slice(&block.bytes));
        let said: Vec<_> = blocks.iter().map(|block| (block.unpadded, block.plain)).collect();
        finish(&mut whole, &said);
        whole
    }

    #[test]
    fn a_stream_of_no_blocks_is_empty() {
        let mut read = Vec::new();
        liblzma::read::XzDecoder::new(stream(&[]).as_slice()).read_to_end(&mut read).unwrap();
        assert!(read.is_empty());
    }
}
