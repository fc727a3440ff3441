//! What a page that is damaged or gone has listed: the manifests of its runs say all that it said.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;

use oci_spec::image::{Descriptor, ImageManifest};

use super::blobs;
use super::error::Result;
use super::index;
use super::layout::Layout;
use super::manifest::digest_of;
use super::pages;
use super::present;
use super::run;
use crate::model::{Digest, RunId};

/// A run's manifest names its files; it is far smaller than this, bytes.
const MAX_MANIFEST: u64 = 8 << 20;

/// The entries of runs that the page may have listed, in its order: all whose ids lie where its own did and that nothing else
/// lists. Reads the beginning of every blob.
pub(super) fn runs(layout: &Layout, page: &Descriptor) -> Result<Vec<Descriptor>> {
    let elsewhere = listed_elsewhere(layout, page)?;
    let mut found = Vec::new();
    for (digest, stored) in present::stored(layout)? {
        let Some(size) = stored.plain.filter(|size| *size <= MAX_MANIFEST) else { continue };
        let Some(entry) = entry_of(layout, &digest, size) else { continue };
        if run::run_id(&entry).is_some_and(|id| pages::may_list(page, &id) && !elsewhere.contains(&id)) {
            found.push(entry);
        }
    }
    found.sort_by_key(run::run_id);
    Ok(found)
}

/// The bytes of the page, if they can be made again: they must have its digest.
pub(super) fn document(layout: &Layout, page: &Descriptor) -> Result<Option<Vec<u8>>> {
    let bytes = pages::document(runs(layout, page)?)?;
    Ok((digest_of(page) == Some(Digest::of(&bytes))).then_some(bytes))
}

/// Runs that the index or a page that can be read lists.
fn listed_elsewhere(layout: &Layout, lost: &Descriptor) -> Result<BTreeSet<RunId>> {
    let index = index::read(layout)?;
    let mut ids: BTreeSet<RunId> = index.manifests().iter().filter_map(run::run_id).collect();
    let others =
        index.manifests().iter().filter(|entry| pages::is_page(entry) && entry.digest() != lost.digest());
    for page in others {
        ids.extend(pages::read_stored(layout, page).unwrap_or_default().iter().filter_map(run::run_id));
    }
    Ok(ids)
}

fn entry_of(layout: &Layout, digest: &Digest, size: u64) -> Option<Descriptor> {
    let mut first = [0];
    File::open(layout.blob(digest)).ok()?.read_exact(&mut first).ok()?;
    if first != *b"{" {
        return None;
    }
    let bytes = blobs::read_document(layout, digest, "a document").ok()?;
    let manifest: ImageManifest = serde_json::from_slice(&bytes).ok()?;
    run::entry(&manifest, digest, size)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Fixture;
    use super::super::{Archive, ArchiveError, KeepPolicy, repair};
    use super::*;

    /// An archive with two pages, and its copy; the second has turned its pages otherwise.
    fn with_pages() -> (Fixture, Vec<RunId>, Descriptor) {
        let fixture = Fixture::new();
        let ids: Vec<RunId> = (0..25).map(|number| fixture.add_run(number).id).collect();
        let fixture = fixture.reopened();
        let index = index::read(fixture.archive.layout()).unwrap();
        let pages: Vec<&Descriptor> =
            index.manifests().iter().filter(|entry| pages::is_page(entry)).collect();
        assert_eq!(pages.len(), 2, "of eight runs each");
        let page = (*pages[0]).clone();
        (fixture, ids, page)
    }

    fn newest_first(ids: &[RunId]) -> Vec<RunId> {
        ids.iter().rev().cloned().collect()
    }

    fn listed(archive: &Archive) -> Vec<RunId> {
        archive.runs().unwrap().into_iter().map(|run| run.id).collect()
    }

    #[test]
    fn without_a_page_its_runs_are_still_found_and_named_by_verify() {
        let (fixture, ids, page) = with_pages();
        let path = fixture.blob(&digest_of(&page).unwrap());
        let catalogue = fixture.archive.layout().catalogue();
        for damage in [None, Some("{}")] {
            let _ = std::fs::remove_file(&path);
            damage.iter().for_each(|text| std::fs::write(&path, text).unwrap());
            std::fs::remove_file(&catalogue).unwrap();
            assert_eq!(listed(&fixture.archive), newest_first(&ids));
            let report = fixture.verify();
            assert_eq!((report.problems.len(), report.runs), (1, 25), "{:?}", report.problems);
            let problem = &report.problems[0];
            assert_eq!((problem.blob, problem.runs.as_slice()), (digest_of(&page), &ids[..8]));
            assert_eq!(report.unreferenced_blobs, 0, "what its runs need is needed");
        }
        let all = KeepPolicy { all: true, ..KeepPolicy::default() };
        let pruned = fixture.archive.prune(&all, jiff::Timestamp::now());
        assert!(pruned.is_err(), "nobody knows by the page what is needed");
    }

    #[test]
    fn a_page_is_made_again_of_its_runs() {
        let (fixture, ids, page) = with_pages();
        let path = fixture.blob(&digest_of(&page).unwrap());
        // A copy that never had such a page.
        let copy = Fixture::new();
        std::fs::remove_file(&path).unwrap();
        let repaired = repair(fixture.archive.path(), copy.archive.path(), |_| ()).unwrap();
        assert!(repaired.report.is_sound() && repaired.repaired.len() == 1, "{repaired:?}");
        assert!(path.exists());
        assert_eq!(listed(&fixture.archive), newest_first(&ids));
    }

    #[test]
    fn what_is_gone_together_with_a_page_comes_back_from_a_copy_that_has_no_such_page() {
        let (fixture, ids, page) = with_pages();
        // The copy has the same runs, none of them in a page.
        let copy = Fixture::new();
        for number in 0..12 {
            copy.add_run(number);
        }
        let run = fixture.archive.run(ids[3].as_str()).unwrap();
        for digest in [digest_of(&page).unwrap(), run.manifest, run.files[0].digest] {
            std::fs::remove_file(fixture.blob(&digest)).unwrap();
        }
        let repaired = repair(fixture.archive.path(), copy.archive.path(), |_| ()).unwrap();
        assert!(repaired.report.is_sound(), "{repaired:?}");
        assert_eq!(listed(&fixture.archive), newest_first(&ids));
        fixture.archive.copy_blob(&run.files[0].digest, &mut Vec::new()).unwrap();
    }

    #[test]
    fn a_page_that_is_damaged_in_the_copy_as_well_is_made_again() {
        let (fixture, ids, page) = with_pages();
        let copy = Fixture::new();
        let digest = digest_of(&page).unwrap();
        std::fs::write(copy.blob(&digest), "{}").unwrap();
        std::fs::remove_file(fixture.blob(&digest)).unwrap();
        let repaired = repair(fixture.archive.path(), copy.archive.path(), |_| ()).unwrap();
        assert!(repaired.report.is_sound(), "{repaired:?}");
        assert_eq!(listed(&fixture.archive), newest_first(&ids));
    }

    #[test]
    fn where_a_page_cannot_be_made_again_what_is_whole_of_it_is_listed_without_it() {
        let (fixture, mut ids, page) = with_pages();
        let copy = Fixture::new();
        let manifest = fixture.archive.run(ids[3].as_str()).unwrap().manifest;
        for digest in [digest_of(&page).unwrap(), manifest] {
            std::fs::remove_file(fixture.blob(&digest)).unwrap();
        }
        std::fs::remove_file(fixture.archive.layout().catalogue()).unwrap();
        let blind = fixture.archive.runs().unwrap_err();
        assert!(matches!(blind, ArchiveError::MissingBlob { .. }), "{blind}");
        let repaired = repair(fixture.archive.path(), copy.archive.path(), |_| ()).unwrap();
        assert!(repaired.report.is_sound(), "{repaired:?}");
        ids.remove(3);
        assert_eq!(listed(&fixture.archive), newest_first(&ids));
    }
}
