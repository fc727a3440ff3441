use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::{PublishError, Result};

/// What a repository says of itself, and what it keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Who publishes: `Origin` of apt's Release. Without one, a suite keeps what it has: clients refuse a change until they are told.
    pub origin: String,
    /// What it is: `Label` of apt's Release, the name in yum's `.repo` files; as the origin.
    pub label: String,
    /// What both are in a new suite where they are not given.
    pub name: String,
    /// Takes over what is not signed by one of the keys: what another program, or another key, has published.
    pub adopt: bool,
    /// How long clients may rely on what they fetched (`Valid-Until` of apt's Release); for ever by default. A suite is to be
    /// published again before it is over.
    pub valid_for: Option<SignedDuration>,
    /// Architectures that an apt suite offers beside those of its packages, by Debian's names.
    pub architectures: Vec<String>,
    /// How many versions of a package stay in a channel that is published to; all by default.
    pub keep: Option<usize>,
    /// Where it is given, a package that is no upgrade of what a channel has is refused, unless its name is among these. It is asked of the very
    /// state that is replaced.
    pub guard: Option<BTreeSet<String>>,
    /// The address at which users find the place. Where it is known, the repository gets a page that says how to add it.
    pub url: Option<String>,
    /// Whether rpms get a signature of their own, in their headers. Metadata that is signed names them by digest anyway.
    pub sign_rpms: bool,
    /// Whether rpms that are there already and that no known key has signed get one as well: those of another program. Then they are other files.
    pub sign_adopted: bool,
}

impl Options {
    pub(super) fn check(&self) -> Result<()> {
        for (what, name) in [("origin", &self.origin), ("label", &self.label), ("repository", &self.name)] {
            if name.chars().any(char::is_control) || name.trim() != name {
                return Err(PublishError::Name { what, name: name.clone() });
            }
        }
        if let Some(url) = self.url.iter().find(|url| url.chars().any(|c| c.is_control() || c == ' ')) {
            return Err(PublishError::Name { what: "address of a repository", name: url.clone() });
        }
        for name in &self.architectures {
            super::name::word("architecture", name)?;
        }
        Ok(())
    }
}
