//! The headers of an rpm, read with bounds: the file is a stranger's.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek};

use rpm::PackageMetadata;

const LEAD: u64 = 96;
/// The most fields of a header (rpm's own limit: lib/header.c, hdrchkTags).
const MAX_FIELDS: u64 = 0xffff;
/// The most bytes of the values of a header; rpm's own limit is four times as high.
const MAX_VALUES: u64 = 64 << 20;

/// What the headers of an rpm say, and where the main one is, bytes from the start of the file.
pub(super) struct Headers {
    pub(super) metadata: PackageMetadata,
    pub(super) start: u64,
    pub(super) end: u64,
}

pub(super) fn read(file: &mut File) -> io::Result<Headers> {
    file.rewind()?;
    let mut bytes = Vec::new();
    more(file, &mut bytes, LEAD)?;
    if !bytes.starts_with(&[0xed, 0xab, 0xee, 0xdb]) {
        return Err(bad("it does not begin with the lead of an rpm"));
    }
    let signature = header(file, &mut bytes)?;
    more(file, &mut bytes, signature.next_multiple_of(8) - signature)?;
    let start = bytes.len() as u64;
    header(file, &mut bytes)?;
    let end = bytes.len() as u64;
    let metadata =
        PackageMetadata::parse(&mut Cursor::new(bytes)).map_err(|error| bad(&error.to_string()))?;
    Ok(Headers { metadata, start, end })
}

/// Reads so many bytes more, or fails.
fn more(file: &mut File, bytes: &mut Vec<u8>, count: u64) -> io::Result<()> {
    match file.take(count).read_to_end(bytes)? as u64 == count {
        true => Ok(()),
        false => Err(bad("it ends in a header")),
    }
}

/// Reads a header and checks that its fields lie in it and that no two together take more than there is: whoever takes
/// them apart may rely on that. Returns its length.
fn header(file: &mut File, bytes: &mut Vec<u8>) -> io::Result<u64> {
    let from = bytes.len();
    more(file, bytes, 16)?;
    let number = |bytes: &[u8], at: usize| -> u64 {
        let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).unwrap_or_default();
        u64::from(u32::from_be_bytes(four))
    };
    if bytes.get(from..from + 4) != Some(&[0x8e, 0xad, 0xe8, 1]) {
        return Err(bad("a header does not begin as one"));
    }
    let (fields, values) = (number(bytes, from + 8), number(bytes, from + 12));
    if fields > MAX_FIELDS || values > MAX_VALUES {
        return Err(bad("a header is too large"));
    }
    more(file, bytes, fields * 16 + values)?;
    let mut taken = 0;
    for index in 0..fields as usize {
        let at = from + 16 + index * 16;
        let (kind, offset, count) = (number(bytes, at + 4), number(bytes, at + 8), number(bytes, at + 12));
        let width = match kind {
            3 => 2,
            4 => 4,
            5 => 8,
            _ => 1,
        };
        taken += count * width;
        if offset > values || count * width > values - offset {
            return Err(bad("a field of a header lies outside of it"));
        }
    }
    match taken <= values + 64 {
        true => Ok(16 + fields * 16 + values),
        false => Err(bad("the fields of a header overlap")),
    }
}

pub(super) fn bad(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.to_owned())
}
