use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::control;
use super::release::{Release, signed_text};
use super::stanza::{Key, Stanza};
use crate::model::Digest;
use crate::publish::blocks::Block;
use crate::publish::history::{FileOf, Generation};
use crate::publish::place::{Place, Stamp};
use crate::publish::{Channel, Context, PublishError, Result, unpacked};
use crate::sign::verify_clearsigned;

/// The largest index file that is read, bytes.
const MAX_INDEX: u64 = 1 << 30;

/// The index file of a suite that holds its [`State`].
pub(super) const STATE: &str = "packhold.json";

/// The forms of `Packages`, by what is added to the name.
pub(super) const FORMS: [&str; 4] = ["", ".gz", ".xz", ".zst"];

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
}

impl Suite {
    /// Reads what is published in `dists/NAME`; nothing is an empty suite.
    pub(super) async fn with_state(place: &dyn Place, name: &str) -> Result<Self> {
        let mut suite = Self::head(place, name).await?;
        suite.read_state(place).await?;
        Ok(suite)
    }

    /// As [`Suite::with_state`], the anchor alone.
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

    /// Component and architecture of every index that it names.
    pub(super) fn indexes(&self) -> BTreeSet<(String, String)> {
        indexes(&self.release.files)
    }

    /// Its package files.
    pub(super) async fn packages(&self, place: &dyn Place) -> Result<Packages> {
        self.packages_of(place, &self.release.files).await
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
            let found = place.content(&key, MAX_INDEX).await?;
            if let Some(bytes) = found.filter(|bytes| Digest::of(bytes) == file.digest) {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    /// An index file of this state by its name; `None` where it is not named, or not there in that form.
    pub(super) async fn named(&self, place: &dyn Place, name: &str) -> Result<Option<Vec<u8>>> {
        match self.release.files.get(name) {
            Some(file) => self.index(place, name, *file).await,
            None => Ok(None),
        }
    }

    /// An index file unpacked, in whatever form there is one.
    pub(super) async fn unpacked(
        &self,
        place: &dyn Place,
        files: &BTreeMap<String, FileOf>,
        name: &str,
    ) -> Result<String> {
        for form in FORMS {
            let name = format!("{name}{form}");
            let Some(file) = files.get(&name) else { continue };
            if let Some(bytes) = self.index(place, &name, *file).await? {
                return unpacked(&format!("{}/{name}", self.folder), &bytes, MAX_INDEX);
            }
        }
        let reason = "it is named in Release, and is not there as that says".to_owned();
        Err(PublishError::Foreign { key: format!("{}/{name}", self.folder), reason })
    }

    /// The package files that `files` of this suite name.
    pub(super) async fn packages_of(
        &self,
        place: &dyn Place,
        files: &BTreeMap<String, FileOf>,
    ) -> Result<Packages> {
        let mut packages = Packages::new();
        for (component, architecture) in indexes(files) {
            let name = packages_name(&component, &architecture);
            let text = self.unpacked(place, files, &name).await?;
            let key = format!("{}/{name}", self.folder);
            let stanzas = Stanza::all(&text).map_err(|reason| PublishError::Foreign { key, reason })?;
            let known = packages.entry(component).or_default();
            known.extend(stanzas.into_iter().map(|stanza| (stanza.key(), stanza)));
        }
        Ok(packages)
    }

    /// The name of its folder.
    pub(super) fn name(&self) -> &str {
        self.folder.trim_start_matches("dists/")
    }
}

/// The name of an index.
pub(super) fn packages_name(component: &str, architecture: &str) -> String {
    format!("{component}/binary-{architecture}/Packages")
}

/// Component and architecture of every index among these files.
fn indexes(files: &BTreeMap<String, FileOf>) -> BTreeSet<(String, String)> {
    let of = |name: &String| {
        let (component, last) = name.split_once("/Packages")?.0.rsplit_once('/')?;
        Some((component.to_owned(), last.strip_prefix("binary-")?.to_owned()))
    };
    files.keys().filter_map(of).collect()
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
