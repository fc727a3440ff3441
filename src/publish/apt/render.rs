//! The index files of a suite: only those of an index that changed are made, and of these only the blocks that did.

use std::collections::{BTreeMap, BTreeSet};

use super::contents;
use super::draft::Draft;
use super::paths::{MAX_PATHS, paths};
use super::release::{Release, date};
use super::stanza::Stanza;
use super::suite::{FORMS, STATE, State, Suite, by_hash, packages_name, release_fields};
use crate::model::Digest;
use crate::publish::blocks::{Block, Files, Forms, Packed, Records};
use crate::publish::history::{self, FileOf, Generation};
use crate::publish::place::Place;
use crate::publish::{Context, PublishError, Result, Site};
use crate::support::fs::PathContext;

/// The next state of a suite, not published yet.
#[derive(Default)]
pub(super) struct Next {
    /// The index files by name, with those of the state before.
    pub(super) files: BTreeMap<String, FileOf>,
    /// The content of those that are new.
    pub(super) new: Vec<(String, Vec<u8>)>,
    /// The text of `Release`.
    pub(super) release: String,
    /// The numbers of the earlier states that it keeps.
    pub(super) kept: BTreeSet<u64>,
}

impl Draft {
    /// The index files of what the suite has to hold now.
    pub(super) async fn render(
        &mut self,
        place: &dyn Place,
        site: &Site,
        context: &Context<'_>,
    ) -> Result<Next> {
        let mut next = Next::default();
        let mut tables = BTreeMap::new();
        for (component, architecture) in self.names() {
            let packages = packages_name(&component, &architecture);
            let contents = format!("{component}/Contents-{architecture}");
            if self.is_changed(&component, &architecture) {
                let packed = self.contents(place, &component, &architecture).await?;
                tables.insert(contents.clone(), packed.table);
                self.suite.take(&mut next, format!("{contents}.gz"), packed.gz);
                let packed = self.packages(place, &component, &architecture).await?;
                let forms = [packed.plain.into_bytes(), packed.gz, packed.xz, packed.zst];
                for (form, bytes) in FORMS.iter().zip(forms) {
                    self.suite.take(&mut next, format!("{packages}{form}"), bytes);
                }
                tables.insert(packages, packed.table);
                continue;
            }
            for name in names_of(&component, &architecture) {
                next.files.extend(self.suite.release.files.get(&name).map(|file| (name, *file)));
            }
            for name in [packages, contents] {
                let table = self.suite.state.as_ref().and_then(|state| state.blocks.get(&name));
                tables.extend(table.map(|table| (name, table.clone())));
            }
        }
        let dropped = self.removed.iter().map(|(_, stanza)| stanza.filename.clone()).collect();
        self.suite.finish(site, context, &mut next, tables, dropped, None)?;
        Ok(next)
    }

    async fn packages(&mut self, place: &dyn Place, component: &str, architecture: &str) -> Result<Packed> {
        let name = packages_name(component, architecture);
        let mut forms = [Vec::new(), Vec::new(), Vec::new()];
        for (form, bytes) in FORMS[1..].iter().zip(&mut forms) {
            *bytes = self.suite.named(place, &format!("{name}{form}")).await?.unwrap_or_default();
        }
        let [gz, xz, zst] = forms;
        let mut records = self.take(component, architecture);
        records.complete(gz, xz, zst);
        Ok(records.pack(Forms::All, None).at("compress", &name)?)
    }

    async fn contents(&mut self, place: &dyn Place, component: &str, architecture: &str) -> Result<Packed> {
        let name = format!("{component}/Contents-{architecture}");
        let key = format!("{}/{name}.gz", self.suite.folder);
        let broken = |reason: String| PublishError::Foreign { key: key.clone(), reason };
        let ours = |changes: &[(String, Stanza)]| -> Vec<Stanza> {
            let ours = changes.iter().filter(|(c, stanza)| c == component && stanza.is_for(architecture));
            ours.map(|(_, stanza)| stanza.clone()).collect()
        };
        let before = self.suite.named(place, &format!("{name}.gz")).await?;
        let (mut records, added, removed) = match before {
            None => {
                let records = Records::new(contents::split, []);
                (records, self.all_of(place, component, architecture).await?, Vec::new())
            }
            Some(gz) => {
                let table = self.suite.state.as_ref().and_then(|state| state.blocks.get(&name));
                let table = table.map(Vec::as_slice).unwrap_or_default();
                let files = Files { gz, ..Files::default() };
                let records = match Records::of(contents::split, files, table, false) {
                    Ok(records) => records,
                    Err(Files { gz, .. }) => {
                        let text = crate::publish::unpacked(&key, &gz, MAX_PATHS * 8)?;
                        Records::new(contents::split, contents::split(&text, usize::MAX).map_err(broken)?)
                    }
                };
                (records, ours(&self.added), ours(&self.removed))
            }
        };
        for stanza in &removed {
            for path in paths(place, stanza).await? {
                contents::remove(&mut records, &path, &stanza.qualified).map_err(broken)?;
            }
            // Other versions of it may have the same paths.
            for other in self.versions(place, component, architecture, &stanza.package).await? {
                if other.qualified == stanza.qualified {
                    contents::add(&mut records, paths(place, &other).await?, &other.qualified)
                        .map_err(broken)?;
                }
            }
        }
        for stanza in &added {
            contents::add(&mut records, paths(place, stanza).await?, &stanza.qualified).map_err(broken)?;
        }
        Ok(records.pack(Forms::Gzip, None).at("compress", &name)?)
    }
}

/// The names of the files of an index.
pub(super) fn names_of(component: &str, architecture: &str) -> Vec<String> {
    let packages = packages_name(component, architecture);
    let mut names: Vec<String> = FORMS.iter().map(|form| format!("{packages}{form}")).collect();
    names.push(format!("{component}/Contents-{architecture}.gz"));
    names
}

impl Suite {
    /// Names a file in the next state; its bytes are kept if it is new.
    fn take(&self, next: &mut Next, name: String, bytes: Vec<u8>) {
        let file = FileOf { digest: Digest::of(&bytes), size: bytes.len() as u64 };
        if self.release.files.get(&name) != Some(&file) {
            next.new.push((name.clone(), bytes));
        }
        next.files.insert(name, file);
    }

    /// The state and `Release` over the files of `next`, which names the packages of the state before without those `dropped`. With the content of
    /// an earlier state, `origin`, it has what brought that about.
    pub(super) fn finish(
        &self,
        site: &Site,
        context: &Context<'_>,
        next: &mut Next,
        blocks: BTreeMap<String, Vec<Block>>,
        dropped: BTreeSet<String>,
        origin: Option<&Generation>,
    ) -> Result<()> {
        let before = self.state.clone();
        let number = before.as_ref().map_or(0, |state| state.current.number) + 1;
        // apt takes no Release that is older than the one it has.
        let earliest = before
            .as_ref()
            .and_then(|state| state.current.time.checked_add(jiff::SignedDuration::from_secs(1)).ok());
        let time = earliest.map_or(context.now, |earliest| earliest.max(context.now));
        let current = Generation {
            number,
            origin: origin.map_or(number, |state| state.origin),
            publication: origin.map_or(context.publication, |state| &state.publication).to_owned(),
            time,
            files: next.files.clone(),
            dropped: Default::default(),
        };
        let earlier = before.map(|state| {
            let mut superseded = state.current;
            superseded.dropped = dropped;
            history::kept(state.earlier, Some(superseded), time)
        });
        next.kept = earlier.iter().flatten().map(|generation| generation.number).collect();
        let (channel, distro) = (site.channel.clone(), site.distro.clone());
        let state =
            State { format: 1, channel, distro, current, earlier: earlier.unwrap_or_default(), blocks };
        let bytes = serde_json::to_vec(&state).map_err(std::io::Error::from).at("write", STATE)?;
        self.take(next, STATE.to_owned(), bytes);
        let suite = site.suite();
        let components: BTreeSet<&str> =
            next.files.keys().filter_map(|name| Some(name.split_once("/binary-")?.0)).collect();
        let architectures: BTreeSet<&str> = next
            .files
            .keys()
            .filter_map(|name| name.split_once("/binary-")?.1.strip_suffix("/Packages"))
            .collect();
        let join = |words: BTreeSet<&str>| words.into_iter().collect::<Vec<_>>().join(" ");
        let until = context.options.valid_for.and_then(|span| time.checked_add(span).ok()).map(date);
        // Clients refuse a suite whose names change until they are told to take it.
        let named = |given: &String, field: &str| match (given.as_str(), self.release.field(field)) {
            ("", "") => context.options.name.clone(),
            ("", known) => known.to_owned(),
            (given, _) => given.to_owned(),
        };
        let kept = origin.map(|_| self.release.field("Valid-Until").to_owned());
        let fields = release_fields(vec![
            ("Origin", named(&context.options.origin, "Origin")),
            ("Label", named(&context.options.label, "Label")),
            ("Suite", suite.clone()),
            ("Codename", suite),
            ("Date", date(time)),
            ("Valid-Until", until.or(kept).unwrap_or_default()),
            ("Acquire-By-Hash", "yes".to_owned()),
            ("Architectures", join(architectures)),
            ("Components", join(components)),
        ]);
        next.release = Release { fields, files: next.files.clone() }.text();
        Ok(())
    }

    /// Where the index files of a state are kept.
    pub(super) fn keys_of(&self, files: &BTreeMap<String, FileOf>) -> Vec<String> {
        files.iter().map(|(name, file)| by_hash(&self.folder, name, &file.digest)).collect()
    }
}
