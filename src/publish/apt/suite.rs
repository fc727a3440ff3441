use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::control;
use super::release::{Release, signed_text};
use super::stanza::Stanza;
use crate::model::{Digest, Format};
use crate::publish::blocks::Block;
use crate::publish::history::{FileOf, Generation};
use crate::publish::place::{Place, Stamp};
use crate::publish::{Channel, Context, PublishError, Result, unpacked};
use crate::sign::verify_clearsigned;
use crate::versions::{Candidate, compare};

/// The largest index file that is read, bytes.
const MAX_INDEX: u64 = 1 << 30;

/// The index file of a suite that holds its [`State`].
pub(super) const STATE: &str = "packhold.json";

/// Package, architecture, version.
pub(super) type Key = (String, String, String);

/// Component → its package files.
pub(super) type Packages = BTreeMap<String, BTreeMap<Key, Stanza>>;

/// What the next publisher has to know and `Packages` does not tell. It is one of the suite's index files, so that it is signed and
/// switched with them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct State {
    /// The version of this form.
    pub(super) format: u32,
    pub(super) channel: Channel,
    pub(super) distro: String,
    pub(super) current: Generation,
    pub(super) earlier: Vec<Generation>,
    /// The blocks of each index file, by its name without compression.
    pub(super) blocks: BTreeMap<String, Vec<Block>>,
}

/// A suite as it is published.
pub(super) struct Suite {
    /// Its folder.
    pub(super) folder: String,
    /// What its anchor is: `InRelease`, or `Release` where it is not signed.
    pub(super) signed: bool,
    pub(super) stamp: Option<Stamp>,
    /// The anchor as it is.
    document: String,
    /// The text of `Release`.
    pub(super) text: String,
    pub(super) release: Release,
    /// `None` where another program wrote it, or nobody yet.
    pub(super) state: Option<State>,
    pub(super) packages: Packages,
    pub(super) added: Vec<(String, Stanza)>,
    pub(super) removed: Vec<(String, Stanza)>,
}

impl Suite {
    /// Reads what is published in `dists/NAME`; nothing is an empty suite.
    pub(super) async fn load(place: &dyn Place, name: &str) -> Result<Self> {
        let mut suite = Self::head(place, name).await?;
        suite.read_state(place).await?;
        suite.packages = suite.packages_of(place, &suite.release.files).await?;
        Ok(suite)
    }

    /// As [`Suite::load`], with the state and without the packages.
    pub(super) async fn with_state(place: &dyn Place, name: &str) -> Result<Self> {
        let mut suite = Self::head(place, name).await?;
        suite.read_state(place).await?;
        Ok(suite)
    }

    /// As [`Suite::load`], the anchor alone.
    pub(super) async fn head(place: &dyn Place, name: &str) -> Result<Self> {
        let folder = format!("dists/{name}");
        let mut suite = Self {
            folder: folder.clone(),
            signed: false,
            stamp: None,
            document: String::new(),
            text: String::new(),
            release: Release::default(),
            state: None,
            packages: Packages::new(),
            added: Vec::new(),
            removed: Vec::new(),
        };
        for (anchor, signed) in [("InRelease", true), ("Release", false)] {
            let key = format!("{folder}/{anchor}");
            let Some(found) = place.get(&key, MAX_INDEX).await? else { continue };
            let foreign = |reason: String| PublishError::Foreign { key: key.clone(), reason };
            let text = String::from_utf8(found.bytes).map_err(|error| foreign(error.to_string()))?;
            suite.text = signed_text(&text).map_err(foreign)?;
            suite.release = Release::parse(&suite.text).map_err(foreign)?;
            (suite.signed, suite.stamp, suite.document) = (signed, Some(found.stamp), text);
            break;
        }
        Ok(suite)
    }

    /// Fails if what is published would be signed again and nobody known has signed it: whoever can write to the place is not yet
    /// one whose packages users should get.
    pub(super) fn trust(&self, context: &Context<'_>) -> Result<()> {
        let Some(signer) = context.signer.filter(|_| self.stamp.is_some() && !context.options.adopt) else {
            return Ok(());
        };
        let anchor = if self.signed { "InRelease" } else { "Release" };
        verify_clearsigned(&signer.certificates()?, &self.document)
            .map(|_| ())
            .map_err(|_| PublishError::Untrusted { key: format!("{}/{anchor}", self.folder) })
    }

    /// Its packages, as the guard knows them.
    pub(super) fn candidates(&self) -> impl Iterator<Item = Candidate> {
        self.packages.values().flat_map(|all| all.values()).map(Stanza::candidate)
    }

    /// Whether less than half of the time is left for which clients rely on it.
    pub(super) fn ages(&self, context: &Context<'_>) -> bool {
        let Some(valid) = context.options.valid_for else { return false };
        let left = self.release.until().map(|until| until.duration_since(context.now));
        left.is_none_or(|left| left < valid / 2)
    }

    async fn read_state(&mut self, place: &dyn Place) -> Result<()> {
        if let Some(file) = self.release.files.get(STATE).copied() {
            let bytes = self.index(place, STATE, file).await?.unwrap_or_default();
            let state = serde_json::from_slice::<State>(&bytes).ok().filter(|state| state.format == 1);
            self.state = Some(state.ok_or_else(|| PublishError::Foreign {
                key: format!("{}/{STATE}", self.folder),
                reason: "it is not there, or of a form that this version does not know".to_owned(),
            })?);
        }
        Ok(())
    }

    /// An index file, wherever it is kept; `None` where it is not there in that form.
    pub(super) async fn index(&self, place: &dyn Place, name: &str, file: FileOf) -> Result<Option<Vec<u8>>> {
        for key in [by_hash(&self.folder, name, &file.digest), format!("{}/{name}", self.folder)] {
            if let Some(found) = place.get(&key, MAX_INDEX).await?
                && Digest::of(&found.bytes) == file.digest
            {
                return Ok(Some(found.bytes));
            }
        }
        Ok(None)
    }

    /// An index file unpacked, in whatever form there is one.
    pub(super) async fn unpacked(
        &self,
        place: &dyn Place,
        files: &BTreeMap<String, FileOf>,
        name: &str,
    ) -> Result<Option<String>> {
        for form in ["", ".gz", ".xz", ".zst"] {
            let name = format!("{name}{form}");
            let Some(file) = files.get(&name) else { continue };
            if let Some(bytes) = self.index(place, &name, *file).await? {
                return unpacked(&format!("{}/{name}", self.folder), bytes, MAX_INDEX).map(Some);
            }
        }
        Ok(None)
    }

    /// The package files that `files` of this suite name.
    pub(super) async fn packages_of(
        &self,
        place: &dyn Place,
        files: &BTreeMap<String, FileOf>,
    ) -> Result<Packages> {
        let mut packages = Packages::new();
        let indexes: BTreeSet<&str> =
            files.keys().filter_map(|name| name.split_once("/Packages")).map(|(base, _)| base).collect();
        for base in indexes {
            let Some((component, "binary")) = base
                .rsplit_once('/')
                .and_then(|(component, last)| Some((component, last.split_once('-')?.0)))
            else {
                continue;
            };
            let name = format!("{base}/Packages");
            let key = format!("{}/{name}", self.folder);
            let text = self.unpacked(place, files, &name).await?.ok_or_else(|| PublishError::Foreign {
                key: key.clone(),
                reason: "it is named in Release, and is not there as that says".to_owned(),
            })?;
            let stanzas = Stanza::all(&text).map_err(|reason| PublishError::Foreign { key, reason })?;
            let known = packages.entry(component.to_owned()).or_default();
            known.extend(stanzas.into_iter().map(|stanza| (stanza.key(), stanza)));
        }
        Ok(packages)
    }

    /// Adds a package file. Tells whether it was not there; an error if that version was, with other content.
    pub(super) fn add(&mut self, component: &str, stanza: &Stanza) -> Result<bool> {
        match self.packages.values().find_map(|all| all.get(&stanza.key())) {
            Some(known) if known.digest == stanza.digest => return Ok(false),
            Some(known) => return Err(PublishError::Conflict { path: known.filename.clone() }),
            None => {}
        }
        self.packages.entry(component.to_owned()).or_default().insert(stanza.key(), stanza.clone());
        self.added.push((component.to_owned(), stanza.clone()));
        Ok(true)
    }

    /// Drops all but the newest `keep` versions of the packages that were added.
    pub(super) fn retain(&mut self, keep: usize) {
        let touched: BTreeSet<(String, String, String)> = self
            .added
            .iter()
            .map(|(component, s)| (component.clone(), s.package.clone(), s.architecture.clone()))
            .collect();
        for (component, package, architecture) in touched {
            let Some(all) = self.packages.get_mut(&component) else { continue };
            let mut versions: Vec<Key> =
                all.keys().filter(|(p, a, _)| *p == package && *a == architecture).cloned().collect();
            // What is no version of Debian's is none that anybody would miss.
            versions.sort_by(|a, b| compare(Format::Deb, &b.2, &a.2).unwrap_or(Ordering::Equal));
            for key in versions.into_iter().skip(keep.max(1)) {
                if let Some(stanza) = all.remove(&key) {
                    self.added.retain(|(_, added)| added.filename != stanza.filename);
                    self.removed.push((component.clone(), stanza));
                }
            }
        }
    }

    /// The architectures of which it has indexes: those it had, those of its packages, those that are wanted.
    pub(super) fn architectures(&self, wanted: &[String]) -> BTreeSet<String> {
        let mut all: BTreeSet<String> = wanted.iter().cloned().collect();
        all.extend(self.release.field("Architectures").split_whitespace().map(str::to_owned));
        all.extend(self.packages.values().flat_map(|all| all.keys()).map(|(_, arch, _)| arch.clone()));
        all.remove("all");
        if all.is_empty() {
            // Packages for every architecture have to be in the index of some.
            all.extend(["amd64".to_owned(), "arm64".to_owned()]);
        }
        all
    }

    /// The keys of all its package files.
    pub(super) fn filenames(packages: &Packages) -> BTreeSet<String> {
        packages.values().flat_map(|all| all.values()).map(|stanza| stanza.filename.clone()).collect()
    }
}

impl Stanza {
    pub(super) fn key(&self) -> Key {
        (self.package.clone(), self.architecture.clone(), self.version.clone())
    }

    /// What the guard has to know of it.
    pub(in crate::publish) fn candidate(&self) -> Candidate {
        Candidate {
            format: Format::Deb,
            package: self.package.clone(),
            architecture: self.architecture.clone(),
            version: self.version.clone(),
            digest: self.digest,
        }
    }

    /// Whether it is in the index of an architecture.
    pub(super) fn is_for(&self, architecture: &str) -> bool {
        self.architecture == architecture || self.architecture == "all"
    }
}

/// Where an index file is kept under its digest (DebianRepository/Format, "indices acquisition via hashsums").
pub(super) fn by_hash(folder: &str, name: &str, digest: &Digest) -> String {
    match name.rsplit_once('/') {
        Some((inner, _)) => format!("{folder}/{inner}/by-hash/SHA256/{}", digest.hex()),
        None => format!("{folder}/by-hash/SHA256/{}", digest.hex()),
    }
}

/// The fields of `Release` of which values come from elsewhere.
pub(super) fn release_fields(pairs: Vec<(&str, String)>) -> Vec<control::Field> {
    pairs
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}
