use std::collections::{BTreeMap, BTreeSet};

use super::metadata::{self, Entry, Key};
use super::package::Evr;
use super::tree::{FILES, MAX_INDEX, STATE, State, Tree};
use crate::model::Digest;
use crate::publish::blocks::{Files, Forms, Records, Split};
use crate::publish::history::{self, FileOf, Generation};
use crate::publish::place::Place;
use crate::publish::{Context, PublishError, Result, Site, unpacked};
use crate::support::fs::PathContext;
use crate::versions::Candidate;

/// How the files are taken apart, in the order of [`FILES`].
const SPLITS: [Split<Key>; 3] = [metadata::split_primary, metadata::split_list, metadata::split_list];

/// The next state of a tree: what is published, and what changes. Of the metadata only those blocks are taken apart into which that falls.
pub(in crate::publish) struct Draft {
    pub(super) tree: Tree,
    /// In the order of [`FILES`].
    records: [Records<Key>; 3],
    /// How many packages there are.
    count: usize,
    /// The fingerprints of the keys that have signed packages, by the digests of these.
    pub(super) signers: BTreeMap<Digest, String>,
    pub(super) added: Vec<Entry>,
    pub(super) removed: Vec<Entry>,
}

/// The next state of a tree, not published yet.
pub(super) struct Next {
    /// Files to write, by key.
    pub(super) new: Vec<(String, Vec<u8>)>,
    pub(super) repomd: String,
    /// The numbers of the earlier states that it keeps.
    pub(super) kept: BTreeSet<u64>,
}

impl Draft {
    /// That of what is published now.
    pub(super) async fn open(place: &dyn Place, folder: &str) -> Result<Self> {
        let tree = Tree::head(place, folder).await?;
        match tree.stamp.is_some() {
            true => match Self::of_blocks(place, &tree).await? {
                Some((records, count)) => Ok(Self::of(tree, records, count)),
                None => {
                    let entries = tree.entries(place).await?;
                    Ok(Self::whole(tree, entries.into_values()))
                }
            },
            false => Ok(Self::whole(tree, [])),
        }
    }

    /// A tree that is to hold these packages.
    pub(super) fn whole(tree: Tree, entries: impl IntoIterator<Item = Entry>) -> Self {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let of = |at: usize| {
            Records::new(SPLITS[at], entries.iter().map(|entry| (entry.key(), entry.records()[at].clone())))
        };
        let mut draft = Self::of(tree, [of(0), of(1), of(2)], entries.len());
        let known = std::mem::take(&mut draft.signers);
        let signer = |entry: &Entry| Some((entry.digest, known.get(&entry.digest)?.clone()));
        draft.signers = entries.iter().filter_map(signer).collect();
        draft
    }

    fn of(tree: Tree, records: [Records<Key>; 3], count: usize) -> Self {
        let signers = tree.state.as_ref().map(|state| state.signers.clone()).unwrap_or_default();
        Self { tree, records, count, signers, added: Vec::new(), removed: Vec::new() }
    }

    /// The records of files whose blocks are known, and how many packages these have.
    async fn of_blocks(place: &dyn Place, tree: &Tree) -> Result<Option<([Records<Key>; 3], usize)>> {
        let (mut all, mut count) = (Vec::new(), None);
        for ((kind, _), split) in FILES.iter().zip(SPLITS) {
            let table = tree.state.as_ref().and_then(|state| state.blocks.get(*kind));
            let (Some(table), Some(data)) = (table, tree.data.iter().find(|data| data.kind == *kind)) else {
                return Ok(None);
            };
            let gz = tree.read(place, &data.href, data.file).await?;
            let plain = unpacked(&format!("{}/{}", tree.folder, data.href), &gz, MAX_INDEX)?;
            count = count.or_else(|| metadata::packages(&plain));
            all.extend(Records::of(split, Files { plain, gz, ..Files::default() }, table, true).ok());
        }
        let records: Option<[Records<Key>; 3]> = all.try_into().ok();
        Ok(records.zip(count))
    }

    fn broken(&self, reason: String) -> PublishError {
        PublishError::Foreign { key: format!("{}/repodata", self.tree.folder), reason }
    }

    /// The packages of this name, and of this architecture if one is given, without their lists of files and changes.
    pub(super) fn versions(&mut self, name: &str, arch: Option<&str>) -> Result<Vec<Entry>> {
        let evr = Evr(String::new(), String::new(), String::new());
        let first = (name.to_owned(), arch.unwrap_or_default().to_owned(), evr);
        let found = self.records[0].from(&first, |(n, a, _)| n == name && arch.is_none_or(|arch| arch == a));
        let found = found.and_then(|all| all.into_iter().map(|(_, text)| metadata::entry(text)).collect());
        found.map_err(|reason| self.broken(reason))
    }

    /// What is published of these packages.
    pub(super) fn beside(&mut self, new: &[Candidate]) -> Result<Vec<Candidate>> {
        let mut found = Vec::new();
        for name in new.iter().map(|new| new.package.as_str()).collect::<BTreeSet<_>>() {
            found.extend(self.versions(name, None)?.iter().map(Entry::candidate));
        }
        Ok(found)
    }

    /// Packages that nobody is known to have signed, without their lists of files and changes.
    pub(super) fn unsigned(&mut self) -> Result<Vec<Entry>> {
        if self.signers.len() == self.count {
            return Ok(Vec::new());
        }
        let all = self.records[0].all();
        let all = all.and_then(|all| all.into_iter().map(|(_, text)| metadata::entry(text)).collect());
        let mut all: Vec<Entry> = all.map_err(|reason| self.broken(reason))?;
        all.retain(|entry| !self.signers.contains_key(&entry.digest));
        Ok(all)
    }

    /// Adds a package file. Tells whether it was not there; an error if that version was, with other content.
    pub(super) fn add(&mut self, entry: &Entry) -> Result<bool> {
        let known = self.records[0]
            .get(&entry.key())
            .and_then(|text| text.map(|text| metadata::entry(text.to_owned())).transpose());
        match known.map_err(|reason| self.broken(reason))? {
            Some(known) if known.digest == entry.digest => Ok(false),
            Some(known) => {
                Err(PublishError::Conflict { path: format!("{}/{}", self.tree.folder, known.href) })
            }
            None => {
                for (records, record) in self.records.iter_mut().zip(entry.records()) {
                    let inserted = records.insert(entry.key(), record);
                    inserted
                        .map_err(|reason| PublishError::Foreign { key: self.tree.folder.clone(), reason })?;
                }
                self.count += 1;
                self.signers.extend(entry.signer.clone().map(|signer| (entry.digest, signer)));
                self.added.push(entry.clone());
                Ok(true)
            }
        }
    }

    fn remove(&mut self, entry: Entry) -> Result<()> {
        for records in &mut self.records {
            let removed = records.remove(&entry.key());
            removed.map_err(|reason| PublishError::Foreign { key: self.tree.folder.clone(), reason })?;
        }
        self.count -= 1;
        self.signers.remove(&entry.digest);
        self.added.retain(|added| added.key() != entry.key());
        self.removed.push(entry);
        Ok(())
    }

    /// Puts another file of the same package in the place of one.
    pub(super) fn replace(&mut self, old: Entry, new: &Entry) -> Result<()> {
        self.remove(old)?;
        self.add(new).map(drop)
    }

    /// Drops all but the newest `keep` versions of the packages that were added.
    pub(super) fn retain(&mut self, keep: usize) -> Result<()> {
        let touched: BTreeSet<(String, String)> =
            self.added.iter().map(|added| (added.name.clone(), added.arch.clone())).collect();
        for (name, arch) in touched {
            let mut versions = self.versions(&name, Some(&arch))?;
            versions.sort_by(|a, b| b.evr.compare(&a.evr));
            for entry in versions.into_iter().skip(keep.max(1)) {
                self.remove(entry)?;
            }
        }
        Ok(())
    }

    /// The metadata of what the tree has to hold now. `origin` is the state whose content that is, if it is an
    /// earlier one's.
    pub(super) fn render(
        self,
        site: &Site,
        context: &Context<'_>,
        origin: Option<&Generation>,
    ) -> Result<Next> {
        let Self { tree, records, count, signers, removed, .. } = self;
        let before = tree.state;
        let number = before.as_ref().map_or(0, |state| state.current.number) + 1;
        let earliest =
            before.as_ref().and_then(|s| s.current.time.checked_add(jiff::SignedDuration::from_secs(1)).ok());
        let time = earliest.map_or(context.now, |earliest| earliest.max(context.now));
        let mut new = Vec::new();
        let (mut elements, mut files, mut blocks) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        for ((kind, root), records) in FILES.iter().zip(records) {
            let packed =
                records.pack(Forms::GzipAndText, Some(metadata::frame(root, count))).at("compress", kind)?;
            let of = |bytes: &[u8]| FileOf { digest: Digest::of(bytes), size: bytes.len() as u64 };
            let (file, open) = (of(&packed.gz), of(packed.plain.as_bytes()));
            let href = format!("repodata/{}-{kind}.xml.gz", file.digest.hex());
            elements.push(metadata::data_element(kind, &href, file, open, time.as_second()));
            blocks.insert((*kind).to_owned(), packed.table);
            files.insert(href.clone(), file);
            if !tree.data.iter().any(|data| data.href == href) {
                new.push((format!("{}/{href}", tree.folder), packed.gz));
            }
        }
        for data in tree.data.iter().filter(|data| data.is_kept()) {
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
                removed.iter().map(|entry| format!("{}/{}", tree.folder, entry.href)).collect();
            history::kept(state.earlier, Some(superseded), time)
        });
        let earlier = earlier.unwrap_or_default();
        let kept = earlier.iter().map(|generation| generation.number).collect();
        let (channel, distro) = (site.channel.clone(), site.distro.clone());
        let state = State { format: 1, channel, distro, current, earlier, blocks, signers };
        let bytes = serde_json::to_vec(&state).map_err(std::io::Error::from).at("write", STATE)?;
        let file = FileOf { digest: Digest::of(&bytes), size: bytes.len() as u64 };
        let href = format!("repodata/{}-{STATE}.json", file.digest.hex());
        elements.push(metadata::data_element(STATE, &href, file, file, time.as_second()));
        new.push((format!("{}/{href}", tree.folder), bytes));
        Ok(Next { new, repomd: metadata::repomd(number, &elements), kept })
    }
}
