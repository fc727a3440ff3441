use std::fmt;

use serde::{Deserialize, Serialize};

use super::{PublishError, Result};

/// A word of which paths are made: what Debian Policy 5.6.1 allows in package names, capital letters and underscores as
/// well (rpm packages have them). It begins with a letter or digit, and so is never `.`, `..` or hidden.
pub(super) fn is_word(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '~' | '-' | '_' | '^');
    name.len() <= 200 && name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(allowed)
}

/// `name` if it is a word that may stand in a path; `what` is what it names.
pub(super) fn word(what: &'static str, name: &str) -> Result<String> {
    match is_word(name) {
        true => Ok(name.to_owned()),
        false => Err(PublishError::Name { what, name: name.to_owned() }),
    }
}

/// How tested something is that users may choose to get: `snapshot`, `testing`, `stable`, or a name of one's own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Channel(String);

impl Channel {
    /// A channel of this name: lower-case letters and digits.
    pub fn new(name: &str) -> Result<Self> {
        let fine = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        match fine && is_word(name) && name.len() <= 40 {
            true => Ok(Self(name.to_owned())),
            false => Err(PublishError::Name { what: "channel", name: name.to_owned() }),
        }
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The apt suite of a distro release in this channel: the release's own name for `stable`, else `bookworm-testing`, as
    /// repositories of vendors beside Debian do (PostgreSQL's `bookworm-pgdg-testing`, Debian's `bookworm-backports`).
    pub(super) fn suite(&self, distro: &str) -> String {
        match self.0.as_str() {
            "stable" => distro.to_owned(),
            other => format!("{distro}-{other}"),
        }
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
