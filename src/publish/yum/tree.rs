use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::metadata::{self, Data, Entry, Key};
use crate::model::Digest;
use crate::publish::blocks::Block;
use crate::publish::history::{FileOf, Generation};
use crate::publish::place::{Place, Stamp};
use crate::publish::{Channel, PublishError, Result, unpacked};

/// The largest metadata file that is read, bytes.
pub(super) const MAX_INDEX: u64 = 1 << 30;

/// The `data` type of the [`State`], which clients pass over.
pub(super) const STATE: &str = "packhold";

/// The files that Packhold writes: `data` type and root element.
pub(super) const FILES: [(&str, &str); 3] =
    [("primary", "metadata"), ("filelists", "filelists"), ("other", "otherdata")];

/// `data` types that say the same in another form; they would be out of date.
const DERIVED: [&str; 10] = [
    "primary_db",
    "filelists_db",
    "other_db",
    "primary_zck",
    "filelists_zck",
    "other_zck",
    "filelists-ext",
    "filelists-ext_zck",
    "prestodelta",
    STATE,
];

/// What the next publisher has to know and the metadata does not tell; one of the files that `repomd.xml` names.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) format: u32,
    pub(super) channel: Channel,
    pub(super) distro: String,
    pub(super) current: Generation,
    pub(super) earlier: Vec<Generation>,
    /// The blocks of each file, by its `data` type.
    pub(super) blocks: BTreeMap<String, Vec<Block>>,
    /// The fingerprints of the keys that have signed packages, by the digests of these.
    #[serde(default)]
    pub(super) signers: BTreeMap<Digest, String>,
}

/// A tree as it is published.
pub(super) struct Tree {
    pub(super) folder: String,
    pub(super) stamp: Option<Stamp>,
    /// The anchor as it is.
    pub(super) anchor: Vec<u8>,
    pub(super) data: Vec<Data>,
    pub(super) state: Option<State>,
}

impl Tree {
    /// Reads the anchor and the state of what is published in a folder; nothing is an empty tree.
    pub(super) async fn head(place: &dyn Place, folder: &str) -> Result<Self> {
        let mut tree = Self {
            folder: folder.to_owned(),
            stamp: None,
            anchor: Vec::new(),
            data: Vec::new(),
            state: None,
        };
        let key = format!("{folder}/repodata/repomd.xml");
        let Some(found) = place.get(&key, MAX_INDEX).await? else { return Ok(tree) };
        let foreign = |reason: String| PublishError::Foreign { key: key.clone(), reason };
        let text = std::str::from_utf8(&found.bytes).map_err(|error| foreign(error.to_string()))?;
        tree.data = metadata::data(text).map_err(foreign)?;
        (tree.stamp, tree.anchor) = (Some(found.stamp), found.bytes);
        if let Some(data) = tree.data.iter().find(|data| data.kind == STATE).cloned() {
            let bytes = tree.read(place, &data.href, data.file).await?;
            let state = serde_json::from_slice::<State>(&bytes).ok().filter(|state| state.format == 1);
            tree.state = Some(state.ok_or_else(|| PublishError::Foreign {
                key: format!("{folder}/{}", data.href),
                reason: "it is of a form that this version does not know".to_owned(),
            })?);
        }
        Ok(tree)
    }

    /// A metadata file of this state.
    pub(super) async fn read(&self, place: &dyn Place, href: &str, file: FileOf) -> Result<Vec<u8>> {
        let key = format!("{}/{href}", self.folder);
        let found = place.content(&key, MAX_INDEX).await?;
        match found.filter(|bytes| Digest::of(bytes) == file.digest) {
            Some(bytes) => Ok(bytes),
            None => Err(PublishError::Foreign { key, reason: "it is not what repomd.xml says".to_owned() }),
        }
    }

    async fn unpacked(&self, place: &dyn Place, href: &str, file: FileOf) -> Result<String> {
        let bytes = self.read(place, href, file).await?;
        unpacked(&format!("{}/{href}", self.folder), &bytes, MAX_INDEX)
    }

    /// The text of the metadata file of this kind, empty if there is none.
    pub(super) async fn text(&self, place: &dyn Place, kind: &str) -> Result<String> {
        match self.data.iter().find(|data| data.kind == kind) {
            Some(data) => self.unpacked(place, &data.href, data.file).await,
            None => Ok(String::new()),
        }
    }

    /// Its earlier states.
    pub(super) fn earlier(&self) -> Vec<Generation> {
        self.state.iter().flat_map(|state| &state.earlier).cloned().collect()
    }

    /// All its packages.
    pub(super) async fn entries(&self, place: &dyn Place) -> Result<BTreeMap<Key, Entry>> {
        let named = |data: &Data| (data.kind.clone(), (data.href.clone(), data.file));
        self.entries_of(place, &self.data.iter().map(named).collect()).await
    }

    async fn entries_of(
        &self,
        place: &dyn Place,
        files: &BTreeMap<String, (String, FileOf)>,
    ) -> Result<BTreeMap<Key, Entry>> {
        let mut texts = Vec::new();
        for (kind, _) in FILES {
            let key = format!("{}/repodata/repomd.xml", self.folder);
            let missing = || PublishError::Foreign { key, reason: format!("it names no {kind}") };
            let (href, file) = files.get(kind).ok_or_else(missing)?;
            texts.push(self.unpacked(place, href, *file).await?);
        }
        let entries = metadata::entries(&texts[0], &texts[1], &texts[2]);
        let key = format!("{}/repodata", self.folder);
        let entries = entries.map_err(|reason| PublishError::Foreign { key, reason })?;
        let known = self.state.as_ref().map(|state| &state.signers);
        let signer = |entry: &Entry| known.and_then(|known| known.get(&entry.digest)).cloned();
        let entries = entries.into_iter().map(|entry| Entry { signer: signer(&entry), ..entry });
        Ok(entries.map(|entry| (entry.key(), entry)).collect())
    }

    /// The packages of an earlier state.
    pub(super) async fn entries_before(
        &self,
        place: &dyn Place,
        state: &Generation,
    ) -> Result<BTreeMap<Key, Entry>> {
        let kind = |href: &str| FILES.iter().find(|(kind, _)| href.ends_with(&format!("-{kind}.xml.gz")));
        let files = state
            .files
            .iter()
            .filter_map(|(href, file)| Some((kind(href)?.0.to_owned(), (href.clone(), *file))));
        self.entries_of(place, &files.collect()).await
    }

    /// The metadata files that a state of this tree names, by key.
    pub(super) fn keys_of<'a>(&'a self, files: impl IntoIterator<Item = &'a String>) -> BTreeSet<String> {
        files.into_iter().map(|href| format!("{}/{href}", self.folder)).collect()
    }

    /// The metadata files of the current state.
    pub(super) fn current(&self) -> BTreeSet<String> {
        self.keys_of(self.data.iter().map(|data| &data.href))
    }
}

impl Data {
    /// Whether it is passed on as it is: a file that Packhold does not write and that stays true.
    pub(super) fn is_kept(&self) -> bool {
        !FILES.iter().any(|(file, _)| *file == self.kind) && !DERIVED.contains(&self.kind.as_str())
    }
}
