//! dpkg's order (lib/dpkg/version.c; deb-version(7), Debian Policy 5.6.12).

use std::cmp::Ordering;

use super::{by_number, take};

/// `[epoch:]upstream[-revision]`
#[derive(Debug)]
pub(super) struct Version<'t> {
    epoch: u32,
    upstream: &'t str,
    revision: &'t str,
}

impl<'t> Version<'t> {
    pub fn parse(text: &'t str) -> Result<Self, &'static str> {
        let (epoch, rest) = match text.split_once(':') {
            Some((epoch, rest)) => {
                let digits = !epoch.is_empty() && epoch.bytes().all(|byte| byte.is_ascii_digit());
                let epoch = epoch.parse::<u32>().ok().filter(|epoch| digits && *epoch <= i32::MAX as u32);
                (epoch.ok_or("its epoch is no number, or too large")?, rest)
            }
            None => (0, text),
        };
        let (upstream, revision) = match rest.rsplit_once('-') {
            Some((_, "")) => return Err("its revision is empty"),
            Some(parts) => parts,
            None => (rest, ""),
        };
        let allowed = |text: &str, also: &[u8]| {
            text.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b".+~".contains(&byte) || also.contains(&byte))
        };
        if !upstream.starts_with(|c: char| c.is_ascii_digit()) {
            return Err("it does not start with a digit");
        }
        if !allowed(upstream, b"-:") || !allowed(revision, b"") {
            return Err("it holds a character that none can have");
        }
        Ok(Self { epoch, upstream, revision })
    }

    /// A lower epoch, upstream version or revision is lower; a missing revision is as `0`.
    pub fn cmp(&self, other: &Self) -> Ordering {
        let epoch = self.epoch.cmp(&other.epoch);
        epoch
            .then_with(|| part(self.upstream.as_bytes(), other.upstream.as_bytes()))
            .then_with(|| part(self.revision.as_bytes(), other.revision.as_bytes()))
    }
}

/// The order of a character that is no digit: `~` before the end, the end before letters, letters before all others.
fn weight(byte: Option<&u8>) -> u32 {
    match byte {
        Some(b'~') => 0,
        None => 1,
        Some(byte) if byte.is_ascii_digit() => 1,
        Some(byte) if byte.is_ascii_alphabetic() => 2 + u32::from(*byte),
        Some(byte) => 2 + 256 + u32::from(*byte),
    }
}

fn part(mut a: &[u8], mut b: &[u8]) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        let (text_a, text_b) =
            (take(&mut a, |byte| !byte.is_ascii_digit()), take(&mut b, |byte| !byte.is_ascii_digit()));
        for index in 0..text_a.len().max(text_b.len()) {
            let order = weight(text_a.get(index)).cmp(&weight(text_b.get(index)));
            if order.is_ne() {
                return order;
            }
        }
        let (digits_a, digits_b) =
            (take(&mut a, |byte| byte.is_ascii_digit()), take(&mut b, |byte| byte.is_ascii_digit()));
        let order = by_number(digits_a, digits_b);
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}
