//! Which runs stay, and the removal of everything else.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use oci_spec::image::{Descriptor, ImageManifest};
use serde::Serialize;

use super::blobs;
use super::catalogue;
use super::chunked;
use super::error::{ArchiveError, Result};
use super::index;
use super::layout::{self, ArchiveLock, Layout};
use super::manifest;
use super::manifest::{IMAGE_ID, RUN_RELEASE, annotation, digest_of};
use super::pages;
use super::present::{self, Stored};
use super::run::{self, RunSummary};
use super::workspace::{self, Workspace};
use crate::model::{Digest, RunId};
use crate::support::fs::PathContext;

/// How deep documents of other tools may refer to each other.
const MAX_DEPTH: usize = 8;

/// Which runs stay. A run stays if any of these keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeepPolicy {
    /// All runs.
    pub all: bool,
    /// The newest runs of each package, so many.
    pub last: Option<usize>,
    /// Runs that are not older than this.
    pub within: Option<Duration>,
    /// The newest releases of each package, so many; `None`: every release.
    pub releases: Option<usize>,
}

/// Why a run stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeptBecause {
    /// All runs do.
    All,
    /// It is a release.
    Release,
    /// It is one of the newest of its package.
    Last,
    /// It is new enough.
    Within,
    /// The archive does not say when it began.
    Undated,
}

impl std::fmt::Display for KeptBecause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::All => "all are kept",
            Self::Release => "a release",
            Self::Last => "one of the newest",
            Self::Within => "new enough",
            Self::Undated => "of an unknown time",
        })
    }
}

/// What becomes of one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PrunedRun {
    /// The run.
    pub run: RunSummary,
    /// Why it stays; `None` if it goes.
    pub kept: Option<KeptBecause>,
    /// Bytes that go with it. What several runs share goes with the newest of them.
    pub bytes: u64,
}

/// What a prune does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PrunePlan {
    /// Every run, newest first.
    pub runs: Vec<PrunedRun>,
    /// The images that no kept run uses, by identity.
    pub images: Vec<Digest>,
    /// Blobs that go.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of them that belong to no run: what runs left that never ended, and images that were not used.
    pub unreferenced_bytes: u64,
    /// Blobs that would go, but on which a living writer relies.
    pub held: u64,
    /// Living writers that do not say on what they rely. While there are any, no blob goes.
    pub silent_writers: u64,
}

/// What a prune did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pruned {
    /// What was to be done.
    pub plan: PrunePlan,
    /// Workspaces of dead writers that were removed, and strays.
    pub workspaces: u64,
    /// Their bytes.
    pub workspace_bytes: u64,
}

/// A plan, and what carries it out.
struct Decision {
    plan: PrunePlan,
    /// The index without what goes.
    keep: Vec<Descriptor>,
    /// The blobs that go, and how they are stored.
    remove: BTreeMap<Digest, Stored>,
}

pub(super) fn plan(layout: &Layout, policy: &KeepPolicy, now: Timestamp) -> Result<PrunePlan> {
    let lock = ArchiveLock::take(&layout.lock())?;
    let index = index::read(layout)?;
    Ok(decide(layout, index.manifests(), policy, now, &lock)?.plan)
}

pub(super) fn prune(
    layout: &Layout,
    workspace: &Workspace,
    policy: &KeepPolicy,
    now: Timestamp,
) -> Result<Pruned> {
    let swept = workspace::sweep(layout)?;
    let plan = index::update_under_lock(layout, workspace, |index, lock| {
        let Decision { plan, keep, mut remove } = decide(layout, index, policy, now, lock)?;
        *index = keep;
        // Only once the index is replaced, which must not fail after a blob is gone.
        let after = move |listed: &[Descriptor]| {
            // A page that was turned just now may have lain there unused.
            let pages = listed.iter().filter(|entry| pages::is_page(entry)).filter_map(digest_of);
            for page in pages {
                remove.remove(&page);
            }
            // Lists before packs: a list whose pack is gone would be damage.
            let lists = remove.iter().filter(|(_, stored)| stored.list.is_some());
            let files = remove.iter().filter(|(_, stored)| stored.plain.is_some());
            remove_files(lists.map(|(digest, _)| layout.chunk_list(digest)), &layout.chunk_lists())?;
            remove_files(files.map(|(digest, _)| layout.blob(digest)), &layout.blobs())?;
            Ok(plan)
        };
        Ok(after)
    })?;
    catalogue::refresh(layout);
    Ok(Pruned { plan, workspaces: swept.entries, workspace_bytes: swept.bytes })
}

fn remove_files(paths: impl Iterator<Item = PathBuf>, folder: &Path) -> Result<()> {
    let mut removed = false;
    for path in paths {
        fs::remove_file(&path).at("remove", &path)?;
        removed = true;
    }
    if removed {
        layout::sync_dir(folder)?;
    }
    Ok(())
}

/// Adds the packs of those that are kept in chunks.
fn add_packs(layout: &Layout, digests: &mut BTreeSet<Digest>) -> Result<()> {
    let mut packs = BTreeSet::new();
    for digest in &*digests {
        if let Some(list) = chunked::list(layout, digest)? {
            packs.extend(list.packs());
        }
    }
    digests.extend(packs);
    Ok(())
}

/// What goes and what stays. Under the lock, so that what living writers rely on is known to the end.
fn decide(
    layout: &Layout,
    index: &[Descriptor],
    policy: &KeepPolicy,
    now: Timestamp,
    lock: &ArchiveLock,
) -> Result<Decision> {
    let paged = index;
    let index = pages::unfolded(layout, paged)?;
    let index = index.as_slice();
    let mut runs = Vec::new();
    for entry in index {
        if let Some(id) = run::run_id(entry)
            && let Some(summary) = run::summary(id, entry)
        {
            let release = is_release(layout, entry, &summary)?;
            runs.push((summary, release));
        }
    }
    runs.sort_by(|(a, _), (b, _)| b.id.cmp(&a.id));
    let kept = policy.keep(&runs, now);

    let gone: BTreeMap<Digest, &RunId> = runs
        .iter()
        .zip(&kept)
        .filter(|(_, kept)| kept.is_none())
        .map(|((run, _), _)| (run.manifest, &run.id))
        .collect();
    let is_gone = |entry: &Descriptor| digest_of(entry).is_some_and(|digest| gone.contains_key(&digest));

    // Images stay with the runs that use them.
    let mut used = BTreeSet::new();
    for entry in index.iter().filter(|entry| run::run_id(entry).is_some() && !is_gone(entry)) {
        used.extend(images_of_run(layout, entry)?);
    }
    let mut used_ids: BTreeSet<&str> = BTreeSet::new();
    for entry in index {
        if digest_of(entry).is_some_and(|digest| used.contains(&digest)) {
            used_ids.extend(annotation(entry, IMAGE_ID));
        }
    }
    let is_unused = |entry: &Descriptor| annotation(entry, IMAGE_ID).is_some_and(|id| !used_ids.contains(id));
    let keep: Vec<Descriptor> =
        index.iter().filter(|entry| !is_gone(entry) && !is_unused(entry)).cloned().collect();
    let keep = pages::folded(layout, paged, keep)?;
    let mut images: Vec<Digest> = index
        .iter()
        .filter(|entry| is_unused(entry))
        .filter_map(|entry| annotation(entry, IMAGE_ID)?.parse().ok())
        .collect();
    images.sort();
    images.dedup();

    let mut needed = BTreeSet::new();
    for entry in &keep {
        if let Some(digest) = digest_of(entry) {
            mark(layout, &digest, MAX_DEPTH, &mut needed)?;
        }
    }
    add_packs(layout, &mut needed)?;
    let mut held = workspace::held(layout, lock)?;
    // A list that cannot be read holds nothing back: whoever relies on it finds out by itself.
    let _ = add_packs(layout, &mut held.digests);
    let (mut removable, mut held_back) = (BTreeMap::new(), 0);
    for (digest, stored) in present::stored(layout)? {
        if needed.contains(&digest) {
            continue;
        }
        if held.digests.contains(&digest) || held.silent > 0 {
            held_back += 1;
        } else {
            removable.insert(digest, stored);
        }
    }

    // Of what goes, what was whose. A document that cannot be read any more cannot say.
    let mut left = removable.clone();
    let mut told = Vec::new();
    for ((run, _), kept) in runs.iter().zip(kept) {
        let mut bytes = 0;
        if kept.is_none() {
            let mut own = BTreeSet::new();
            let _ = mark(layout, &run.manifest, MAX_DEPTH, &mut own);
            if let Ok(manifest) = super::image::read_manifest(layout, &run.manifest, "the manifest of a run")
            {
                for image in run::images(&manifest) {
                    let _ = mark(layout, &image, MAX_DEPTH, &mut own);
                }
            }
            let _ = add_packs(layout, &mut own);
            bytes = own.iter().filter_map(|digest| left.remove(digest)).map(|stored| stored.bytes()).sum();
        }
        told.push(PrunedRun { run: run.clone(), kept, bytes });
    }
    Ok(Decision {
        plan: PrunePlan {
            runs: told,
            images,
            blobs: removable.len() as u64,
            bytes: removable.values().map(Stored::bytes).sum(),
            unreferenced_bytes: left.values().map(Stored::bytes).sum(),
            held: held_back,
            silent_writers: held.silent,
        },
        keep,
        remove: removable,
    })
}

impl KeepPolicy {
    /// Which of the runs stay, and why. They come newest first, with whether they are releases.
    fn keep(&self, runs: &[(RunSummary, bool)], now: Timestamp) -> Vec<Option<KeptBecause>> {
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        let mut releases: BTreeMap<&str, usize> = BTreeMap::new();
        let count = |counts: &mut BTreeMap<_, usize>, package| {
            let count = counts.entry(package).or_default();
            *count += 1;
            *count
        };
        let mut decide = |run, release: bool| {
            let run: &RunSummary = run;
            let nth = count(&mut seen, run.package.as_str());
            if self.all {
                return Some(KeptBecause::All);
            }
            if release {
                let nth = count(&mut releases, run.package.as_str());
                if self.releases.is_none_or(|kept| nth <= kept) {
                    return Some(KeptBecause::Release);
                }
            }
            if self.last.is_some_and(|kept| nth <= kept) {
                return Some(KeptBecause::Last);
            }
            let Some(started) = run.started else { return Some(KeptBecause::Undated) };
            // What began in the future is new.
            let age = Duration::try_from(now.duration_since(started)).unwrap_or_default();
            self.within.filter(|within| age <= *within).map(|_| KeptBecause::Within)
        };
        runs.iter().map(|(run, release)| decide(run, *release)).collect()
    }
}

/// Whether a run is a release. Archives of earlier programs say so only in the run's record.
fn is_release(layout: &Layout, entry: &Descriptor, summary: &RunSummary) -> Result<bool> {
    match annotation(entry, RUN_RELEASE) {
        Some(said) => Ok(said == "true"),
        None => Ok(run::is_release(&run::read(layout, &summary.manifest)?.record)),
    }
}

fn images_of_run(layout: &Layout, entry: &Descriptor) -> Result<Vec<Digest>> {
    let Some(digest) = digest_of(entry) else { return Ok(Vec::new()) };
    let manifest: ImageManifest = super::image::read_manifest(layout, &digest, "the manifest of a run")?;
    Ok(run::images(&manifest))
}

/// A listed document and everything that it refers to.
pub(super) fn needed_by(layout: &Layout, digest: &Digest) -> Result<BTreeSet<Digest>> {
    let mut needed = BTreeSet::new();
    mark(layout, digest, MAX_DEPTH, &mut needed)?;
    Ok(needed)
}

/// Notes a blob and everything that it refers to. Documents of other tools count as well: whatever has a digest is referred
/// to, and manifests and indexes are followed (OCI image specification, "Content Descriptors"). A document that cannot be
/// read is an error, since nobody knows then what is still needed.
fn mark(layout: &Layout, digest: &Digest, depth: usize, marked: &mut BTreeSet<Digest>) -> Result<()> {
    if !marked.insert(*digest) {
        return Ok(());
    }
    if depth == 0 {
        let reason = format!("documents refer to each other more than {MAX_DEPTH} deep");
        return Err(ArchiveError::Damaged { what: format!("the manifest {digest}"), reason });
    }
    let bytes = blobs::read_document(layout, digest, "a manifest")?;
    let document: serde_json::Value = blobs::parse(&bytes, digest, "the manifest")?;
    let mut documents = Vec::new();
    references(&document, &mut documents, marked);
    documents.iter().try_for_each(|document| mark(layout, document, depth - 1, marked))
}

fn references(value: &serde_json::Value, documents: &mut Vec<Digest>, marked: &mut BTreeSet<Digest>) {
    match value {
        serde_json::Value::Array(values) => {
            values.iter().for_each(|value| references(value, documents, marked));
        }
        serde_json::Value::Object(members) => {
            let text = |key: &str| members.get(key).and_then(serde_json::Value::as_str);
            if let Some(digest) = text("digest").and_then(|digest| digest.parse().ok()) {
                match text("mediaType").is_some_and(manifest::is_document) {
                    true => documents.push(digest),
                    false => {
                        marked.insert(digest);
                    }
                }
            }
            members.values().for_each(|value| references(value, documents, marked));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::super::testing::{Fixture, image_record};
    use super::super::{Archive, verify};
    use super::*;
    use crate::model::RunRecord;

    const DAY: Duration = Duration::from_secs(86_400);

    fn now() -> Timestamp {
        Timestamp::from_second(1_700_000_100).unwrap()
    }

    fn last(kept: usize) -> KeepPolicy {
        KeepPolicy { last: Some(kept), ..KeepPolicy::default() }
    }

    fn ids(archive: &Archive) -> Vec<RunId> {
        archive.runs().unwrap().into_iter().map(|run| run.id).collect()
    }

    fn is_whole(fixture: &Fixture, record: &RunRecord) -> bool {
        let run = fixture.archive.run(record.id.as_str()).unwrap();
        let files =
            run.files.iter().all(|file| fixture.archive.copy_blob(&file.digest, &mut Vec::new()).is_ok());
        files && record.images.iter().all(|image| fixture.archive.image(&image.id).is_ok())
    }

    fn summary(package: &str, seconds: i64, started: bool) -> RunSummary {
        let begun = Timestamp::from_second(seconds).unwrap();
        RunSummary {
            id: RunId::new(begun, 0),
            manifest: Digest::of("manifest"),
            package: package.to_owned(),
            commit: String::new(),
            version: String::new(),
            started: started.then_some(begun),
            duration_ms: 0,
            outcome: String::new(),
            targets: [].into(),
        }
    }

    #[test]
    fn a_run_stays_for_the_first_reason_that_holds() {
        use KeptBecause as K;
        let now = 10 * 86_400;
        let runs = [
            (summary("a", now + 5, true), false),
            (summary("a", now - 86_400, true), true),
            (summary("b", now - 86_401, true), false),
            (summary("a", now - 2 * 86_400, false), false),
            (summary("a", now - 3 * 86_400, true), true),
            (summary("a", now - 4 * 86_400, true), false),
        ];
        let keep = |policy: KeepPolicy| policy.keep(&runs, Timestamp::from_second(now).unwrap());
        let (release, undated) = (Some(K::Release), Some(K::Undated));
        let none = KeepPolicy::default;
        assert_eq!(keep(KeepPolicy { all: true, ..none() }), [Some(K::All); 6]);
        assert_eq!(keep(none()), [None, release, None, undated, release, None]);
        assert_eq!(
            keep(KeepPolicy { last: Some(1), ..none() }),
            [Some(K::Last), release, Some(K::Last), undated, release, None],
            "of each package"
        );
        assert_eq!(
            keep(KeepPolicy { releases: Some(1), ..none() }),
            [None, release, None, undated, None, None]
        );
        assert_eq!(
            keep(KeepPolicy { within: Some(DAY), releases: Some(0), ..none() }),
            [Some(K::Within), Some(K::Within), None, undated, None, None],
            "what began in the future is new"
        );
    }

    #[test]
    fn what_is_not_kept_goes_and_what_is_kept_stays_whole() {
        let fixture = Fixture::new();
        let records = [1, 2, 3, 4].map(|number| fixture.add_run(number));
        let before = fixture.blobs();
        let plan = fixture.archive.plan_prune(&last(2), now()).unwrap();
        assert_eq!(fixture.blobs(), before);
        assert_eq!(ids(&fixture.archive).len(), 4, "a plan changes nothing");

        // The fixture's own handle still relies on what it stored; another process would not.
        assert!(plan.held > 0 && plan.blobs == 0);
        let fixture = fixture.reopened();
        let plan = fixture.archive.plan_prune(&last(2), now()).unwrap();
        let pruned = fixture.archive.prune(&last(2), now()).unwrap();
        assert_eq!(pruned.plan, plan, "what is planned is done");
        assert_eq!(ids(&fixture.archive), [records[3].id.clone(), records[2].id.clone()]);
        assert!(is_whole(&fixture, &records[2]) && is_whole(&fixture, &records[3]));
        let kept: Vec<_> = plan.runs.iter().map(|run| (run.kept, run.bytes > 0)).collect();
        let stays = (Some(KeptBecause::Last), false);
        assert_eq!(kept, [stays, stays, (None, true), (None, true)]);
        assert_eq!(plan.bytes, plan.runs.iter().map(|run| run.bytes).sum::<u64>() + plan.unreferenced_bytes);
        assert_eq!(before.len() - fixture.blobs().len(), usize::try_from(plan.blobs).unwrap());
        let report = fixture.verify();
        assert!(report.is_sound(), "{:?}", report.problems);
        assert_eq!((report.runs, report.unreferenced_blobs), (2, 0));
        assert_eq!(
            fixture.archive.prune(&last(2), now()).unwrap().plan.blobs,
            0,
            "a second time nothing is left to do"
        );
    }

    #[test]
    fn images_go_with_the_last_run_that_uses_them() {
        let fixture = Fixture::new();
        let (mut record, _, files) = fixture.run(1);
        let own = image_record(&fixture.image("of the first"), "first");
        record.images.push(own.clone());
        fixture.archive.add_run(&record, &record.images.clone(), &files).unwrap();
        fixture.add_run(2);
        let lone = image_record(&fixture.image("of none"), "none");
        fixture.archive.add_image(&lone).unwrap();
        let fixture = fixture.reopened();
        let plan = fixture.archive.prune(&last(1), now()).unwrap().plan;
        let mut gone = vec![own.id, lone.id];
        gone.sort();
        assert_eq!(plan.images, gone);
        assert!(plan.unreferenced_bytes > 0, "that of no run");
        let left: Vec<Digest> = fixture.archive.images().unwrap().into_iter().map(|image| image.id).collect();
        assert_eq!(left, [record.images[0].id]);
        assert!(!fixture.archive.keep_image(&own.id).unwrap());
        assert!(fixture.verify().is_sound());
    }

    #[test]
    fn releases_stay_unless_their_number_is_bounded() {
        let fixture = Fixture::new();
        let records = [(1, true), (2, false), (3, true), (4, false)];
        let records = records.map(|(number, release)| fixture.add_run_of(number, release));
        fixture.archive.prune(&last(0), now()).unwrap();
        assert_eq!(ids(&fixture.archive), [records[2].id.clone(), records[0].id.clone()]);
        fixture.archive.prune(&KeepPolicy { releases: Some(1), ..last(0) }, now()).unwrap();
        assert_eq!(ids(&fixture.archive), [records[2].id.clone()]);
    }

    #[test]
    fn what_a_living_writer_relies_on_stays_until_it_has_ended() {
        let fixture = Fixture::new();
        let old = fixture.add_run(1);
        let files = fixture.archive.run(old.id.as_str()).unwrap().files;
        let pruner = Archive::open(fixture.archive.path()).unwrap();
        // The first writer is gone; another begins a run with the packages and the image of the old one.
        drop(fixture.archive);
        let writer = Archive::open(pruner.path()).unwrap();
        assert!(writer.keep(files.iter().map(|file| &file.digest)).unwrap());
        assert!(writer.keep_image(&old.images[0].id).unwrap());
        let (new, _) = writer.put_bytes(b"not referred to yet").unwrap();
        let plan = pruner.prune(&last(0), now()).unwrap().plan;
        assert!(plan.held >= 4 && pruner.has(&new), "{plan:?}");
        let fixture = Fixture { archive: writer, dir: fixture.dir };
        let (mut record, images, _) = fixture.run(2);
        record.targets[0].artifacts.clone_from(&old.targets[0].artifacts);
        fixture.archive.add_run(&record, &images, &files).unwrap();
        assert!(is_whole(&fixture, &record));
        drop(fixture.archive);
        pruner.prune(&last(1), now()).unwrap();
        assert!(!pruner.has(&new), "nobody needs it any more");
        let fixture = Fixture { archive: pruner, dir: fixture.dir };
        assert!(is_whole(&fixture, &record));
        assert!(fixture.verify().is_sound());
    }

    #[test]
    fn what_a_living_writer_has_found_instead_of_stored_stays_too() {
        let fixture = Fixture::new();
        let (old, _) = fixture.archive.put_bytes(b"of a run that ended").unwrap();
        let image = fixture.image("of a run that ended");
        fixture.archive.add_image(&image_record(&image, "key")).unwrap();
        let fixture = fixture.reopened();
        let writer = Archive::open(fixture.archive.path()).unwrap();
        assert_eq!(writer.put_bytes(b"of a run that ended").unwrap().0, old);
        let found = Fixture { archive: writer, dir: tempfile::tempdir().unwrap() };
        assert_eq!(found.image("of a run that ended"), image);
        fixture.archive.prune(&last(0), now()).unwrap();
        assert!(fixture.archive.has(&old));
        fixture.archive.copy_blob(&image.layers[0].digest, &mut Vec::new()).unwrap();
        drop(found);
        fixture.archive.prune(&last(0), now()).unwrap();
        assert!(fixture.blobs().is_empty() && fixture.verify() == verify::VerifyReport::default());
    }

    #[test]
    fn beside_a_writer_that_does_not_say_what_it_needs_no_blob_goes() {
        let fixture = Fixture::new();
        fixture.add_run(1);
        let pruner = Archive::open(fixture.archive.path()).unwrap();
        let workspace = fs::read_dir(pruner.layout().tmp()).unwrap().next().unwrap().unwrap().path();
        fs::remove_file(workspace.join("holds")).unwrap();
        let plan = pruner.prune(&last(0), now()).unwrap().plan;
        assert_eq!((plan.silent_writers, plan.blobs, pruner.runs().unwrap().len()), (1, 0, 0));
        drop(fixture.archive);
        assert!(pruner.prune(&last(0), now()).unwrap().plan.blobs > 0);
    }

    #[test]
    fn where_nobody_knows_what_is_needed_nothing_is_removed() {
        let fixture = Fixture::new();
        fixture.add_run(1);
        let kept = fixture.add_run(2);
        let manifest = fixture.archive.run(kept.id.as_str()).unwrap().manifest;
        let fixture = fixture.reopened();
        let path = fixture.blob(&manifest);
        let bytes = fs::read(&path).unwrap();
        for damage in [Some(&bytes[..bytes.len() - 2]), None] {
            fs::remove_file(&path).unwrap();
            if let Some(damage) = damage {
                fs::write(&path, damage).unwrap();
            }
            let before = fixture.blobs();
            fixture.archive.prune(&last(1), now()).unwrap_err();
            assert_eq!((fixture.blobs(), ids(&fixture.archive).len()), (before, 2));
        }
        // What is to go may be damaged.
        fixture.archive.prune(&KeepPolicy { last: Some(0), ..KeepPolicy::default() }, now()).unwrap();
        assert!(ids(&fixture.archive).is_empty() && fixture.verify().is_sound());
    }

    #[test]
    fn what_other_tools_keep_in_the_layout_stays() {
        let fixture = Fixture::new();
        let foreign = Archive::open(fixture.archive.path()).unwrap();
        let (layer, size) = foreign.put_bytes(b"a layer").unwrap();
        let manifest =
            serde_json::json!({ "schemaVersion": 2, "layers": [{ "digest": layer, "size": size }] });
        let (manifest, size) = foreign.put_bytes(manifest.to_string().as_bytes()).unwrap();
        let media_type = "application/vnd.docker.distribution.manifest.v2+json";
        let list = serde_json::json!({ "manifests": [{ "mediaType": media_type, "digest": manifest, "size": size }] });
        let (list, size) = foreign.put_bytes(list.to_string().as_bytes()).unwrap();
        let entry = manifest::descriptor(oci_spec::image::MediaType::ImageIndex, &list, size).unwrap();
        index::update(foreign.layout(), foreign.workspace(), |index| {
            index.push(entry);
            Ok(())
        })
        .unwrap();
        let (unlisted, _) = foreign.put_bytes(b"of nobody").unwrap();
        drop(foreign);
        fixture.archive.prune(&last(0), now()).unwrap();
        assert!([layer, manifest, list].iter().all(|digest| fixture.archive.has(digest)));
        assert!(!fixture.archive.has(&unlisted));
    }

    #[test]
    fn writers_and_prunes_at_the_same_time_lose_nothing() {
        let fixture = Fixture::new();
        let path = fixture.archive.path().to_owned();
        let done = AtomicBool::new(false);
        let (prunes, runs) = std::thread::scope(|scope| {
            let pruner = scope.spawn(|| {
                let mut prunes = 0;
                while !done.load(Ordering::Relaxed) {
                    Archive::open(&path).unwrap().prune(&last(3), now()).unwrap();
                    prunes += 1;
                }
                prunes
            });
            let writers: Vec<_> = (0..4)
                .map(|writer| {
                    let path = &path;
                    scope.spawn(move || {
                        for number in 0..25 {
                            // Each run is a process of its own; all use the same image, which a prune may just take away.
                            let archive = Archive::open(path).unwrap();
                            let fixture = Fixture { archive, dir: tempfile::tempdir().unwrap() };
                            fixture.add_run(number * 4 + writer);
                        }
                        25
                    })
                })
                .collect();
            let runs: u32 = writers.into_iter().map(|writer| writer.join().unwrap()).sum();
            done.store(true, Ordering::Relaxed);
            (pruner.join().unwrap(), runs)
        });
        assert!(prunes > 3 && runs == 100, "{prunes} prunes beside {runs} runs");
        let report = fixture.verify();
        assert!(report.is_sound(), "{:?}", report.problems);
        assert!(report.runs >= 3);
    }
}
