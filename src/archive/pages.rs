//! Pages: older runs are listed in blobs of their own, OCI image indexes that `index.json` names, so that it stays small
//! however many runs there are. A run is listed once, in the index or in a page.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use oci_spec::image::{Descriptor, ImageIndex, ImageIndexBuilder, MediaType, SCHEMA_VERSION};

use super::blobs;
use super::error::{ArchiveError, Result};
use super::layout::{self, ArchiveLock, Layout};
use super::lost_page;
use super::manifest::{
    PAGE, PAGE_FIRST, PAGE_LAST, annotation, annotations, canonical_json, describes_artifact, descriptor,
    digest_of,
};
use super::run::run_id;
use super::workspace::Workspace;
use crate::model::{Digest, RunId};
use crate::support::fs::PathContext;

/// Runs of a page. Of tests a few, so that all of them meet pages.
const RUNS: usize = if cfg!(test) { 8 } else { 256 };

/// True when an entry of the index is a page.
pub(super) fn is_page(entry: &Descriptor) -> bool {
    *entry.media_type() == MediaType::ImageIndex && describes_artifact(entry, PAGE)
}

/// True when the page may list the run: it says between which ids its own lie.
pub(super) fn may_list(page: &Descriptor, id: &RunId) -> bool {
    let says = |key| annotation(page, key).unwrap_or_default();
    (says(PAGE_FIRST)..=says(PAGE_LAST)).contains(&id.as_str())
}

/// The entries of a page. One that is damaged or gone is made again of its runs, if all of them are there.
pub(super) fn read(layout: &Layout, page: &Descriptor) -> Result<Vec<Descriptor>> {
    match read_stored(layout, page) {
        Err(
            error @ (ArchiveError::MissingBlob { .. }
            | ArchiveError::WrongDigest { .. }
            | ArchiveError::Damaged { .. }),
        ) => match lost_page::document(layout, page)? {
            Some(bytes) => runs_of(&bytes, page),
            None => Err(error),
        },
        read => read,
    }
}

/// The entries of a page as it is stored.
pub(super) fn read_stored(layout: &Layout, page: &Descriptor) -> Result<Vec<Descriptor>> {
    let digest = digest_of(page).ok_or_else(|| damaged("its digest is no sha256"))?;
    runs_of(&blobs::read_document(layout, &digest, "a page of runs")?, page)
}

fn runs_of(bytes: &[u8], page: &Descriptor) -> Result<Vec<Descriptor>> {
    let digest = digest_of(page).ok_or_else(|| damaged("its digest is no sha256"))?;
    let index: ImageIndex = blobs::parse(bytes, &digest, "the page of runs")?;
    Ok(index.manifests().iter().filter(|entry| run_id(entry).is_some()).cloned().collect())
}

fn damaged(reason: &str) -> ArchiveError {
    ArchiveError::Damaged { what: "a page of runs".to_owned(), reason: reason.to_owned() }
}

/// Everything that the index lists, with the runs of pages in the place of the pages.
pub(super) fn unfolded(layout: &Layout, index: &[Descriptor]) -> Result<Vec<Descriptor>> {
    let mut all = Vec::new();
    for entry in index {
        match is_page(entry) {
            true => all.extend(read(layout, entry)?),
            false => all.push(entry.clone()),
        }
    }
    Ok(all)
}

/// What is left of an index of which some runs went: pages that lost none stay, and the others' runs are listed without
/// them. `left` is what stays of [`unfolded`].
pub(super) fn folded(
    layout: &Layout,
    before: &[Descriptor],
    mut left: Vec<Descriptor>,
) -> Result<Vec<Descriptor>> {
    let stay: BTreeSet<Digest> = left.iter().filter_map(digest_of).collect();
    let (mut pages, mut paged) = (Vec::new(), BTreeSet::new());
    for page in before.iter().filter(|entry| is_page(entry)) {
        let runs: Vec<Digest> = read(layout, page)?.iter().filter_map(digest_of).collect();
        if !runs.is_empty() && runs.iter().all(|run| stay.contains(run)) {
            paged.extend(runs);
            pages.push(page.clone());
        }
    }
    left.retain(|entry| digest_of(entry).is_none_or(|digest| !paged.contains(&digest)));
    pages.extend(left);
    Ok(pages)
}

/// The entry of a run, in the index or in one of its pages.
pub(super) fn find(layout: &Layout, index: &[Descriptor], id: &RunId) -> Result<Option<Descriptor>> {
    let is_run = |entry: &&Descriptor| run_id(entry).as_ref() == Some(id);
    if let Some(entry) = index.iter().find(is_run) {
        return Ok(Some(entry.clone()));
    }
    for page in index.iter().filter(|entry| is_page(entry) && may_list(entry, id)) {
        if let Some(entry) = read(layout, page)?.iter().find(is_run) {
            return Ok(Some(entry.clone()));
        }
    }
    Ok(None)
}

/// Moves the oldest runs into pages where the index lists many. The pages are stored when this returns; they count once
/// the index names them.
pub(super) fn turn(
    layout: &Layout,
    workspace: &Workspace,
    index: &mut Vec<Descriptor>,
    _lock: &ArchiveLock,
) -> Result<()> {
    let mut ids: Vec<RunId> = index.iter().filter_map(run_id).collect();
    ids.sort();
    let mut ids = ids.as_slice();
    while ids.len() >= 2 * RUNS {
        let (oldest, others) = ids.split_at(RUNS);
        ids = others;
        let of_page = |entry: &Descriptor| run_id(entry).is_some_and(|id| oldest.binary_search(&id).is_ok());
        let (mut runs, rest): (Vec<_>, Vec<_>) = index.drain(..).partition(of_page);
        runs.sort_by_key(run_id);
        let bytes = document(runs)?;
        let mut page = descriptor(MediaType::ImageIndex, &Digest::of(&bytes), bytes.len() as u64)?;
        page.set_artifact_type(Some(MediaType::from(PAGE)));
        page.set_annotations(Some(annotations([
            (PAGE_FIRST, oldest[0].to_string()),
            (PAGE_LAST, oldest[RUNS - 1].to_string()),
        ])));
        store(layout, workspace, &bytes)?;
        index.extend(rest);
        let pages = index.iter().take_while(|entry| is_page(entry)).count();
        index.insert(pages, page);
    }
    Ok(())
}

/// The bytes of a page of these runs.
pub(super) fn document(runs: Vec<Descriptor>) -> Result<Vec<u8>> {
    let index = ImageIndexBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageIndex)
        .artifact_type(MediaType::from(PAGE))
        .manifests(runs)
        .build()
        .map_err(|error| damaged(&error.to_string()))?;
    canonical_json(&index)
}

/// Replaces a page by the entries of runs; what the index lists already stays as it is.
pub(super) fn replace(index: &mut Vec<Descriptor>, page: &Digest, runs: Vec<Descriptor>) {
    index.retain(|entry| digest_of(entry).as_ref() != Some(page));
    let known: BTreeSet<RunId> = index.iter().filter_map(run_id).collect();
    index.extend(runs.into_iter().filter(|run| run_id(run).is_some_and(|id| !known.contains(&id))));
}

/// Stores a page. Whoever holds the archive's lock cannot say that it relies on a blob, and need not: nobody prunes now.
pub(super) fn store(layout: &Layout, workspace: &Workspace, bytes: &[u8]) -> Result<()> {
    let temp = workspace.new_path()?;
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o444).open(&temp).at("create", &temp)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).at("write", &temp)?;
    let path = layout.blob(&Digest::of(bytes));
    fs::rename(&temp, &path).at("create", &path)?;
    Ok(layout::sync_dir(&layout.blobs())?)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::super::testing::Fixture;
    use super::super::{ArchiveError, KeepPolicy, index};
    use super::*;
    use crate::model::RunRecord;

    fn pages(fixture: &Fixture) -> usize {
        index::read(fixture.archive.layout())
            .unwrap()
            .manifests()
            .iter()
            .filter(|entry| is_page(entry))
            .count()
    }

    fn ids(fixture: &Fixture) -> Vec<RunId> {
        fixture.archive.runs().unwrap().into_iter().map(|run| run.id).collect()
    }

    #[test]
    fn runs_that_move_into_pages_are_found_as_before() {
        let fixture = Fixture::new();
        let mut records: Vec<RunRecord> = (0..40).map(|number| fixture.add_run(number)).collect();
        assert_eq!(pages(&fixture), 4);
        let listed = index::read(fixture.archive.layout()).unwrap();
        assert_eq!(listed.manifests().iter().filter_map(run_id).count(), 8, "the newest");
        records.reverse();
        assert_eq!(ids(&fixture), records.iter().map(|record| record.id.clone()).collect::<Vec<_>>());
        let old = &records[39];
        assert_eq!(&fixture.archive.run(old.id.as_str()).unwrap().record, old);
        assert_eq!(fixture.archive.find_build(&Digest::of("build 0")).unwrap().unwrap().0, old.id);
        let report = fixture.verify();
        assert!(report.is_sound() && report.runs == 40 && report.unreferenced_blobs == 0, "{report:?}");

        // Stored again nothing changes, and another run of its id is refused.
        let (record, images, files) = fixture.run(0);
        fixture.archive.add_run(&record, &images, &files).unwrap();
        assert_eq!(ids(&fixture).len(), 40);
        let other = RunRecord { package: "other".to_owned(), ..record };
        let error = fixture.archive.add_run(&other, &images, &files).unwrap_err();
        assert!(matches!(error, ArchiveError::RunExists { .. }), "{error}");
    }

    #[test]
    fn a_prune_takes_runs_out_of_pages_and_leaves_other_pages_alone() {
        let fixture = Fixture::new();
        let releases = [1, 2, 20];
        for number in 0..40 {
            fixture.add_run_of(number, releases.contains(&number));
        }
        let before = fixture.blobs();
        let fixture = fixture.reopened();
        let policy = KeepPolicy { last: Some(16), ..KeepPolicy::default() };
        let plan = fixture.archive.prune(&policy, jiff::Timestamp::now()).unwrap().plan;
        assert_eq!((ids(&fixture).len(), pages(&fixture)), (19, 1), "16, and the releases");
        assert_eq!(before.len() - fixture.blobs().len(), usize::try_from(plan.blobs).unwrap());
        let report = fixture.verify();
        assert!(report.is_sound() && report.runs == 19 && report.unreferenced_blobs == 0, "{report:?}");
    }

    #[test]
    fn a_page_that_a_crash_left_unused_is_not_taken_away_when_it_is_turned_again() {
        let fixture = Fixture::new();
        for number in (1..=24).chain([0]) {
            fixture.add_run(number);
        }
        // A crash before the index was replaced: the pages are there, and their runs are listed without them.
        let layout = fixture.archive.layout();
        let mut index = index::read(layout).unwrap();
        let left: Vec<Digest> =
            index.manifests().iter().filter(|entry| is_page(entry)).filter_map(digest_of).collect();
        index.set_manifests(unfolded(layout, index.manifests()).unwrap());
        fs::write(layout.index(), canonical_json(&index).unwrap()).unwrap();
        let fixture = fixture.reopened();
        assert_eq!((left.len(), pages(&fixture)), (2, 0));
        let policy = KeepPolicy { last: Some(24), ..KeepPolicy::default() };
        fixture.archive.prune(&policy, jiff::Timestamp::now()).unwrap();
        assert!(left.iter().all(|page| fixture.archive.has(page)));
        assert_eq!((ids(&fixture).len(), pages(&fixture)), (24, 2));
        assert!(fixture.verify().is_sound());
    }

    #[test]
    fn an_archive_of_the_version_before_pages_is_read_and_becomes_one_of_this() {
        let fixture = Fixture::new();
        let old = fixture.add_run(1);
        let path = fixture.archive.layout().index();
        let text = std::fs::read_to_string(&path).unwrap();
        let (now, before) =
            ("\"com.packhold.archive.version\":\"3\"", "\"com.packhold.archive.version\":\"2\"");
        assert!(text.contains(now));
        std::fs::write(&path, text.replace(now, before)).unwrap();
        assert_eq!(ids(&fixture), std::slice::from_ref(&old.id));
        let new = fixture.add_run(2);
        assert_eq!(ids(&fixture), [new.id, old.id]);
        assert!(std::fs::read_to_string(&path).unwrap().contains(now));
    }

    #[test]
    fn the_script_of_the_specification_finds_runs_in_pages() {
        let fixture = Fixture::new();
        let records: Vec<RunRecord> = (0..16).map(|number| fixture.add_run(number)).collect();
        let (_, script) = include_str!("FORMAT.md").split_once("```sh\n# sh to-oci.sh").unwrap();
        let script = script.split_once("```").unwrap().0;
        let layout = fixture.dir.path().join("layout");
        for record in [&records[0], &records[15]] {
            let mut shell = Command::new("sh");
            shell.args(["-c", script, "sh"]).arg(fixture.archive.path()).arg(format!("run-{}", record.id));
            let output = shell.arg(&layout).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let file = layout.join("blobs/sha256").join(record.targets[0].artifacts[0].digest.hex());
            assert!(file.exists(), "{}", record.id);
        }
    }
}
