//! Brings back from another copy what is damaged.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use oci_spec::image::Descriptor;
use serde::Serialize;

use super::blobs;
use super::chunked::{self, BlobChunks};
use super::error::{ArchiveError, Result};
use super::index;
use super::layout::{self, ArchiveLock, Layout};
use super::lost_page;
use super::manifest::digest_of;
use super::pages;
use super::present;
use super::prune::needed_by;
use super::run;
use super::verify::{self, Problem, ProblemKind, VerifyProgress, VerifyReport};
use super::workspace::Workspace;
use crate::chunks::{KnownChunks, LARGE};
use crate::model::Digest;
use crate::support::fs::PathContext;

/// How often what was repaired is looked at again: a document that came back may name blobs that are missing.
const ROUNDS: usize = 8;

/// What a repair did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Repaired {
    /// What was wrong and came back, a sentence each that names the object.
    pub repaired: Vec<String>,
    /// How the archive is now.
    pub report: VerifyReport,
}

/// Repairs the archive in `dir` with what the archive in `other` has. See [`repair`](super::repair()).
pub(super) fn repair(
    dir: &Path,
    other: &Path,
    progress: &mut impl FnMut(VerifyProgress),
) -> Result<Repaired> {
    let other = Layout::open(other)?;
    let layout = Layout::at(dir);
    let mut done = Repaired { report: verify::verify(dir, &mut *progress)?, ..Repaired::default() };
    for _ in 0..ROUNDS {
        let before = done.repaired.len();
        for problem in &done.report.problems {
            if mend(&layout, &other, problem)? {
                done.repaired.push(problem.message.clone());
            }
        }
        if done.repaired.len() == before {
            break;
        }
        done.report = verify::verify(dir, &mut *progress)?;
    }
    Ok(done)
}

/// Mends one thing; false if the other archive cannot help.
fn mend(layout: &Layout, other: &Layout, problem: &Problem) -> Result<bool> {
    match (problem.kind, problem.blob) {
        (ProblemKind::Layout, _) => replace_file(layout, &layout.marker(), &fs_read(&other.marker())?),
        (ProblemKind::Index, _) => replace_file(layout, &layout.index(), &fs_read(&other.index())?),
        (
            ProblemKind::Missing | ProblemKind::Size | ProblemKind::Digest | ProblemKind::Document,
            Some(blob),
        ) => mend_blob(layout, other, &blob),
        _ => Ok(false),
    }
}

fn mend_blob(layout: &Layout, other: &Layout, digest: &Digest) -> Result<bool> {
    let there = blobs::plain_size(other, digest).is_some();
    if there && copy_plain(layout, other, digest)? {
        return Ok(true);
    }
    if let Some(page) = page(layout, digest)? {
        mend_page(layout, other, &page, digest)?;
        return Ok(true);
    }
    if there || blobs::size(other, digest).is_some() {
        return Ok(!there && copy_chunked(layout, other, digest)?);
    }
    // A pack that the other has not, because it has cut or packed otherwise: then what lies in it comes back by itself.
    let users = users(layout, digest)?;
    let mut mended = !users.is_empty();
    for user in users {
        mended &= copy_chunked(layout, other, &user)?;
    }
    // What is stored again may be the same pack; if it is not, nothing needs the damaged one.
    if mended && self::users(layout, digest)?.is_empty() {
        remove(&layout.blob(digest))?;
    }
    Ok(mended)
}

/// The entry of a page that the index names.
fn page(layout: &Layout, digest: &Digest) -> Result<Option<Descriptor>> {
    let named = |entry: &&Descriptor| pages::is_page(entry) && digest_of(entry).as_ref() == Some(digest);
    Ok(index::read(layout)?.manifests().iter().find(named).cloned())
}

/// Makes a page again, or lists its runs without it: all that are whole with what the other archive has. Manifests that are gone here
/// are taken from there, where runs between the first and the last of the page have such.
fn mend_page(layout: &Layout, other: &Layout, page: &Descriptor, digest: &Digest) -> Result<()> {
    let workspace = Workspace::new(layout.clone());
    if let Some(bytes) = lost_page::document(layout, page)? {
        return pages::store(layout, &workspace, &bytes);
    }
    let theirs = pages::unfolded(other, index::read(other)?.manifests()).unwrap_or_default();
    let of_page = |run: &&Descriptor| run::run_id(run).is_some_and(|id| pages::may_list(page, &id));
    for manifest in theirs.iter().filter(of_page).filter_map(digest_of) {
        if blobs::plain_size(layout, &manifest).is_none() {
            copy_plain(layout, other, &manifest)?;
        }
    }
    if let Some(bytes) = lost_page::document(layout, page)? {
        return pages::store(layout, &workspace, &bytes);
    }
    let mut runs = lost_page::runs(layout, page)?;
    let somewhere =
        |digest: &Digest| [layout, other].iter().any(|place| blobs::size(place, digest).is_some());
    runs.retain(|run| {
        let needed = digest_of(run).and_then(|digest| needed_by(layout, &digest).ok()).unwrap_or_default();
        !needed.is_empty() && needed.iter().all(somewhere)
    });
    index::update(layout, &workspace, |index| {
        pages::replace(index, digest, runs);
        Ok(())
    })
}

/// The blobs of which some bytes lie in a pack.
fn users(layout: &Layout, pack: &Digest) -> Result<BTreeSet<Digest>> {
    let mut users = BTreeSet::new();
    for (user, stored) in present::stored(layout)? {
        let list = stored.list.and_then(|_| chunked::list(layout, &user).ok().flatten());
        if list.is_some_and(|list| list.packs().contains(pack)) {
            users.insert(user);
        }
    }
    Ok(users)
}

/// Copies a blob as it is. One that is damaged in the other archive too is not taken.
fn copy_plain(layout: &Layout, other: &Layout, digest: &Digest) -> Result<bool> {
    let workspace = Workspace::new(layout.clone());
    workspace.hold([digest])?;
    let temp = workspace.new_path()?;
    let mut file = fs::File::create_new(&temp).at("create", &temp)?;
    let copied = blobs::copy(other, digest, "a blob of the other archive", |bytes| {
        Ok(file.write_all(bytes).at("write", &temp)?)
    });
    if is_damage(copied)? {
        return Ok(false);
    }
    file.sync_all().at("write", &temp)?;
    let mut mode = file.metadata().at("read", &temp)?.permissions();
    mode.set_readonly(true);
    file.set_permissions(mode).at("write", &temp)?;
    fs::rename(&temp, layout.blob(digest)).at("replace", layout.blob(digest))?;
    layout::sync_dir(&layout.blobs())?;
    Ok(true)
}

/// Stores a blob in chunks of its own, since nobody knows which of the chunks that are there are sound.
fn copy_chunked(layout: &Layout, other: &Layout, digest: &Digest) -> Result<bool> {
    if blobs::size(other, digest).is_none() {
        return Ok(false);
    }
    let workspace = Workspace::new(layout.clone());
    let known = Arc::new(KnownChunks::none());
    let mut writer = BlobChunks::new(layout, &workspace, &known, LARGE);
    if is_damage(blobs::copy(other, digest, "a blob of the other archive", |bytes| writer.write(bytes)))? {
        return Ok(false);
    }
    let staged = writer.end_blob()?;
    // What is kept as it is counts before what is kept in chunks.
    remove(&layout.blob(digest))?;
    remove(&layout.chunk_list(digest))?;
    writer.publish(&[staged])?;
    Ok(true)
}

/// True when bytes of the other archive are wrong; everything else that failed is an error.
fn is_damage(copied: Result<u64>) -> Result<bool> {
    match copied {
        Ok(_) => Ok(false),
        Err(
            ArchiveError::WrongDigest { .. }
            | ArchiveError::MissingBlob { .. }
            | ArchiveError::Damaged { .. },
        ) => Ok(true),
        Err(error) => Err(error),
    }
}

fn replace_file(layout: &Layout, path: &Path, bytes: &[u8]) -> Result<bool> {
    let workspace = Workspace::new(layout.clone());
    let temp = workspace.new_path()?;
    let _lock = ArchiveLock::take(&layout.lock())?;
    let mut file = fs::File::create_new(&temp).at("create", &temp)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).at("write", &temp)?;
    fs::rename(&temp, path).at("replace", path)?;
    layout::sync_dir(layout.root())?;
    Ok(true)
}

fn fs_read(path: &Path) -> Result<Vec<u8>> {
    Ok(fs::read(path).at("read", path)?)
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).at("remove", path)?,
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::testing::Fixture;
    use super::super::{Archive, repair};
    use super::*;

    fn copy_of(fixture: &Fixture) -> PathBuf {
        let copy = fixture.dir.path().join("copy");
        for folder in ["blobs/sha256", "chunked/sha256"] {
            fs::create_dir_all(copy.join(folder)).unwrap();
            for entry in fs::read_dir(fixture.archive.path().join(folder)).unwrap() {
                let name = entry.unwrap().file_name();
                fs::copy(fixture.archive.path().join(folder).join(&name), copy.join(folder).join(&name))
                    .unwrap();
            }
        }
        for name in ["index.json", "oci-layout"] {
            fs::copy(fixture.archive.path().join(name), copy.join(name)).unwrap();
        }
        copy
    }

    fn files(fixture: &Fixture) -> Vec<PathBuf> {
        let layout = fixture.archive.layout();
        let mut files = vec![layout.index(), layout.marker()];
        for folder in [layout.blobs(), layout.chunk_lists()] {
            files.extend(fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
        }
        files
    }

    #[test]
    fn whatever_is_damaged_or_gone_comes_back_from_a_copy() {
        let fixture = Fixture::new();
        fixture.add_run(1);
        fixture.add_run(2);
        let copy = copy_of(&fixture);
        for path in files(&fixture) {
            let sound = fs::read(&path).unwrap();
            for damage in [None, Some(&sound[..sound.len() / 2]), Some(&b"{}"[..])] {
                if damage == Some(&sound) {
                    continue;
                }
                fs::remove_file(&path).unwrap();
                if let Some(damage) = damage {
                    fs::write(&path, damage).unwrap();
                }
                assert!(!fixture.verify().is_sound(), "{path:?}");
                let repaired = repair(fixture.archive.path(), &copy, |_| ()).unwrap();
                assert!(
                    repaired.report.is_sound() && !repaired.repaired.is_empty(),
                    "{path:?}: {repaired:?}"
                );
            }
        }
        // Everything at once.
        for path in files(&fixture) {
            fs::remove_file(&path).unwrap();
        }
        fs::write(fixture.archive.layout().marker(), "").unwrap();
        assert!(repair(fixture.archive.path(), &copy, |_| ()).unwrap().report.is_sound());
        assert_eq!(fixture.archive.runs().unwrap().len(), 2);
    }

    #[test]
    fn a_pack_that_the_copy_has_not_is_replaced_by_what_lay_in_it() {
        let (fixture, other) = (Fixture::new(), Fixture::new());
        let logs = [vec![b'a'; 5000], vec![b'b'; 6000]];
        let stored = fixture.archive.put_compressed(logs.iter().map(Vec::as_slice)).unwrap();
        for log in &logs {
            other.archive.put_compressed([log.as_slice()]).unwrap();
        }
        let pack = fixture.file_of(&stored[0].0);
        assert_eq!(pack, fixture.file_of(&stored[1].0));
        fs::remove_file(&pack).unwrap();
        fs::write(&pack, "?").unwrap();
        let repaired = repair(fixture.archive.path(), other.archive.path(), |_| ()).unwrap();
        assert!(repaired.report.is_sound(), "{repaired:?}");
        assert!(!pack.exists());
        for (digest, size) in stored {
            assert_eq!(fixture.archive.copy_blob(&digest, &mut Vec::new()).unwrap(), size);
        }
    }

    #[test]
    fn what_the_copy_has_not_or_has_damaged_stays_a_problem() {
        let fixture = Fixture::new();
        let record = fixture.add_run(1);
        let artifact = record.targets[0].artifacts[0].digest;
        let other = Fixture::new();
        for damage in [None, Some("package X")] {
            if let Some(damage) = damage {
                fs::write(other.blob(&artifact), damage).unwrap();
            }
            fs::remove_file(fixture.blob(&artifact)).unwrap();
            fs::write(fixture.blob(&artifact), "package ?").unwrap();
            let repaired = repair(fixture.archive.path(), other.archive.path(), |_| ()).unwrap();
            assert!(repaired.repaired.is_empty());
            assert_eq!(repaired.report.problems[0].blob, Some(artifact));
            assert_eq!(
                fs::read(fixture.blob(&artifact)).unwrap(),
                b"package ?",
                "nothing worse took its place"
            );
        }
        let missing = repair(fixture.archive.path(), fixture.dir.path().join("no"), |_| ()).unwrap_err();
        assert!(matches!(missing, ArchiveError::NotAnArchive { .. }));
        assert!(Archive::open(fixture.archive.path()).is_ok());
    }
}
