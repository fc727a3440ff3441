//! apt repositories (DebianRepository/Format): `pool/` with the packages, `dists/SUITE/` with what is said of them.
//!
//! A suite's anchor is its `InRelease` (`Release` where nothing is signed): one file that names all index files by their
//! digests, and that is replaced in one step after they are there. apt fetches them by digest (`Acquire-By-Hash`), so that it gets
//! those of one state whatever happens meanwhile; those of earlier states stay for a week at least.
//!
//! `Release`, `Release.gpg` and the index files under their plain names are for other readers. They are written after the
//! anchor, and made to follow it by whoever publishes next if their writer was killed.

mod contents;
mod control;
mod deb;
mod draft;
mod foreign;
mod paths;
mod release;
mod render;
mod stanza;
mod suite;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use deb::Deb;
pub(super) use draft::Draft;
pub(super) use foreign::foreign;
use render::Next;
pub(super) use stanza::Stanza;
use suite::{Packages, STATE, Suite, by_hash};

use super::history::{self, FileOf, Generation};
use super::place::Place;
use super::{Context, PublishError, Result, Site, anchor, guard};
use crate::versions::Candidate;

/// A package file that is in the pool, and the component that it belongs to.
pub(super) type Pooled = (String, Stanza);

/// A package that was read and is not in the pool yet.
pub(super) struct New<'a> {
    path: &'a Path,
    deb: Deb,
    pub(super) pooled: Pooled,
}

/// Reads a package that is to come into the pool.
pub(super) fn read<'a>(distro: &str, component: &str, path: &'a Path) -> Result<New<'a>> {
    let deb = Deb::read(path)?;
    let (source, version) = (deb.source(), deb.field("Version"));
    let prefix = source.get(..if source.starts_with("lib") { 4 } else { 1 }).unwrap_or(source);
    // The epoch is no part of a file's name, as with dpkg-deb.
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    let file = format!("{}_{version}_{}.deb", deb.field("Package"), deb.field("Architecture"));
    let key = format!("pool/{distro}/{component}/{prefix}/{source}/{file}");
    let pooled = (component.to_owned(), Stanza::of(&deb, &key));
    Ok(New { path, deb, pooled })
}

/// Puts a package into the pool, where nobody sees it yet.
pub(super) async fn pool(place: &dyn Place, new: &New<'_>) -> Result<()> {
    let New { path, deb, pooled: (_, stanza) } = new;
    paths::keep_paths(place, deb).await?;
    super::put_package(place, &stanza.filename, path, &deb.digest, deb.size).await
}

/// What of these packages is no upgrade for users of a suite and may be none; an error if it may not. The draft of what was found there goes on to [`add`].
pub(super) async fn guard(
    place: &dyn Place,
    site: &Site,
    new: &[Candidate],
    context: &Context<'_>,
) -> Result<(Vec<Candidate>, Draft)> {
    let mut draft = Draft::open(place, &site.suite(), context).await?;
    let beside = match context.options.guard {
        Some(_) => draft.beside(place, new).await?,
        None => Vec::new(),
    };
    Ok((guard::check(context, &site.channel, new, beside.into_iter())?, draft))
}

/// All package files of a suite.
pub(super) async fn packages(place: &dyn Place, site: &Site) -> Result<Vec<Pooled>> {
    let packages = Suite::head(place, &site.suite()).await?.packages(place).await?;
    let of = |(component, all): (String, BTreeMap<_, Stanza>)| {
        all.into_values().map(move |stanza| (component.clone(), stanza))
    };
    Ok(packages.into_iter().flat_map(of).collect())
}

/// Package files of these names in a suite.
pub(super) async fn named(
    place: &dyn Place,
    site: &Site,
    packages: &BTreeSet<String>,
) -> Result<Vec<Stanza>> {
    Draft::of(place, &site.suite()).await?.named(place, packages).await
}

/// What published a suite last, and whether it has an earlier state to go back to, if that is known.
pub(super) async fn last(place: &dyn Place, site: &Site) -> Result<Option<history::Last>> {
    let state = Suite::with_state(place, &site.suite()).await?.state;
    Ok(state.map(|state| history::Last::of(state.current, &state.earlier)))
}

/// The sites of the suites that Packhold publishes here.
pub(super) async fn sites(place: &dyn Place) -> Result<Vec<Site>> {
    let mut sites = Vec::new();
    for name in place.folders("dists").await? {
        if let Some(state) = Suite::with_state(place, &name).await?.state {
            let site = Site { channel: state.channel, distro: state.distro };
            // A folder of another name is another name of the suite.
            sites.extend((site.suite() == name).then_some(site));
        }
    }
    Ok(sites)
}

/// The components of a suite.
pub(super) async fn components(place: &dyn Place, site: &Site) -> Result<Vec<String>> {
    let release = Suite::head(place, &site.suite()).await?.release;
    Ok(release.field("Components").split_whitespace().map(str::to_owned).collect())
}

/// Adds packages to a suite, of which there may be a draft. Returns the file names of those that were not there.
pub(super) async fn add(
    place: &dyn Place,
    site: &Site,
    pooled: &[Pooled],
    draft: Option<Draft>,
    context: &Context<'_>,
) -> Result<Vec<String>> {
    let (mut attempt, mut guarded) = (0, draft);
    loop {
        let mut draft = match guarded.take() {
            Some(draft) => draft,
            None => {
                let new: Vec<Candidate> = pooled.iter().map(|(_, stanza)| stanza.candidate()).collect();
                guard(place, site, &new, context).await?.1
            }
        };
        draft.add(place, pooled, context).await?;
        let added: Vec<String> = draft.added.iter().map(|(_, stanza)| stanza.filename.clone()).collect();
        let is_known = draft.suite.stamp.is_some() && draft.suite.state.is_some();
        if added.is_empty() && draft.removed.is_empty() && is_known && !draft.suite.ages(context) {
            follow(place, &draft.suite, context).await?;
            return Ok(added);
        }
        let next = draft.render(place, site, context).await?;
        let gone = gone(&draft.suite, &next);
        if switch(place, &draft.suite, next, context).await? {
            follow(place, &draft.suite, context).await?;
            if !gone.is_empty() {
                prune(place, gone, site, context).await?;
            }
            return Ok(added);
        }
        anchor::wait(&draft.suite.folder, &mut attempt).await?;
    }
}

/// Brings back what a suite had before. Returns the number of that state.
pub(super) async fn roll_back(place: &dyn Place, site: &Site, context: &Context<'_>) -> Result<u64> {
    let mut attempt = 0;
    loop {
        let suite = Suite::with_state(place, &site.suite()).await?;
        suite.trust(context)?;
        let nothing = || PublishError::NothingBefore { channel: site.channel.to_string() };
        let state = suite.state.as_ref().ok_or_else(nothing)?;
        let before = history::before(&state.earlier, &state.current).ok_or_else(nothing)?.clone();
        let filenames = |packages: Packages| -> BTreeSet<String> {
            packages.into_values().flat_map(BTreeMap::into_values).map(|stanza| stanza.filename).collect()
        };
        let back = filenames(suite.packages_of(place, &before.files).await?);
        let mut dropped = filenames(suite.packages(place).await?);
        dropped.retain(|filename| !back.contains(filename));
        let mut next = Next { files: before.files.clone(), ..Next::default() };
        suite.finish(site, context, &mut next, BTreeMap::new(), dropped, Some(&before))?;
        if switch(place, &suite, next, context).await? {
            follow(place, &suite, context).await?;
            return Ok(before.origin);
        }
        anchor::wait(&suite.folder, &mut attempt).await?;
    }
}

/// Writes the index files and then the anchor. False if somebody else was quicker.
async fn switch(place: &dyn Place, suite: &Suite, next: Next, context: &Context<'_>) -> Result<bool> {
    let folder = &suite.folder;
    let by_hash = |(name, bytes): (String, Vec<u8>)| {
        let FileOf { digest, .. } = next.files.get(&name)?;
        Some((by_hash(folder, &name, digest), bytes))
    };
    place.put_all(next.new.into_iter().filter_map(by_hash).collect()).await?;
    let key = |name: &str| format!("{folder}/{name}");
    match context.signer {
        Some(signer) => {
            let signed = signer.clearsigned(&next.release)?;
            let seen = suite.stamp.as_ref().filter(|_| suite.signed);
            place.put_if_unchanged(&key("InRelease"), signed.into_bytes(), seen).await
        }
        None if suite.signed => Err(PublishError::WouldUnsign { key: key("InRelease") }),
        None => {
            place.put_if_unchanged(&key("Release"), next.release.into_bytes(), suite.stamp.as_ref()).await
        }
    }
}

/// Makes the files under plain names those that the anchor names. It goes on until the anchor stays, so that of several publishers
/// the last to write has written what is current.
///
/// `Release` comes last: where it is still that of the state `before`, the files of that state are there, and only others have to be looked at.
async fn follow(place: &dyn Place, before: &Suite, context: &Context<'_>) -> Result<()> {
    let key = format!("{}/Release", before.folder);
    let release = async |text: &str| {
        let found = place.content(&key, text.len() as u64 * 2).await.ok().flatten();
        found.is_some_and(|bytes| bytes == text.as_bytes())
    };
    let mut known = BTreeMap::new();
    if before.signed && before.stamp.is_some() && release(&before.text).await {
        known = before.release.files.clone();
    }
    let mut seen = None;
    loop {
        let suite = Suite::head(place, before.name()).await?;
        if seen.is_some() && suite.stamp == seen {
            return Ok(());
        }
        for (file, of) in suite.release.files.iter().filter(|(file, _)| *file != STATE) {
            if known.get(file) == Some(of) {
                continue;
            }
            let (from, to) = (by_hash(&suite.folder, file, &of.digest), format!("{}/{file}", suite.folder));
            let old = match known.is_empty() {
                true => place.content(&to, of.size).await.ok().flatten(),
                // It is another one than that of the state before.
                false => None,
            };
            if old.is_none_or(|old| crate::model::Digest::of(&old) != of.digest)
                && place.size(&from).await?.is_some()
            {
                place.copy(&from, &to).await?;
            }
        }
        if let Some(signer) = context.signer.filter(|_| suite.signed)
            && !release(&suite.text).await
        {
            let signature = signer.detached(suite.text.as_bytes())?;
            place.put(&format!("{key}.gpg"), signature.into_bytes()).await?;
            place.put(&key, suite.text.clone().into_bytes()).await?;
        }
        known.clear();
        seen = suite.stamp;
    }
}

/// The states that the next one keeps no longer.
fn gone(before: &Suite, next: &Next) -> Vec<Generation> {
    let earlier = before.state.iter().flat_map(|state| &state.earlier);
    earlier.filter(|generation| !next.kept.contains(&generation.number)).cloned().collect()
}

/// Removes the index files that no kept state names, and the packages of states that are `gone` and that no state of any suite names any more.
async fn prune(place: &dyn Place, gone: Vec<Generation>, site: &Site, context: &Context<'_>) -> Result<()> {
    let now = Suite::with_state(place, &site.suite()).await?;
    let Some(state) = &now.state else { return Ok(()) };
    let mut named: BTreeSet<String> = now.keys_of(&now.release.files).into_iter().collect();
    for generation in &state.earlier {
        named.extend(now.keys_of(&generation.files));
    }
    for listed in place.list(&now.folder).await? {
        // What was written just now may be another publisher's, whose anchor comes next.
        let fresh = context.now.duration_since(listed.modified) < super::GRACE;
        if listed.key.contains("/by-hash/SHA256/") && !named.contains(&listed.key) && !fresh {
            place.delete(&listed.key).await?;
        }
    }
    let mut dropped: BTreeSet<&String> = gone.iter().flat_map(|generation| &generation.dropped).collect();
    for name in place.folders("dists").await? {
        if dropped.is_empty() {
            break;
        }
        let suite = Suite::with_state(place, &name).await?;
        let kept = suite.state.iter().flat_map(|state| &state.earlier).flat_map(|g| &g.dropped);
        let kept: BTreeSet<&String> = kept.collect();
        dropped.retain(|key| !kept.contains(key));
        for (component, architecture) in suite.indexes() {
            let index = suite::packages_name(&component, &architecture);
            let text = suite.unpacked(place, &suite.release.files, &index).await?;
            // Whatever the line looks like that another program wrote.
            dropped.retain(|key| !text.contains(key.as_str()));
        }
    }
    for key in dropped {
        place.delete(key).await?;
    }
    Ok(())
}
