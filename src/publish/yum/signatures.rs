//! Who has signed the packages of a tree: dnf asks for it where a `.repo` file says `gpgcheck=1`.

use std::path::{Path, PathBuf};

use super::draft::Draft;
use super::metadata::Entry;
use super::package::Package;
use super::{MAX_PACKAGE, href, new_entry};
use crate::model::Digest;
use crate::publish::place::Place;
use crate::publish::{Context, Result};
use crate::sign::{Signer, rpm_signer};
use crate::support::fs::PathContext;

/// Finds out who has signed the packages of which the tree does not know it, and signs those that nobody known has signed if that is
/// asked for. Gives the names of those that stay as they are.
pub(super) async fn settle(
    place: &dyn Place,
    draft: &mut Draft,
    context: &Context<'_>,
) -> Result<Vec<String>> {
    let mut nobody = Vec::new();
    let Some(signer) = context.signer.filter(|_| context.options.sign_rpms) else { return Ok(nobody) };
    for entry in draft.unsigned()? {
        let scratch = tempfile::tempdir().at("create a folder in", std::env::temp_dir())?;
        let file = fetch(place, &draft.tree.folder, &entry, scratch.path()).await?;
        let by = file.as_ref().and_then(|file| rpm_signer(file, &context.certificates).ok().flatten());
        match (by, file) {
            (Some(by), _) => drop(draft.signers.insert(entry.digest, by)),
            (None, Some(file)) if context.options.sign_adopted => {
                let signed = sign(place, &draft.tree.folder, &file, signer, context).await?;
                draft.replace(entry, &signed)?;
            }
            _ => nobody.push(format!("{}-{}.{}", entry.name, entry.version(), entry.arch)),
        }
    }
    Ok(nobody)
}

/// The file of a package, if it is the one that the metadata names.
async fn fetch(place: &dyn Place, folder: &str, entry: &Entry, scratch: &Path) -> Result<Option<PathBuf>> {
    let found = place.get(&format!("{folder}/{}", entry.href), MAX_PACKAGE).await?;
    let Some(found) = found.filter(|found| Digest::of(&found.bytes) == entry.digest) else { return Ok(None) };
    let path = scratch.join("package.rpm");
    std::fs::write(&path, found.bytes).at("write", &path)?;
    Ok(Some(path))
}

/// Puts a signed copy of a package beside it. Header and payload are the same; the file is another, so it has another name below the tree, and
/// clients in the middle of an update still find the old one.
async fn sign(
    place: &dyn Place,
    folder: &str,
    file: &Path,
    signer: &dyn Signer,
    context: &Context<'_>,
) -> Result<Entry> {
    let copy = file.with_file_name("signed.rpm");
    signer.sign_rpm(file, &copy)?;
    let package = Package::read(&copy)?;
    let mut href = href(&package);
    if place.size(&format!("{folder}/{href}")).await?.is_some() {
        let start = package.digest.hex();
        href = format!("Packages/{}/{}", &start[..16], package.file_name());
    }
    place.put_file(&format!("{folder}/{href}"), &copy).await?;
    let by = rpm_signer(&copy, &context.certificates)?;
    new_entry(package, href, by, context)
}
