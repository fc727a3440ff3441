//! The signature of an rpm, version 3 and 4 of the format (RPM package format, "Signature"): one OpenPGP packet over the header, in
//! the signature header before it. The header has the digest of the payload, so the payload is signed with it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use pgp::crypto::public_key::PublicKeyAlgorithm;
use pgp::packet::{PacketTrait, Signature};

use super::{Certificate, Result, SignError, verify_detached};
use crate::support::fs::{PathContext, open_regular};

const LEAD: usize = 96;
const LEAD_MAGIC: [u8; 4] = [0xed, 0xab, 0xee, 0xdb];
const MAGIC: [u8; 8] = [0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0];

/// rpm's own limits (lib/header.c): fields and bytes of values of the two headers.
const SIGNATURE_LIMITS: (usize, usize) = (32, 64 << 20);
const HEADER_LIMITS: (usize, usize) = (0xffff, 256 << 20);

/// Region, and the region's trailer, of a signature header (HEADERSIGNATURES).
const REGION: u32 = 62;
/// RPMSIGTAG_DSA: all algorithms but RSA; RPMSIGTAG_RSA.
const HEADER_DSA: u32 = 267;
const HEADER_RSA: u32 = 268;
/// Signatures, which are replaced: the two above, OpenPGP (rpm 6), PGP and GPG over header and payload; and the room that rpmbuild leaves for
/// them.
const REPLACED: [u32; 6] = [HEADER_DSA, HEADER_RSA, 278, 1002, 1005, 1008];

const TYPE_BINARY: u32 = 7;

/// A field of a header: tag, type, number of values, the values.
struct Field {
    tag: u32,
    kind: u32,
    count: u32,
    value: Vec<u8>,
}

/// What comes before the payload of an rpm.
struct Head {
    lead: [u8; LEAD],
    /// The fields of its signature header.
    fields: Vec<Field>,
    /// What is signed.
    header: Vec<u8>,
}

impl Head {
    /// Reads it; the file stands at the payload then.
    fn read(file: &mut File, path: &Path) -> Result<Self> {
        let bad = |reason| SignError::BadRpm { path: path.to_owned(), reason };
        let mut lead = [0; LEAD];
        fill(file, &mut lead, path)?;
        if !lead.starts_with(&LEAD_MAGIC) || !matches!(lead[4], 3 | 4) {
            return Err(bad("it does not begin with the lead of an rpm of version 3 or 4"));
        }
        let old = read_header(file, SIGNATURE_LIMITS, path)?;
        // The signature header is padded to a multiple of eight.
        let mut padding = [0; 8];
        fill(file, &mut padding[..old.len().next_multiple_of(8) - old.len()], path)?;
        let header = read_header(file, HEADER_LIMITS, path)?;
        let fields = fields(&old).ok_or_else(|| bad("its signature header is damaged"))?;
        Ok(Self { lead, fields, header })
    }
}

/// Which of the certificates has signed the header of the rpm at `path`, by its fingerprint; `None` if none of them has, with a signature that
/// counts ([`verify_detached`]).
pub fn rpm_signer(path: &Path, certificates: &[Certificate]) -> Result<Option<String>> {
    let mut file = open_regular(path).at("read", path)?;
    let Head { fields, header, .. } = Head::read(&mut file, path)?;
    let mut signatures = fields.iter().filter(|field| [HEADER_DSA, HEADER_RSA].contains(&field.tag));
    Ok(signatures.find_map(|signature| {
        let by = verify_detached(certificates, &header, &signature.value).ok()?;
        Some(by.fingerprint.clone())
    }))
}

/// Copies the rpm at `path` to `out` with what `signer` makes of its header.
pub(super) fn sign(path: &Path, out: &Path, signer: impl FnOnce(&[u8]) -> Result<Signature>) -> Result<()> {
    let mut file = open_regular(path).at("read", path)?;
    let bad = |reason| SignError::BadRpm { path: path.to_owned(), reason };
    let Head { lead, mut fields, header } = Head::read(&mut file, path)?;
    if !fields.iter().any(|field| field.tag == 273) {
        return Err(bad("it has no SHA-256 of its header, as rpm has made it since 4.14"));
    }
    let signature = signer(&header)?;
    let mut packet = Vec::new();
    signature.to_writer_with_header(&mut packet).map_err(|error| SignError::BadSignature {
        signer: "the encoder".to_owned(),
        reason: error.to_string(),
    })?;
    let is_rsa = signature.config().is_some_and(|config| config.pub_alg == PublicKeyAlgorithm::RSA);
    fields.retain(|field| !REPLACED.contains(&field.tag));
    fields.push(Field {
        tag: if is_rsa { HEADER_RSA } else { HEADER_DSA },
        kind: TYPE_BINARY,
        count: u32::try_from(packet.len()).map_err(|_| bad("its signature is too long"))?,
        value: packet,
    });
    let new = encode(fields).ok_or_else(|| bad("its signature header is too long"))?;

    let mut write = || -> io::Result<()> {
        let mut to = File::create(out)?;
        to.write_all(&lead)?;
        to.write_all(&new)?;
        to.write_all(&[0; 8][..new.len().next_multiple_of(8) - new.len()])?;
        to.write_all(&header)?;
        io::copy(&mut file, &mut to)?;
        to.sync_all()
    };
    Ok(write().at("write", out)?)
}

fn fill(file: &mut File, bytes: &mut [u8], path: &Path) -> Result<()> {
    match file.read_exact(bytes) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(SignError::BadRpm { path: path.to_owned(), reason: "it ends before its payload" })
        }
        result => Ok(result.at("read", path)?),
    }
}

/// A header as it stands in the file, of which rpm would read that much.
fn read_header(file: &mut File, (most_fields, most_bytes): (usize, usize), path: &Path) -> Result<Vec<u8>> {
    let bad = |reason| SignError::BadRpm { path: path.to_owned(), reason };
    let mut header = vec![0; 16];
    fill(file, &mut header, path)?;
    if !header.starts_with(&MAGIC) {
        return Err(bad("a header does not begin as one"));
    }
    let (count, size) = (number(&header, 8).unwrap_or(u32::MAX), number(&header, 12).unwrap_or(u32::MAX));
    let (count, size) = (count as usize, size as usize);
    if count == 0 || count > most_fields || size > most_bytes {
        return Err(bad("a header is longer than rpm allows"));
    }
    header.resize(16 + count * 16 + size, 0);
    fill(file, &mut header[16..], path)?;
    Ok(header)
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// The fields of a header but for its region; `None` if it is damaged.
fn fields(header: &[u8]) -> Option<Vec<Field>> {
    let count = number(header, 8)? as usize;
    let values = header.get(16 + count * 16..)?;
    let mut fields = Vec::new();
    for at in (16..16 + count * 16).step_by(16) {
        let (tag, kind) = (number(header, at)?, number(header, at + 4)?);
        let (offset, count) = (number(header, at + 8)? as usize, number(header, at + 12)?);
        if tag == REGION {
            continue;
        }
        let rest = values.get(offset..)?;
        let length = match size(kind)? {
            0 => {
                let mut ends = rest.iter().enumerate().filter(|(_, byte)| **byte == 0).map(|(at, _)| at + 1);
                ends.nth(usize::try_from(count).ok()?.checked_sub(1)?)?
            }
            bytes => bytes.checked_mul(count as usize)?,
        };
        fields.push(Field { tag, kind, count, value: rest.get(..length)?.to_vec() });
    }
    Some(fields)
}

/// Bytes of one value of a type (lib/rpmtag.h); 0 for strings, which end with a zero byte.
fn size(kind: u32) -> Option<usize> {
    match kind {
        1 | 2 | 7 => Some(1),
        3 => Some(2),
        4 => Some(4),
        5 => Some(8),
        6 | 8 | 9 => Some(0),
        _ => None,
    }
}

/// A header whose fields are all in one region, in the order of their tags: as rpm itself writes it (headerExport).
fn encode(mut fields: Vec<Field>) -> Option<Vec<u8>> {
    fields.sort_by_key(|field| field.tag);
    let count = u32::try_from(fields.len() + 1).ok()?;
    let (mut index, mut values) = (Vec::new(), Vec::new());
    for field in &fields {
        values.resize(values.len().next_multiple_of(size(field.kind)?.max(1)), 0);
        let offset = u32::try_from(values.len()).ok()?;
        for part in [field.tag, field.kind, offset, field.count] {
            index.extend(part.to_be_bytes());
        }
        values.extend_from_slice(&field.value);
    }
    let trailer_at = u32::try_from(values.len()).ok()?;
    let back = (count * 16).wrapping_neg();
    for part in [REGION, TYPE_BINARY, back, 16] {
        values.extend(part.to_be_bytes());
    }
    let mut header = MAGIC.to_vec();
    for part in [count, u32::try_from(values.len()).ok()?, REGION, TYPE_BINARY, trailer_at, 16] {
        header.extend(part.to_be_bytes());
    }
    header.extend(index);
    header.extend(values);
    let fits = count as usize <= SIGNATURE_LIMITS.0 && header.len() <= SIGNATURE_LIMITS.1;
    fits.then_some(header)
}
