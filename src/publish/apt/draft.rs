use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::render::names_of;
use super::stanza::{Key, Stanza};
use super::suite::{Packages, Suite, packages_name};
use super::{Pooled, stanza};
use crate::model::Format;
use crate::publish::blocks::{Files, Records};
use crate::publish::place::Place;
use crate::publish::{Context, PublishError, Result};
use crate::versions::{Candidate, compare};

/// The next state of a suite: what is published, and what changes. An index is read when it is asked for, and taken apart where it changes.
pub(in crate::publish) struct Draft {
    pub(super) suite: Suite,
    /// By component and architecture.
    indexes: BTreeMap<(String, String), Index>,
    pub(super) added: Vec<Pooled>,
    pub(super) removed: Vec<Pooled>,
}

/// What a suite has for one architecture in a component.
struct Index {
    records: Records<Key>,
    is_changed: bool,
}

impl Draft {
    /// That of what is published now.
    pub(in crate::publish) async fn open(
        place: &dyn Place,
        name: &str,
        context: &Context<'_>,
    ) -> Result<Self> {
        let draft = Self::of(place, name).await?;
        draft.suite.trust(context)?;
        Ok(draft)
    }

    /// As [`Draft::open`], whoever signed it.
    pub(super) async fn of(place: &dyn Place, name: &str) -> Result<Self> {
        let suite = Suite::with_state(place, name).await?;
        Ok(Self { suite, indexes: BTreeMap::new(), added: Vec::new(), removed: Vec::new() })
    }

    /// The package files of these names.
    pub(super) async fn named(
        &mut self,
        place: &dyn Place,
        packages: &BTreeSet<String>,
    ) -> Result<Vec<Stanza>> {
        if self.suite.state.is_none() {
            let all = self.suite.packages(place).await?.into_values().flat_map(BTreeMap::into_values);
            return Ok(all.filter(|stanza| packages.contains(&stanza.package)).collect());
        }
        let mut found = BTreeMap::new();
        for (component, architecture) in self.names() {
            for package in packages {
                let versions = self.versions(place, &component, &architecture, package).await?;
                found.extend(versions.into_iter().map(|stanza| (stanza.key(), stanza)));
            }
        }
        Ok(found.into_values().collect())
    }

    /// Component and architecture of every index.
    pub(super) fn names(&self) -> BTreeSet<(String, String)> {
        let mut names: BTreeSet<_> = self.indexes.keys().cloned().collect();
        // What another program wrote is in `indexes` as a whole.
        if self.suite.state.is_some() {
            names.extend(self.suite.indexes());
        }
        names
    }

    /// Those in which a package for this architecture is, or one that is beside it.
    fn names_for(&self, of: &str) -> impl Iterator<Item = (String, String)> {
        let names = self.names().into_iter();
        names.filter(move |(_, architecture)| of == "all" || of == architecture)
    }

    fn architectures(&self, component: &str, of: &str) -> Vec<String> {
        let names = self.names_for(of).filter(|(c, _)| c == component);
        names.map(|(_, architecture)| architecture).collect()
    }

    /// What is published and no upgrade may be lower than: every version of these packages that is beside one of them.
    pub(in crate::publish) async fn beside(
        &mut self,
        place: &dyn Place,
        new: &[Candidate],
    ) -> Result<Vec<Candidate>> {
        if self.suite.state.is_none() {
            let packages = self.suite.packages(place).await?;
            return Ok(packages.values().flat_map(|all| all.values()).map(Stanza::candidate).collect());
        }
        let mut found = Vec::new();
        for new in new {
            let names: Vec<_> = self.names_for(&new.architecture).collect();
            for (component, architecture) in names {
                let versions = self.versions(place, &component, &architecture, &new.package).await?;
                found.extend(versions.iter().map(Stanza::candidate));
            }
        }
        Ok(found)
    }

    /// Adds package files; those that are there are passed over. An error if a version is there with other content.
    pub(super) async fn add(
        &mut self,
        place: &dyn Place,
        pooled: &[Pooled],
        context: &Context<'_>,
    ) -> Result<()> {
        self.prepare(place, pooled, context).await?;
        for (component, stanza) in pooled {
            if !self.is_there(place, stanza).await? {
                for architecture in self.architectures(component, &stanza.architecture) {
                    let index = self.index(place, component, &architecture).await?;
                    let added = index.records.insert(stanza.key(), stanza.record());
                    index.is_changed = true;
                    added.map_err(|reason| self.broken(component, &architecture, reason))?;
                }
                self.added.push((component.clone(), stanza.clone()));
            }
        }
        if let Some(keep) = context.options.keep {
            self.retain(place, keep).await?;
        }
        Ok(())
    }

    /// Begins the indexes that are not there yet: for each component one of every architecture, with what is for all of them.
    async fn prepare(&mut self, place: &dyn Place, pooled: &[Pooled], context: &Context<'_>) -> Result<()> {
        let is_ours = self.suite.state.is_some();
        let all = match is_ours {
            true => Packages::new(),
            false => self.suite.packages(place).await?,
        };
        let stanzas =
            || all.values().flat_map(|all| all.values()).chain(pooled.iter().map(|(_, stanza)| stanza));
        let mut architectures: BTreeSet<String> = context.options.architectures.iter().cloned().collect();
        architectures.extend(self.suite.release.field("Architectures").split_whitespace().map(str::to_owned));
        architectures.extend(stanzas().map(|stanza| stanza.architecture.clone()));
        architectures.remove("all");
        if architectures.is_empty() {
            // Packages for every architecture have to be in the index of some.
            architectures.extend(["amd64".to_owned(), "arm64".to_owned()]);
        }
        let there = self.names();
        let mut components: BTreeSet<String> = there.iter().map(|(component, _)| component.clone()).collect();
        components.extend(all.keys().chain(pooled.iter().map(|(component, _)| component)).cloned());
        if components.is_empty() {
            components.insert("main".to_owned());
        }
        for component in components {
            for architecture in &architectures {
                let name = (component.clone(), architecture.clone());
                if there.contains(&name) {
                    continue;
                }
                let of_component = all.get(&component).into_iter().flat_map(|all| all.values());
                let mut stanzas: Vec<Stanza> = of_component.cloned().collect();
                if let Some((_, sibling)) = there.iter().find(|(c, _)| is_ours && *c == component) {
                    stanzas = self.all_of(place, &component, sibling).await?;
                }
                stanzas.retain(|stanza| stanza.is_for(architecture));
                let records = stanzas.iter().map(|stanza| (stanza.key(), stanza.record()));
                let records = Records::new(stanza::split, records);
                self.indexes.insert(name, Index { records, is_changed: true });
            }
        }
        Ok(())
    }

    /// Whether a package file is there, in whatever component.
    async fn is_there(&mut self, place: &dyn Place, stanza: &Stanza) -> Result<bool> {
        let names: Vec<_> = self.names_for(&stanza.architecture).collect();
        for (component, architecture) in names {
            let index = self.index(place, &component, &architecture).await?;
            let known = index.records.get(&stanza.key()).and_then(|text| text.map(Stanza::parse).transpose());
            match known.map_err(|reason| self.broken(&component, &architecture, reason))? {
                Some(known) if known.digest == stanza.digest => return Ok(true),
                Some(known) => return Err(PublishError::Conflict { path: known.filename }),
                None => {}
            }
        }
        Ok(false)
    }

    /// Drops all but the newest `keep` versions of the packages that were added.
    async fn retain(&mut self, place: &dyn Place, keep: usize) -> Result<()> {
        let of = |(component, s): &Pooled| (component.clone(), s.package.clone(), s.architecture.clone());
        let touched: BTreeSet<(String, String, String)> = self.added.iter().map(of).collect();
        for (component, package, of) in touched {
            let architectures = self.architectures(&component, &of);
            let Some(first) = architectures.first() else { continue };
            let mut versions = self.versions(place, &component, first, &package).await?;
            versions.retain(|stanza| stanza.architecture == of);
            // What is no version of Debian's is none that anybody would miss.
            versions.sort_by(|a, b| compare(Format::Deb, &b.version, &a.version).unwrap_or(Ordering::Equal));
            for stanza in versions.into_iter().skip(keep.max(1)) {
                for architecture in &architectures {
                    let index = self.index(place, &component, architecture).await?;
                    let removed = index.records.remove(&stanza.key());
                    index.is_changed = true;
                    removed.map_err(|reason| self.broken(&component, architecture, reason))?;
                }
                self.added.retain(|(_, added)| added.filename != stanza.filename);
                self.removed.push((component.clone(), stanza));
            }
        }
        Ok(())
    }

    /// The versions of a package in an index.
    pub(super) async fn versions(
        &mut self,
        place: &dyn Place,
        component: &str,
        architecture: &str,
        package: &str,
    ) -> Result<Vec<Stanza>> {
        let first = (package.to_owned(), String::new(), String::new());
        let index = self.index(place, component, architecture).await?;
        let found = index.records.from(&first, |(name, ..)| name == package);
        let found = found.and_then(|all| all.iter().map(|(_, text)| Stanza::parse(text)).collect());
        found.map_err(|reason| self.broken(component, architecture, reason))
    }

    /// All package files of an index.
    pub(super) async fn all_of(
        &mut self,
        place: &dyn Place,
        component: &str,
        architecture: &str,
    ) -> Result<Vec<Stanza>> {
        let index = self.index(place, component, architecture).await?;
        let all = index.records.all();
        let all = all.and_then(|all| all.iter().map(|(_, text)| Stanza::parse(text)).collect());
        all.map_err(|reason| self.broken(component, architecture, reason))
    }

    fn broken(&self, component: &str, architecture: &str, reason: String) -> PublishError {
        let key = format!("{}/{}", self.suite.folder, packages_name(component, architecture));
        PublishError::Foreign { key, reason }
    }

    async fn index(&mut self, place: &dyn Place, component: &str, architecture: &str) -> Result<&mut Index> {
        let key = (component.to_owned(), architecture.to_owned());
        if !self.indexes.contains_key(&key) {
            let name = packages_name(component, architecture);
            let plain = self.suite.unpacked(place, &self.suite.release.files, &name).await?;
            let table = self.suite.state.as_ref().and_then(|state| state.blocks.get(&name));
            let table = table.map(Vec::as_slice).unwrap_or_default();
            let files = Files { plain, ..Files::default() };
            let records = match Records::of(stanza::split, files, table, false) {
                Ok(records) => records,
                Err(Files { plain, .. }) => {
                    let all = stanza::split(&plain, usize::MAX);
                    Records::new(
                        stanza::split,
                        all.map_err(|reason| self.broken(component, architecture, reason))?,
                    )
                }
            };
            let files = &self.suite.release.files;
            let is_changed = names_of(component, architecture).iter().any(|name| !files.contains_key(name));
            self.indexes.insert(key.clone(), Index { records, is_changed });
        }
        let missing = PublishError::Foreign {
            key: self.suite.folder.clone(),
            reason: "an index is missing".to_owned(),
        };
        self.indexes.get_mut(&key).ok_or(missing)
    }

    /// Whether the files of an index have to be made.
    pub(super) fn is_changed(&self, component: &str, architecture: &str) -> bool {
        let index = self.indexes.get(&(component.to_owned(), architecture.to_owned()));
        index.is_some_and(|index| index.is_changed)
    }

    /// Takes the records of an index out, to be packed.
    pub(super) fn take(&mut self, component: &str, architecture: &str) -> Records<Key> {
        let index = self.indexes.remove(&(component.to_owned(), architecture.to_owned()));
        index.map_or_else(|| Records::new(stanza::split, []), |index| index.records)
    }
}
