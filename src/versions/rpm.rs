//! rpm's order (rpmio/rpmvercmp.c; rpm-version(7)).

use std::cmp::Ordering;

use super::{by_number, take};

/// `[epoch:]version[-release]`
#[derive(Debug)]
pub(super) struct Version<'t> {
    epoch: u32,
    version: &'t str,
    release: &'t str,
}

impl<'t> Version<'t> {
    pub fn parse(text: &'t str) -> Result<Self, &'static str> {
        let (epoch, rest) = match text.split_once(':') {
            Some((epoch, rest)) if epoch.bytes().all(|byte| byte.is_ascii_digit()) => {
                (epoch.parse().map_err(|_| "its epoch is no number, or too large")?, rest)
            }
            Some(_) => return Err("its epoch is no number, or too large"),
            None => (0, text),
        };
        let (version, release) = rest.rsplit_once('-').unwrap_or((rest, ""));
        if version.is_empty() || (release.is_empty() && rest.contains('-')) {
            return Err("its version or release is empty");
        }
        let allowed =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+~^".contains(&byte));
        if !allowed(version) || !allowed(release) {
            return Err("it holds a character that none can have");
        }
        Ok(Self { epoch, version, release })
    }

    /// A lower epoch, version or release is lower; a missing epoch is 0.
    pub fn cmp(&self, other: &Self) -> Ordering {
        let epoch = self.epoch.cmp(&other.epoch);
        epoch
            .then_with(|| part(self.version.as_bytes(), other.version.as_bytes()))
            .then_with(|| part(self.release.as_bytes(), other.release.as_bytes()))
    }
}

fn part(mut a: &[u8], mut b: &[u8]) -> Ordering {
    loop {
        let separator = |byte: u8| !byte.is_ascii_alphanumeric() && byte != b'~' && byte != b'^';
        take(&mut a, separator);
        take(&mut b, separator);
        // A tilde sorts before everything, the end included.
        match (a.split_first(), b.split_first()) {
            (Some((b'~', rest_a)), Some((b'~', rest_b))) => {
                (a, b) = (rest_a, rest_b);
                continue;
            }
            (Some((b'~', _)), _) => return Ordering::Less,
            (_, Some((b'~', _))) => return Ordering::Greater,
            // A caret sorts after the end, and before everything else.
            (Some((b'^', rest_a)), Some((b'^', rest_b))) => {
                (a, b) = (rest_a, rest_b);
                continue;
            }
            (Some((b'^', _)), other) => {
                return if other.is_none() { Ordering::Greater } else { Ordering::Less };
            }
            (other, Some((b'^', _))) => {
                return if other.is_none() { Ordering::Less } else { Ordering::Greater };
            }
            (None, None) => return Ordering::Equal,
            (None, _) => return Ordering::Less,
            (_, None) => return Ordering::Greater,
            _ => {}
        }
        let digits = a[0].is_ascii_digit();
        let wanted = |byte: u8| match digits {
            true => byte.is_ascii_digit(),
            false => byte.is_ascii_alphabetic(),
        };
        let (own, other) = (take(&mut a, wanted), take(&mut b, wanted));
        // A number is above a word.
        let order = match (other.is_empty(), digits) {
            (true, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, true) => by_number(own, other),
            (false, false) => own.cmp(other),
        };
        if order.is_ne() {
            return order;
        }
    }
}
