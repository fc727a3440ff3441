//! Whether one version of a package is an upgrade of another: the orders of dpkg and rpm, and the guard that keeps users from getting
//! something that is none. Pure functions; no tool of a distro is needed.

mod deb;
mod guard;
mod rpm;

use std::cmp::Ordering;

pub use guard::{Candidate, GuardError, Known, Place, Verdict, check};

use crate::model::Format;

/// A text that is no version of its format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{version}` is no version of a {format} package: {reason}")]
pub struct BadVersion {
    /// The text.
    pub version: String,
    /// Of which format it should be.
    pub format: Format,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// The order of two whole versions, epoch and revision or release included: `1:2.0-1` (deb-version(7)), `1:2.0-1.el9` (rpm-version(7)).
pub fn compare(format: Format, a: &str, b: &str) -> Result<Ordering, BadVersion> {
    let bad = |version: &str, reason| BadVersion { version: version.to_owned(), format, reason };
    match format {
        Format::Deb => {
            let one = deb::Version::parse(a).map_err(|reason| bad(a, reason))?;
            Ok(one.cmp(&deb::Version::parse(b).map_err(|reason| bad(b, reason))?))
        }
        Format::Rpm => {
            let one = rpm::Version::parse(a).map_err(|reason| bad(a, reason))?;
            Ok(one.cmp(&rpm::Version::parse(b).map_err(|reason| bad(b, reason))?))
        }
    }
}

/// Numbers of any length, by their digits.
fn by_number(a: &[u8], b: &[u8]) -> Ordering {
    let significant =
        |digits: &[u8]| -> Vec<u8> { digits.iter().copied().skip_while(|digit| *digit == b'0').collect() };
    let (a, b) = (significant(a), significant(b));
    a.len().cmp(&b.len()).then_with(|| a.cmp(&b))
}

/// Takes the bytes at the start that are `wanted`.
fn take<'t>(rest: &mut &'t [u8], wanted: impl Fn(u8) -> bool) -> &'t [u8] {
    let end = rest.iter().position(|byte| !wanted(*byte)).unwrap_or(rest.len());
    let (taken, after) = rest.split_at(end);
    *rest = after;
    taken
}
