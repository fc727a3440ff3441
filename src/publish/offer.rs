use super::Site;
use super::apt::Stanza;
use super::yum::Entry;
use crate::model::{Digest, Format};

/// A package that a channel offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Its format.
    pub format: Format,
    /// The distro release that it is for.
    pub distro: String,
    /// Its name.
    pub package: String,
    /// Its whole version.
    pub version: String,
    /// Its architecture, as its format names it.
    pub architecture: String,
    /// The digest of its file.
    pub digest: Digest,
}

impl Offer {
    pub(super) fn of_deb(site: &Site, stanza: Stanza) -> Self {
        Self {
            format: Format::Deb,
            distro: site.distro.clone(),
            package: stanza.package,
            version: stanza.version,
            architecture: stanza.architecture,
            digest: stanza.digest,
        }
    }

    pub(super) fn of_rpm(site: &Site, entry: Entry) -> Self {
        Self {
            format: Format::Rpm,
            distro: site.distro.clone(),
            version: entry.version(),
            package: entry.name,
            architecture: entry.arch,
            digest: entry.digest,
        }
    }
}

/// A package that is to be promoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its format.
    pub format: Format,
    /// The distro release that it is for.
    pub distro: String,
    /// Its name.
    pub package: String,
    /// Its whole version.
    pub version: String,
    /// The digest of its file, if that must be so: signatures change those of rpms.
    pub digest: Option<Digest>,
}
