//! RPM packages, version 3 and 4 (RPM package format): a lead, a signature header, a header, and a compressed cpio
//! archive. Digests and sizes in the signature header follow from the rest; signatures do not.

use std::io::{self, Read};

use super::members::{Member, Members, bad};
use crate::support::decompress::{self, Packing};

const LEAD: usize = 96;
/// The most fields of a header (rpm's own limit: lib/header.c, hdrchkTags).
const MAX_FIELDS: usize = 0xffff;

const MAGIC: [u8; 4] = [0x8e, 0xad, 0xe8, 1];

/// The tags of a signature header that hold signatures: DSA, RSA, OpenPGP, PGP, GPG, and those of files.
const SIGNATURES: [u32; 7] = [267, 268, 278, 1002, 1005, 274, 276];

/// The tags of a header whose names people know (lib/rpmtag.h).
const NAMES: [(u32, &str); 20] = [
    (1000, "NAME"),
    (1001, "VERSION"),
    (1002, "RELEASE"),
    (1006, "BUILDTIME"),
    (1007, "BUILDHOST"),
    (1009, "SIZE"),
    (1020, "OLDFILENAMES"),
    (1030, "FILEMODES"),
    (1034, "FILEMTIMES"),
    (1035, "FILEDIGESTS"),
    (1039, "FILEUSERNAME"),
    (1040, "FILEGROUPNAME"),
    (1044, "SOURCERPM"),
    (1047, "PROVIDENAME"),
    (1049, "REQUIRENAME"),
    (1080, "CHANGELOGTIME"),
    (1094, "COOKIE"),
    (1117, "BASENAMES"),
    (1146, "SOURCEPKGID"),
    (5099, "SPEC"),
];

pub(super) fn members(bytes: &[u8]) -> io::Result<Members> {
    let mut members = Members::default();
    let (signature, rest) = headers(bytes)?;
    for (tag, value) in signature.into_iter().filter(|(tag, _)| SIGNATURES.contains(tag)) {
        members.signatures.insert(format!("signature/{tag}"), Member::of(value)?.digest);
    }
    let (tags, length) = header(rest)?;
    for (tag, value) in tags {
        let name = NAMES
            .iter()
            .find(|(known, _)| *known == tag)
            .map_or_else(|| tag.to_string(), |(_, n)| (*n).to_owned());
        members.add(format!("header/{name}"), Member::of(value)?)?;
    }
    let payload = rest.get(length..).unwrap_or_default();
    let (start, packed) = decompress::peek(payload, 6)?;
    cpio(&mut members, decompress::unpack(packed, Packing::of(&start))?)?;
    Ok(members)
}

/// The tags of the signature header, and what begins with the main header.
pub(super) fn headers(bytes: &[u8]) -> io::Result<(Tags<'_>, &[u8])> {
    let rest = bytes.get(LEAD..).filter(|_| bytes.starts_with(&[0xed, 0xab, 0xee, 0xdb]));
    let rest = rest.ok_or_else(|| bad("it does not begin with the lead of an rpm"))?;
    let (signature, length) = header(rest)?;
    let rest = rest.get(length.next_multiple_of(8)..).ok_or_else(|| bad("it ends after the signatures"))?;
    Ok((signature, rest))
}

/// Tags and their values as bytes.
pub(super) type Tags<'a> = Vec<(u32, &'a [u8])>;

/// The tags of a header and their values as bytes, and how long it is.
pub(super) fn header(bytes: &[u8]) -> io::Result<(Tags<'_>, usize)> {
    let short = || bad("it ends in a header");
    if bytes.get(..4) != Some(&MAGIC) {
        return Err(bad("a header does not begin as one"));
    }
    let number = |at: usize| -> io::Result<u32> {
        let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
        Ok(u32::from_be_bytes(four.ok_or_else(short)?))
    };
    let (count, size) = (number(8)? as usize, number(12)? as usize);
    if count > MAX_FIELDS {
        return Err(bad("a header has too many fields"));
    }
    let store_at = count.checked_mul(16).and_then(|index| index.checked_add(16)).ok_or_else(short)?;
    let end = store_at.checked_add(size).ok_or_else(short)?;
    let store = bytes.get(store_at..end).ok_or_else(short)?;
    let mut entries = Vec::new();
    for index in 0..count {
        let at = 16 + index * 16;
        entries.push((number(at)?, number(at + 8)? as usize));
    }
    // A value ends where the next one begins.
    let mut starts: Vec<usize> = entries.iter().map(|(_, offset)| *offset).collect();
    starts.sort_unstable();
    if starts.windows(2).any(|pair| pair[0] == pair[1]) {
        // Else a small package could make us read one value as often as it has fields.
        return Err(bad("two fields of a header have one value"));
    }
    let value = |offset: usize| {
        let next = starts.get(starts.partition_point(|start| *start <= offset)).copied().unwrap_or(size);
        store.get(offset..next.min(size)).unwrap_or_default()
    };
    let tags = entries.iter().map(|(tag, offset)| (*tag, value(*offset))).collect();
    Ok((tags, end))
}

/// The members of a cpio archive, "new ASCII" or rpm's own for large files, whose members are named by their number.
fn cpio(members: &mut Members, mut stream: impl Read) -> io::Result<()> {
    loop {
        let mut magic = [0; 6];
        stream.read_exact(&mut magic)?;
        let read = |stream: &mut dyn Read, bytes: u64| -> io::Result<Vec<u8>> {
            let mut kept = Vec::new();
            stream.take(bytes).read_to_end(&mut kept)?;
            match kept.len() as u64 == bytes {
                true => Ok(kept),
                false => Err(bad("its payload ends in a member")),
            }
        };
        if &magic == b"07070X" {
            let number = read(&mut stream, 8)?;
            // Sizes stand in the header alone, so that nothing can be told of the files that follow.
            let rest = Member::of(&mut stream)?;
            return members.add(format!("payload/from {}", String::from_utf8_lossy(&number)), rest);
        }
        if &magic != b"070701" && &magic != b"070702" {
            return Err(bad("its payload is no cpio archive"));
        }
        let fields = read(&mut stream, 104)?;
        let field = |index: usize| {
            let text = std::str::from_utf8(&fields[index * 8..index * 8 + 8]).unwrap_or_default();
            u32::from_str_radix(text, 16).map_err(|_| bad("a field of its payload is no number"))
        };
        let (mode, uid, gid, mtime) = (field(1)?, field(2)?, field(3)?, field(5)?);
        let (size, name_size) = (u64::from(field(6)?), u64::from(field(11)?));
        if name_size > 1 << 16 {
            return Err(bad("a name in its payload is too long"));
        }
        let name = read(&mut stream, name_size)?;
        skip(&mut stream, (4 - (110 + name_size) % 4) % 4)?;
        let name = String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned();
        if name == "TRAILER!!!" {
            return Ok(());
        }
        let mut content = (&mut stream).take(size);
        let member = Member::of(&mut content)?;
        if content.limit() > 0 {
            return Err(bad("its payload ends in a member"));
        }
        skip(&mut stream, (4 - size % 4) % 4)?;
        let owner = format!("{uid}:{gid}");
        let name = format!("payload/{}", name.trim_start_matches("./"));
        members.add(name, Member { mode, owner, mtime: u64::from(mtime), ..member })?;
    }
}

fn skip(stream: &mut impl Read, bytes: u64) -> io::Result<()> {
    io::copy(&mut stream.take(bytes), &mut io::sink()).map(|_| ())
}
