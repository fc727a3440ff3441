use std::collections::BTreeSet;
use std::path::PathBuf;

use super::Channel;

/// A package to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addition {
    /// The file, a `.deb` or an `.rpm`.
    pub path: PathBuf,
    /// The distro release that it is for: `bookworm`, `rocky-9`.
    pub distro: String,
    /// The component of the apt suite: `main`. yum repositories have none.
    pub component: String,
    /// The architectures of the yum trees that a `noarch` package goes to, by rpm's names; others go to that of their own. A tree has the
    /// name that dnf has for `$basearch`.
    pub architectures: Vec<String>,
}

/// What comes into a channel at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// What it is, for the history of the channel: the run, for example.
    pub id: String,
    /// The channel.
    pub channel: Channel,
    /// The packages.
    pub packages: Vec<Addition>,
}

/// What a channel has now that it had not before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// The keys of package files that are offered now.
    pub added: Vec<String>,
    /// The suites and trees that were switched, or looked at and found to offer everything.
    pub indexes: Vec<String>,
    /// What is no upgrade for users and was to be published nevertheless: `agent 1.0-1 for bookworm`.
    pub lowered: Vec<String>,
    /// The fingerprints of the keys that have signed rpms of its trees.
    pub signers: BTreeSet<String>,
    /// rpms that no known key has signed, with their trees: dnf refuses them where it is told to check ([`super::Options::sign_rpms`]).
    pub unsigned: Vec<(String, String)>,
}
