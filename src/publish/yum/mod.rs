//! yum repositories, which dnf and zypper read as well: a tree for each channel, distro release and architecture (`$basearch`), with packages in
//! `Packages/` and metadata in `repodata/`.
//!
//! The anchor is `repodata/repomd.xml`. The files that it names have their digests in their names, are there before it, and stay
//! for a week at least after another took its place. Its signature `repomd.xml.asc` is a second file, written right after it: a
//! client that comes between the two finds that they do not belong together, and has to try again.

mod basearch;
mod draft;
mod header;
mod metadata;
mod package;
mod signatures;
mod tree;

use std::collections::BTreeSet;
use std::path::Path;

use quick_xml::escape::escape;

pub(super) use basearch::basearch;
pub(super) use draft::Draft;
use draft::Next;
pub(super) use metadata::Entry;
pub(super) use package::Package;
use tree::Tree;

use super::history::{self, Generation};
use super::place::{Place, Stamp};
use super::{Context, PublishError, Result, Site, anchor, guard};
use crate::sign::{Certificate, rpm_signer, verify_detached};
use crate::support::fs::PathContext;
use crate::versions::Candidate;

/// The largest package that is compared with one that is there, bytes.
const MAX_PACKAGE: u64 = 8 << 30;

/// The largest anchor, bytes.
const MAX_ANCHOR: u64 = 64 << 20;

fn folder(site: &Site, arch: &str) -> String {
    format!("rpm/{}/{}/{arch}", site.channel, site.distro)
}

/// Puts a package, which was read from `path`, into a tree, where nobody sees it yet.
pub(super) async fn pool(
    place: &dyn Place,
    site: &Site,
    arch: &str,
    path: &Path,
    mut package: Package,
    context: &Context<'_>,
) -> Result<Entry> {
    let href = href(&package);
    let key = format!("{}/{href}", folder(site, arch));
    let scratch = tempfile::tempdir().at("create a folder in", std::env::temp_dir())?;
    let copy = scratch.path().join(package.file_name());
    match (place.get(&key, MAX_PACKAGE).await?, context.signer.filter(|_| context.options.sign_rpms)) {
        // It is there, perhaps with a signature of then.
        (Some(found), _) => {
            std::fs::write(&copy, found.bytes).at("write", &copy)?;
            let known = Package::read(&copy)?;
            if known.content != package.content {
                return Err(PublishError::Conflict { path: key });
            }
            package = known;
        }
        (None, Some(signer)) => {
            signer.sign_rpm(path, &copy)?;
            package = Package::read(&copy)?;
            place.put_file(&key, &copy).await?;
        }
        (None, None) => place.put_file(&key, path).await?,
    }
    let file = if copy.exists() { &copy } else { path };
    let by = rpm_signer(file, &context.certificates).ok().flatten();
    new_entry(package, href, by, context)
}

/// Where the file of a package is, below its tree.
fn href(package: &Package) -> String {
    let first = package.name.chars().next().unwrap_or('_').to_ascii_lowercase();
    format!("Packages/{first}/{}", package.file_name())
}

/// What the metadata says of a package that comes into a tree.
fn new_entry(package: Package, href: String, signer: Option<String>, context: &Context<'_>) -> Result<Entry> {
    let broken = |error: std::io::Error| PublishError::Package {
        file: package.file_name(),
        reason: error.to_string(),
    };
    Ok(Entry {
        primary: package.primary(&href, context.now.as_second()).map_err(broken)?,
        filelists: package.filelists(),
        other: package.other().map_err(broken)?,
        name: package.name,
        arch: package.arch,
        evr: package.evr,
        digest: package.digest,
        href,
        signer,
    })
}

/// What of these packages is no upgrade for users of a tree and may be none; an error if it may not. The draft of what was found there goes on to [`add`].
pub(super) async fn guard(
    place: &dyn Place,
    site: &Site,
    arch: &str,
    new: &[Candidate],
    context: &Context<'_>,
) -> Result<(Vec<Candidate>, Draft)> {
    let mut draft = Draft::open(place, &folder(site, arch)).await?;
    if draft.tree.stamp.is_some() {
        trust(place, &draft.tree.folder, &draft.tree.anchor, context).await?;
    }
    let beside = match context.options.guard {
        Some(_) => draft.beside(new)?,
        None => Vec::new(),
    };
    Ok((guard::check(context, &site.channel, new, beside.into_iter())?, draft))
}

/// All package files of a tree.
pub(super) async fn packages(place: &dyn Place, site: &Site, arch: &str) -> Result<Vec<Entry>> {
    let tree = Tree::head(place, &folder(site, arch)).await?;
    match tree.stamp.is_some() {
        true => Ok(tree.entries(place).await?.into_values().collect()),
        false => Ok(Vec::new()),
    }
}

/// Package files of these names in a tree, without their lists of files and changes.
pub(super) async fn named(
    place: &dyn Place,
    site: &Site,
    arch: &str,
    packages: &BTreeSet<String>,
) -> Result<Vec<Entry>> {
    let mut draft = Draft::open(place, &folder(site, arch)).await?;
    let mut found = Vec::new();
    for package in packages {
        found.extend(draft.versions(package, None)?);
    }
    Ok(found)
}

/// All package files of a tree in `folder`, whoever made it.
pub(super) async fn foreign(place: &dyn Place, folder: &str) -> Result<Vec<Entry>> {
    Ok(Tree::head(place, folder).await?.entries(place).await?.into_values().collect())
}

/// Puts package files of one channel's tree into another's, where nobody sees them yet.
pub(super) async fn share(
    place: &dyn Place,
    entries: &[Entry],
    arch: &str,
    from: &Site,
    to: &Site,
) -> Result<()> {
    for entry in entries {
        let key = |site| format!("{}/{}", folder(site, arch), entry.href);
        match place.get(&key(to), MAX_PACKAGE).await? {
            None => place.copy(&key(from), &key(to)).await?,
            Some(there) if crate::model::Digest::of(&there.bytes) == entry.digest => {}
            Some(_) => return Err(PublishError::Conflict { path: key(to) }),
        }
    }
    Ok(())
}

/// What published a tree last, and whether it has an earlier state to go back to, if that is known.
pub(super) async fn last(place: &dyn Place, site: &Site, arch: &str) -> Result<Option<history::Last>> {
    let state = Tree::head(place, &folder(site, arch)).await?.state;
    Ok(state.map(|state| history::Last::of(state.current, &state.earlier)))
}

/// Whether a tree is signed.
pub(super) async fn is_signed(place: &dyn Place, site: &Site, arch: &str) -> Result<bool> {
    Ok(place.size(&format!("{}/repodata/repomd.xml.asc", folder(site, arch))).await?.is_some())
}

/// The sites and architectures of the trees that there are.
pub(super) async fn sites(place: &dyn Place) -> Result<Vec<(Site, String)>> {
    let mut sites = Vec::new();
    for channel in place.folders("rpm").await? {
        let Ok(channel) = super::Channel::new(&channel) else { continue };
        for distro in place.folders(&format!("rpm/{channel}")).await? {
            for arch in place.folders(&format!("rpm/{channel}/{distro}")).await? {
                sites.push((Site { channel: channel.clone(), distro: distro.clone() }, arch));
            }
        }
    }
    Ok(sites)
}

/// The fingerprints of the keys that have signed packages of a tree, as far as it is known.
pub(super) async fn signers(place: &dyn Place, site: &Site, arch: &str) -> Result<BTreeSet<String>> {
    let state = Tree::head(place, &folder(site, arch)).await?.state;
    Ok(state.into_iter().flat_map(|state| state.signers.into_values()).collect())
}

/// What came of adding packages to a tree.
pub(super) struct Added {
    /// The keys of package files that were not there.
    pub(super) keys: Vec<String>,
    /// Packages that no known key has signed, where dnf asks for that.
    pub(super) unsigned: Vec<String>,
    /// The fingerprints of the keys that have signed packages of the tree, as far as it is known.
    pub(super) signers: BTreeSet<String>,
}

/// Adds packages to a tree, of which there may be a draft.
pub(super) async fn add(
    place: &dyn Place,
    site: &Site,
    arch: &str,
    entries: &[Entry],
    draft: Option<Draft>,
    context: &Context<'_>,
) -> Result<Added> {
    let folder = folder(site, arch);
    let (mut attempt, mut guarded) = (0, draft);
    loop {
        let mut draft = match guarded.take() {
            Some(draft) => draft,
            None => {
                let new: Vec<Candidate> = entries.iter().map(Entry::candidate).collect();
                guard(place, site, arch, &new, context).await?.1
            }
        };
        for entry in entries {
            draft.add(entry)?;
        }
        if let Some(keep) = context.options.keep {
            draft.retain(keep)?;
        }
        let unsigned = signatures::settle(place, &mut draft, context).await?;
        let keys: Vec<String> = draft.added.iter().map(|entry| format!("{folder}/{}", entry.href)).collect();
        let signers = draft.signers.values().cloned().collect();
        let added = Added { keys, unsigned, signers };
        let is_known = draft.tree.stamp.is_some() && draft.tree.state.is_some();
        if added.keys.is_empty() && draft.removed.is_empty() && is_known {
            sign(place, &folder, context).await?;
            return Ok(added);
        }
        let (stamp, earlier) = (draft.tree.stamp.clone(), draft.tree.earlier());
        let next = draft.render(site, context, None)?;
        let gone: Vec<Generation> =
            earlier.into_iter().filter(|generation| !next.kept.contains(&generation.number)).collect();
        if switch(place, &folder, stamp.as_ref(), next, context).await? {
            if !gone.is_empty() {
                prune(place, &folder, &gone, context).await?;
            }
            return Ok(added);
        }
        anchor::wait(&folder, &mut attempt).await?;
    }
}

/// Brings back what a tree had before. Returns the number of that state.
pub(super) async fn roll_back(
    place: &dyn Place,
    site: &Site,
    arch: &str,
    context: &Context<'_>,
) -> Result<u64> {
    let folder = folder(site, arch);
    let mut attempt = 0;
    loop {
        let tree = Tree::head(place, &folder).await?;
        let nothing = || PublishError::NothingBefore { channel: site.channel.to_string() };
        let state = tree.state.as_ref().ok_or_else(nothing)?;
        trust(place, &folder, &tree.anchor, context).await?;
        let before = history::before(&state.earlier, &state.current).ok_or_else(nothing)?.clone();
        let back = tree.entries_before(place, &before).await?;
        let mut removed = tree.entries(place).await?;
        removed.retain(|key, _| !back.contains_key(key));
        let stamp = tree.stamp.clone();
        let mut draft = Draft::whole(tree, back.into_values());
        draft.removed = removed.into_values().collect();
        signatures::settle(place, &mut draft, context).await?;
        let next = draft.render(site, context, Some(&before))?;
        if switch(place, &folder, stamp.as_ref(), next, context).await? {
            return Ok(before.origin);
        }
        anchor::wait(&folder, &mut attempt).await?;
    }
}

/// Writes the metadata and then the anchor in the place of the version `seen`. False if somebody else was quicker.
async fn switch(
    place: &dyn Place,
    folder: &str,
    seen: Option<&Stamp>,
    next: Next,
    context: &Context<'_>,
) -> Result<bool> {
    let anchor = format!("{folder}/repodata/repomd.xml");
    if context.signer.is_none() && place.size(&format!("{anchor}.asc")).await?.is_some() {
        return Err(PublishError::WouldUnsign { key: anchor });
    }
    let mut files = next.new;
    // Before the anchor, so that whoever comes after a publisher that was killed finds it.
    if let Some(signer) = context.signer {
        let signature = signer.detached(next.repomd.as_bytes())?;
        files.push((signature_of(folder, next.repomd.as_bytes()), signature.into_bytes()));
    }
    place.put_all(files).await?;
    if !place.put_if_unchanged(&anchor, next.repomd.into_bytes(), seen).await? {
        return Ok(false);
    }
    sign(place, folder, context).await?;
    Ok(true)
}

/// Where the signature of an anchor is before it is the anchor's.
fn signature_of(folder: &str, anchor: &[u8]) -> String {
    format!("{folder}/repodata/{}-repomd.xml.asc", crate::model::Digest::of(anchor).hex())
}

/// The signature of an anchor that is there, by every one of these keys, or by one of them if `any`.
async fn signature(
    place: &dyn Place,
    folder: &str,
    anchor: &[u8],
    by: &[Certificate],
    any: bool,
) -> Result<Option<(String, Vec<u8>)>> {
    for key in [format!("{folder}/repodata/repomd.xml.asc"), signature_of(folder, anchor)] {
        let Some(there) = place.get(&key, 1 << 20).await.ok().flatten() else { continue };
        let is_by =
            |key: &Certificate| verify_detached(std::slice::from_ref(key), anchor, &there.bytes).is_ok();
        if if any { by.iter().any(is_by) } else { by.iter().all(is_by) } {
            return Ok(Some((key, there.bytes)));
        }
    }
    Ok(None)
}

/// Fails if this anchor, which is published, would be signed again and nobody known has signed it.
async fn trust(place: &dyn Place, folder: &str, anchor: &[u8], context: &Context<'_>) -> Result<()> {
    let Some(signer) = context.signer.filter(|_| !context.options.adopt) else { return Ok(()) };
    match signature(place, folder, anchor, &signer.certificates()?, true).await? {
        Some(_) => Ok(()),
        None => Err(PublishError::Untrusted { key: format!("{folder}/repodata/repomd.xml") }),
    }
}

/// Gives the anchor that is there its signature, until it stays the same meanwhile. One that every key has made stays, so that publishing again
/// changes nothing.
async fn sign(place: &dyn Place, folder: &str, context: &Context<'_>) -> Result<()> {
    let Some(signer) = context.signer else { return Ok(()) };
    let anchor = format!("{folder}/repodata/repomd.xml");
    let to = format!("{anchor}.asc");
    let mut signed = None;
    while let Some(found) = place.get(&anchor, MAX_ANCHOR).await? {
        if signed.as_ref() == Some(&found.stamp) {
            break;
        }
        let by = signer.certificates()?;
        match signature(place, folder, &found.bytes, &by, false).await? {
            Some((key, _)) if key == to => {}
            Some((_, bytes)) => place.put(&to, bytes).await?,
            None => {
                trust(place, folder, &found.bytes, context).await?;
                let signature = signer.detached(&found.bytes)?;
                place.put(&to, signature.into_bytes()).await?;
            }
        }
        signed = Some(found.stamp);
    }
    Ok(())
}

/// Removes the metadata and the packages that states name which are `gone`, and no kept one.
async fn prune(place: &dyn Place, folder: &str, gone: &[Generation], context: &Context<'_>) -> Result<()> {
    let now = Tree::head(place, folder).await?;
    let Some(state) = &now.state else { return Ok(()) };
    let mut named = now.current();
    named.extend(state.earlier.iter().flat_map(|generation| now.keys_of(generation.files.keys())));
    for listed in place.list(&format!("{folder}/repodata")).await? {
        let fresh = context.now.duration_since(listed.modified) < super::GRACE;
        let anchor = listed.key.contains("/repodata/repomd.xml");
        if !anchor && !fresh && !named.contains(&listed.key) {
            place.delete(&listed.key).await?;
        }
    }
    let mut dropped: BTreeSet<&String> = gone.iter().flat_map(|generation| &generation.dropped).collect();
    let kept: BTreeSet<&String> = state.earlier.iter().flat_map(|generation| &generation.dropped).collect();
    dropped.retain(|key| !kept.contains(key));
    if dropped.is_empty() {
        return Ok(());
    }
    let primary = now.text(place, "primary").await?;
    for key in dropped {
        let href = key.strip_prefix(folder).unwrap_or(key).trim_start_matches('/');
        if !primary.contains(href) && !primary.contains(escape(href).as_ref()) {
            place.delete(key).await?;
        }
    }
    Ok(())
}
