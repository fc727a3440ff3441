use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The version of a commit, in both formats' spellings. The scheme is described in [`crate::source`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PackageVersion {
    /// What `git describe --tags --long` says of the commit, or an abbreviated commit id where there is no tag.
    pub describe: String,
    /// Upstream version for dpkg (deb-version(7)), without epoch and revision: `1.1.0+3.g1a2b3c4d5e6f`.
    pub deb: String,
    /// Version tag for rpm (rpm-version(7)): `1.1.0^3.g1a2b3c4d5e6f`.
    pub rpm: String,
    /// True when the commit is itself a release (it carries the tag, or the packaging names the version).
    pub release: bool,
    /// Debian's full version where the packaging itself names it, epoch and revision included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deb_full: Option<String>,
}
