//! Checksums and digests, put into an input where it has none that fit: a fuzzer would never find them.

use crate::model::Digest;

/// Digits that stand for the digest of another part: `sha256` of part N is written as N with leading zeros.
const DIGITS: usize = 64;

/// Digits that stand for the size of another part, of which the last two are its number.
const SIZE: &[u8] = b"90000000";

/// Replaces every [`SIZE`] with a number by what `size` gives for it, filled with spaces, so that lengths stay.
pub fn seal_sizes(bytes: &mut [u8], size: impl Fn(usize) -> Option<usize>) {
    let width = SIZE.len() + 2;
    let mut at = 0;
    while let Some(window) = bytes.get(at..at + width) {
        let number = window.strip_prefix(SIZE).and_then(|digits| std::str::from_utf8(digits).ok());
        let number = number.and_then(|digits| usize::from_str_radix(digits, 16).ok());
        if let Some(size) = number.and_then(&size) {
            bytes[at..at + width].copy_from_slice(format!("{size:<width$}").as_bytes());
        }
        at += 1;
    }
}

/// Replaces every run of 64 digits of which only the last two are not zero by what `digest` gives for the number.
pub fn seal_documents(bytes: &mut [u8], digest: impl Fn(usize) -> Option<Digest>) {
    let mut at = 0;
    while let Some(window) = bytes.get(at..at + DIGITS) {
        let number = window[..DIGITS - 2].iter().all(|byte| *byte == b'0').then(|| {
            std::str::from_utf8(&window[DIGITS - 2..])
                .ok()
                .and_then(|text| usize::from_str_radix(text, 16).ok())
        });
        match number.flatten().and_then(&digest) {
            Some(digest) => {
                bytes[at..at + DIGITS].copy_from_slice(digest.hex().as_bytes());
                at += DIGITS;
            }
            None => at += 1,
        }
    }
}

/// Gives every header of a tar the checksum that fits, and tells where the contents lie, in order.
pub fn seal_tar(tar: &mut [u8]) -> Vec<std::ops::Range<usize>> {
    let mut contents = Vec::new();
    let mut at: usize = 0;
    while let Some(block) = tar.get_mut(at..at + 512) {
        if block.iter().all(|byte| *byte == 0) {
            break;
        }
        let mut header = tar::Header::from_byte_slice(block).clone();
        header.set_cksum();
        block.copy_from_slice(header.as_bytes());
        let size = header.entry_size().ok().and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
        let start = at + 512;
        let end = start.saturating_add(size).min(tar.len());
        contents.push(start..end);
        at = end.next_multiple_of(512);
    }
    contents
}
