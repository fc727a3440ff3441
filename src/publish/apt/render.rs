//! The index files of a suite.

use std::collections::BTreeMap;
use std::io::Read;

use super::contents::Contents;
use super::deb::Deb;
use super::release::{Release, date};
use super::stanza::Stanza;
use super::suite::{STATE, State, Suite, by_hash, release_fields};
use crate::model::Digest;
use crate::publish::blocks::{self, Block, Forms, Known};
use crate::publish::history::{self, FileOf, Generation};
use crate::publish::place::Place;
use crate::publish::{Context, PublishError, Result, Site};
use crate::support::fs::PathContext;

/// The most bytes of a list of paths, and of a package that has to be read again for its paths.
const MAX_PATHS: u64 = 128 << 20;
const MAX_PACKAGE: u64 = 8 << 30;

/// The next state of a suite, not published yet.
pub(super) struct Next {
    /// The index files by name, with those of the state before.
    pub(super) files: BTreeMap<String, FileOf>,
    /// The content of those that are new.
    pub(super) new: Vec<(String, Vec<u8>)>,
    /// The text of `Release`.
    pub(super) release: String,
}

/// The key of the list of paths of a package.
pub(super) fn paths_key(digest: &Digest) -> String {
    format!(".packhold/contents/{}", digest.hex())
}

/// Keeps the paths of a package, so that it need not be read again.
pub(super) async fn keep_paths(place: &dyn Place, deb: &Deb) -> Result<()> {
    let key = paths_key(&deb.digest);
    if place.size(&key).await?.is_none() {
        let packed = zstd::encode_all(deb.paths.join("\n").as_bytes(), 3);
        place.put(&key, packed.at("compress", &key)?).await?;
    }
    Ok(())
}

async fn paths(place: &dyn Place, stanza: &Stanza) -> Result<Vec<String>> {
    if let Some(found) = place.get(&paths_key(&stanza.digest), MAX_PATHS).await? {
        let mut text = String::new();
        if zstd::Decoder::new(found.bytes.as_slice())
            .and_then(|unpacked| unpacked.take(MAX_PATHS).read_to_string(&mut text))
            .is_ok()
        {
            return Ok(text.lines().map(str::to_owned).collect());
        }
    }
    // It was published by another program.
    let gone =
        |reason: &str| PublishError::Foreign { key: stanza.filename.clone(), reason: reason.to_owned() };
    let found = place.get(&stanza.filename, MAX_PACKAGE).await?.ok_or_else(|| gone("it is not there"))?;
    let file = tempfile::NamedTempFile::new().at("create a file in", std::env::temp_dir())?;
    std::fs::write(file.path(), &found.bytes).at("write", file.path())?;
    let deb = Deb::read(file.path())?;
    if deb.digest != stanza.digest {
        return Err(gone("it is not what Packages says"));
    }
    keep_paths(place, &deb).await?;
    Ok(deb.paths)
}

impl Suite {
    /// The index files of what the suite has to hold now.
    pub(super) async fn render(&self, place: &dyn Place, site: &Site, context: &Context<'_>) -> Result<Next> {
        let mut next = Next { files: BTreeMap::new(), new: Vec::new(), release: String::new() };
        let mut tables = BTreeMap::new();
        let architectures = self.architectures(&context.options.architectures);
        let mut components: Vec<String> = self.packages.keys().cloned().collect();
        if components.is_empty() {
            components.push("main".to_owned());
        }
        for component in &components {
            for architecture in &architectures {
                self.packages_index(place, component, architecture, &mut next, &mut tables).await?;
                self.contents_index(place, component, architecture, &mut next, &mut tables).await?;
            }
        }
        self.finish(site, context, &mut next, tables)?;
        Ok(next)
    }

    async fn packages_index(
        &self,
        place: &dyn Place,
        component: &str,
        architecture: &str,
        next: &mut Next,
        tables: &mut BTreeMap<String, Vec<Block>>,
    ) -> Result<()> {
        let name = format!("{component}/binary-{architecture}/Packages");
        let stanzas = self.packages.get(component).into_iter().flat_map(|all| all.values());
        let stanzas: Vec<&Stanza> = stanzas.filter(|stanza| stanza.is_for(architecture)).collect();
        let keys: Vec<String> = stanzas.iter().map(|s| format!("{} {}", s.package, s.version)).collect();
        let records = keys.iter().map(String::as_str).zip(stanzas.iter().map(|stanza| stanza.text.as_str()));
        let blocks = blocks::cut(records);
        let mut before = [Vec::new(), Vec::new(), Vec::new()];
        let table = self.state.as_ref().and_then(|state| state.blocks.get(&name));
        if table.is_some() {
            for (form, bytes) in [".gz", ".xz", ".zst"].into_iter().zip(&mut before) {
                let name = format!("{name}{form}");
                if let Some(file) = self.release.files.get(&name) {
                    *bytes = self.index(place, &name, *file).await?.unwrap_or_default();
                }
            }
        }
        let table = table.map(Vec::as_slice).unwrap_or_default();
        let known = Known::new(table, &before[0], &before[1], &before[2]);
        let packed = blocks::pack(&blocks, &known, Forms::All).at("compress", &name)?;
        tables.insert(name.clone(), packed.table);
        let forms = [("", packed.plain), (".gz", packed.gz), (".xz", packed.xz), (".zst", packed.zst)];
        for (form, bytes) in forms {
            self.take(next, format!("{name}{form}"), bytes);
        }
        Ok(())
    }

    async fn contents_index(
        &self,
        place: &dyn Place,
        component: &str,
        architecture: &str,
        next: &mut Next,
        tables: &mut BTreeMap<String, Vec<Block>>,
    ) -> Result<()> {
        let name = format!("{component}/Contents-{architecture}");
        let packed_name = format!("{name}.gz");
        let ours = |changes: &'_ [(String, Stanza)]| -> Vec<Stanza> {
            let ours = changes.iter().filter(|(c, stanza)| c == component && stanza.is_for(architecture));
            ours.map(|(_, stanza)| stanza.clone()).collect()
        };
        let all = || self.packages.get(component).into_iter().flat_map(|all| all.values());
        let mut before = Vec::new();
        if let Some(file) = self.release.files.get(&packed_name) {
            before = self.index(place, &packed_name, *file).await?.unwrap_or_default();
        }
        let (mut contents, added, removed) = match before.is_empty() {
            true => {
                (Contents::default(), all().filter(|s| s.is_for(architecture)).cloned().collect(), Vec::new())
            }
            false => {
                let text = crate::publish::unpacked(&packed_name, before.clone(), MAX_PATHS * 8)?;
                (Contents::parse(&text), ours(&self.added), ours(&self.removed))
            }
        };
        for stanza in &removed {
            contents.remove(&paths(place, stanza).await?, &stanza.qualified);
            // Other versions of it may have the same paths.
            for other in all().filter(|s| s.qualified == stanza.qualified && s.is_for(architecture)) {
                contents.add(&paths(place, other).await?, &other.qualified);
            }
        }
        for stanza in &added {
            contents.add(&paths(place, stanza).await?, &stanza.qualified);
        }
        let lines = contents.lines();
        let blocks = blocks::cut(lines.iter().map(|(path, line)| (*path, line.as_str())));
        let table = self.state.as_ref().and_then(|state| state.blocks.get(&name));
        let known = Known::new(table.map(Vec::as_slice).unwrap_or_default(), &before, &[], &[]);
        let packed = blocks::pack(&blocks, &known, Forms::Gzip).at("compress", &name)?;
        tables.insert(name, packed.table);
        self.take(next, packed_name, packed.gz);
        Ok(())
    }

    /// Names a file in the next state; its bytes are kept if it is new.
    fn take(&self, next: &mut Next, name: String, bytes: Vec<u8>) {
        let file = FileOf { digest: Digest::of(&bytes), size: bytes.len() as u64 };
        if self.release.files.get(&name) != Some(&file) {
            next.new.push((name.clone(), bytes));
        }
        next.files.insert(name, file);
    }

    /// The state and `Release` over the files of `next`.
    pub(super) fn finish(
        &self,
        site: &Site,
        context: &Context<'_>,
        next: &mut Next,
        blocks: BTreeMap<String, Vec<Block>>,
    ) -> Result<()> {
        self.finish_as(site, context, next, blocks, None)
    }

    /// As [`Suite::finish`], with the content of the earlier state `origin`, and so with what brought that about.
    pub(super) fn finish_as(
        &self,
        site: &Site,
        context: &Context<'_>,
        next: &mut Next,
        blocks: BTreeMap<String, Vec<Block>>,
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
            superseded.dropped = self.removed.iter().map(|(_, stanza)| stanza.filename.clone()).collect();
            history::kept(state.earlier, Some(superseded), time)
        });
        let (channel, distro) = (site.channel.clone(), site.distro.clone());
        let state =
            State { format: 1, channel, distro, current, earlier: earlier.unwrap_or_default(), blocks };
        let bytes = serde_json::to_vec(&state).map_err(std::io::Error::from).at("write", STATE)?;
        self.take(next, STATE.to_owned(), bytes);
        let suite = site.suite();
        let components: std::collections::BTreeSet<&str> =
            next.files.keys().filter_map(|name| Some(name.split_once("/binary-")?.0)).collect();
        let architectures: std::collections::BTreeSet<&str> = next
            .files
            .keys()
            .filter_map(|name| name.split_once("/binary-")?.1.strip_suffix("/Packages"))
            .collect();
        let join = |words: std::collections::BTreeSet<&str>| words.into_iter().collect::<Vec<_>>().join(" ");
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
