use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::metadata::{self, Data, Entry};
use crate::model::Digest;
use crate::publish::blocks::{self, Block, Forms, Known};
use crate::publish::history::{self, FileOf, Generation};
use crate::publish::place::{Place, Stamp};
use crate::publish::{Channel, Context, PublishError, Result, Site, unpacked};
use crate::support::fs::PathContext;

/// The largest metadata file that is read, bytes.
const MAX_INDEX: u64 = 1 << 30;

/// The `data` type of the [`State`], which clients pass over.
const STATE: &str = "packhold";

/// The files that Packhold writes: `data` type and root element.
const FILES: [(&str, &str); 3] =
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

/// Name, architecture, epoch, version, release.
pub(super) type Key = (String, String, super::package::Evr);

/// What the next publisher has to know and the metadata does not tell; one of the files that `repomd.xml` names.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct State {
    format: u32,
    pub(super) channel: Channel,
    pub(super) distro: String,
    pub(super) current: Generation,
    pub(super) earlier: Vec<Generation>,
    /// The blocks of each file, by its `data` type.
    blocks: BTreeMap<String, Vec<Block>>,
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
    data: Vec<Data>,
    pub(super) state: Option<State>,
    pub(super) entries: BTreeMap<Key, Entry>,
    pub(super) added: Vec<Key>,
    pub(super) removed: Vec<Entry>,
}

/// The next state of a tree.
pub(super) struct Next {
    /// Files to write, by key.
    pub(super) new: Vec<(String, Vec<u8>)>,
    pub(super) repomd: String,
}

impl Tree {
    pub(super) async fn load(place: &dyn Place, folder: &str) -> Result<Self> {
        let mut tree = Self::head(place, folder).await?;
        if tree.stamp.is_some() {
            let files =
                tree.data.iter().map(|data| (data.kind.clone(), (data.href.clone(), data.file))).collect();
            tree.entries = tree.entries_of(place, &files).await?;
        }
        Ok(tree)
    }

    /// As [`Tree::load`], without the packages.
    pub(super) async fn head(place: &dyn Place, folder: &str) -> Result<Self> {
        let mut tree = Self {
            folder: folder.to_owned(),
            stamp: None,
            anchor: Vec::new(),
            data: Vec::new(),
            state: None,
            entries: BTreeMap::new(),
            added: Vec::new(),
            removed: Vec::new(),
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

    async fn read(&self, place: &dyn Place, href: &str, file: FileOf) -> Result<Vec<u8>> {
        let key = format!("{}/{href}", self.folder);
        let found = place.get(&key, MAX_INDEX).await?;
        match found.filter(|found| Digest::of(&found.bytes) == file.digest) {
            Some(found) => Ok(found.bytes),
            None => Err(PublishError::Foreign { key, reason: "it is not what repomd.xml says".to_owned() }),
        }
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
            let bytes = self.read(place, href, *file).await?;
            texts.push(unpacked(&format!("{}/{href}", self.folder), bytes, MAX_INDEX)?);
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

    /// Adds a package file. Tells whether it was not there; an error if that version was, with other content.
    pub(super) fn add(&mut self, entry: &Entry) -> Result<bool> {
        match self.entries.get(&entry.key()) {
            Some(known) if known.digest == entry.digest => Ok(false),
            Some(known) => Err(PublishError::Conflict { path: format!("{}/{}", self.folder, known.href) }),
            None => {
                self.entries.insert(entry.key(), entry.clone());
                self.added.push(entry.key());
                Ok(true)
            }
        }
    }

    /// Takes down who has signed a package.
    pub(super) fn know(&mut self, entry: &Entry, signer: String) {
        if let Some(entry) = self.entries.get_mut(&entry.key()) {
            entry.signer = Some(signer);
        }
    }

    /// Puts another file of the same package in the place of one.
    pub(super) fn replace(&mut self, old: &Entry, new: Entry) {
        self.removed.extend(self.entries.remove(&old.key()));
        self.added.push(new.key());
        self.entries.insert(new.key(), new);
    }

    /// Drops all but the newest `keep` versions of the packages that were added.
    pub(super) fn retain(&mut self, keep: usize) {
        let touched: BTreeSet<(String, String)> =
            self.added.iter().map(|(name, arch, _)| (name.clone(), arch.clone())).collect();
        for (name, arch) in touched {
            let mut versions: Vec<Key> =
                self.entries.keys().filter(|(n, a, _)| *n == name && *a == arch).cloned().collect();
            versions.sort_by(|a, b| b.2.compare(&a.2));
            for key in versions.into_iter().skip(keep.max(1)) {
                self.added.retain(|added| *added != key);
                self.removed.extend(self.entries.remove(&key));
            }
        }
    }

    /// The metadata of what the tree has to hold now. `origin` is the state whose content that is, if it is an
    /// earlier one's.
    pub(super) async fn render(
        &self,
        place: &dyn Place,
        site: &Site,
        context: &Context<'_>,
        origin: Option<&Generation>,
    ) -> Result<Next> {
        let before = self.state.clone();
        let number = before.as_ref().map_or(0, |state| state.current.number) + 1;
        let earliest =
            before.as_ref().and_then(|s| s.current.time.checked_add(jiff::SignedDuration::from_secs(1)).ok());
        let time = earliest.map_or(context.now, |earliest| earliest.max(context.now));
        let mut next = Next { new: Vec::new(), repomd: String::new() };
        let (mut elements, mut files, mut tables) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        for (kind, root) in FILES {
            let packed = self.pack(place, kind, root).await?;
            let of = |bytes: &[u8]| FileOf { digest: Digest::of(bytes), size: bytes.len() as u64 };
            let (file, open) = (of(&packed.gz), of(&packed.plain));
            let href = format!("repodata/{}-{kind}.xml.gz", file.digest.hex());
            elements.push(metadata::data_element(kind, &href, file, open, time.as_second()));
            tables.insert(kind.to_owned(), packed.table);
            files.insert(href.clone(), file);
            if !self.data.iter().any(|data| data.href == href) {
                next.new.push((format!("{}/{href}", self.folder), packed.gz));
            }
        }
        let own = |kind: &str| FILES.iter().any(|(file, _)| *file == kind) || DERIVED.contains(&kind);
        for data in self.data.iter().filter(|data| !own(&data.kind)) {
            elements.push(data.text.clone());
            files.insert(data.href.clone(), data.file);
        }
        let current = Generation {
            number,
            origin: origin.map_or(number, |state| state.origin),
            publication: origin.map_or(context.publication, |state| &state.publication).to_owned(),
            time,
            files,
            dropped: BTreeSet::new(),
        };
        let earlier = before.map(|state| {
            let mut superseded = state.current;
            superseded.dropped =
                self.removed.iter().map(|entry| format!("{}/{}", self.folder, entry.href)).collect();
            history::kept(state.earlier, Some(superseded), time)
        });
        let (channel, distro) = (site.channel.clone(), site.distro.clone());
        let state = State {
            format: 1,
            channel,
            distro,
            current,
            earlier: earlier.unwrap_or_default(),
            blocks: tables,
            signers: self
                .entries
                .values()
                .filter_map(|entry| Some((entry.digest, entry.signer.clone()?)))
                .collect(),
        };
        let bytes = serde_json::to_vec(&state).map_err(std::io::Error::from).at("write", STATE)?;
        let file = FileOf { digest: Digest::of(&bytes), size: bytes.len() as u64 };
        let href = format!("repodata/{}-{STATE}.json", file.digest.hex());
        elements.push(metadata::data_element(STATE, &href, file, file, time.as_second()));
        next.new.push((format!("{}/{href}", self.folder), bytes));
        next.repomd = metadata::repomd(number, &elements);
        Ok(next)
    }

    async fn pack(&self, place: &dyn Place, kind: &str, root: &str) -> Result<blocks::Packed> {
        let text = |entry: &'_ Entry| -> String {
            match kind {
                "primary" => entry.primary.clone(),
                "filelists" => entry.filelists.clone(),
                _ => entry.other.clone(),
            }
        };
        let records: Vec<(String, String)> =
            self.entries.values().map(|entry| (entry.digest.hex(), text(entry))).collect();
        let (start, end) = metadata::frame(root, records.len());
        let mut all = vec![start];
        all.extend(blocks::cut(records.iter().map(|(key, text)| (key.as_str(), text.as_str()))));
        all.push(end);
        let table = self.state.as_ref().and_then(|state| state.blocks.get(kind));
        let mut before = Vec::new();
        if let (Some(_), Some(data)) = (table, self.data.iter().find(|data| data.kind == kind)) {
            before = self.read(place, &data.href, data.file).await?;
        }
        let known = Known::new(table.map(Vec::as_slice).unwrap_or_default(), &before, &[], &[]);
        Ok(blocks::pack(&all, &known, Forms::Gzip).at("compress", kind)?)
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

impl Entry {
    pub(super) fn key(&self) -> Key {
        (self.name.clone(), self.arch.clone(), self.evr.clone())
    }
}
