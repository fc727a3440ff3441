use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use oci_spec::image::{
    ANNOTATION_CREATED, ANNOTATION_REF_NAME, ANNOTATION_TITLE, Descriptor, ImageManifest,
    ImageManifestBuilder, MediaType, SCHEMA_VERSION,
};
use serde::{Deserialize, Serialize};

use super::blobs;
use super::catalogue;
use super::error::{ArchiveError, Result};
use super::image;
use super::index;
use super::layout::Layout;
use super::manifest::{
    Annotations, BUILD_KEYS, FILE_ROLE, FILE_TARGET, RUN, RUN_COMMIT, RUN_DURATION, RUN_ID, RUN_IMAGES,
    RUN_OUTCOME, RUN_PACKAGE, RUN_RECORD, RUN_RELEASE, RUN_STARTED, RUN_TARGETS, RUN_VERSION, VERIFY_KEYS,
    annotation, annotations, descriptor, digest_of, is_artifact, lists_artifact, manifest_annotation,
};
use super::pages;
use super::workspace::Workspace;
use crate::model::{Digest, ImageRecord, RunId, RunRecord, Stage, TargetName, TargetRecord};
use crate::support::tar_reader;

/// What a file is in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileRole {
    /// The source tree's tar.
    Source,
    /// What a build left.
    Artifact,
    /// What a stage printed.
    Log,
    /// The pipeline file as it was used.
    Pipeline,
    /// The lock that the run was held to.
    Lock,
    /// A file of a builder as it was used.
    Builder,
    /// What was made of what, for others to check: an in-toto Statement in a DSSE envelope.
    Receipt,
    /// What is in a package or an image.
    Sbom,
}

impl FileRole {
    const ALL: [(Self, &'static str); 8] = [
        (Self::Source, "source"),
        (Self::Artifact, "artifact"),
        (Self::Log, "log"),
        (Self::Pipeline, "pipeline"),
        (Self::Lock, "lock"),
        (Self::Builder, "builder"),
        (Self::Receipt, "receipt"),
        (Self::Sbom, "sbom"),
    ];
}

impl FileRole {
    /// The word for it in a manifest.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(role, _)| *role == self).map_or("", |(_, word)| word)
    }
}

impl std::fmt::Display for FileRole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for FileRole {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        Self::ALL.iter().find(|(_, word)| *word == text).map(|(role, _)| *role).ok_or(())
    }
}

/// A file that belongs to a run; its bytes are a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFile {
    /// Its name, or for a builder's file its path (`debian-12/deps.sh`): relative, without `..`.
    pub name: String,
    /// What it is.
    pub role: FileRole,
    /// The target that it belongs to, if it is not the whole run's.
    pub target: Option<TargetName>,
    /// The media type of its bytes (RFC 6838).
    pub media_type: String,
    /// The digest of its bytes.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
}

impl RunFile {
    /// Where the file stands below a folder that holds the whole run: `debian-12_deb/NAME` for a target's file.
    pub fn path(&self) -> String {
        match &self.target {
            Some(target) => format!("{}/{}", target.file_stem(), self.name),
            None => self.name.clone(),
        }
    }
}

/// A run in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunSummary {
    /// The run.
    pub id: RunId,
    /// The digest of its manifest.
    pub manifest: Digest,
    /// The package's name.
    pub package: String,
    /// The full commit id.
    pub commit: String,
    /// The version as `git describe` says it.
    pub version: String,
    /// UTC; `None` if the archive does not say.
    pub started: Option<Timestamp>,
    /// Milliseconds.
    pub duration_ms: u64,
    /// The outcome as one stable word or two: `passed`, `failed(build, oom)`.
    pub outcome: String,
    /// The targets and their outcomes, in the pipeline's order. Many runs say the same of them and share it.
    pub targets: Arc<[TargetSummary]>,
}

/// A target of a run in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetSummary {
    /// The target.
    pub target: TargetName,
    /// Its outcome as one stable word or two.
    pub outcome: String,
}

/// A run with everything that the archive has of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// What happened.
    pub record: RunRecord,
    /// The digest of its manifest.
    pub manifest: Digest,
    /// Its files.
    pub files: Vec<RunFile>,
    /// The images that are stored with it, by the digests of their manifests.
    pub images: Vec<Digest>,
}

/// Stores a run with its images. See [`Archive::add_run`](super::Archive::add_run).
pub(super) fn add(
    layout: &Layout,
    workspace: &Workspace,
    record: &RunRecord,
    stored_record: (Digest, u64),
    images: &[ImageRecord],
    files: &[RunFile],
) -> Result<Digest> {
    workspace.hold(files.iter().map(|file| &file.digest))?;
    check(layout, record, files)?;
    let record_images: Vec<Digest> = images.iter().map(|image| image.id).collect();
    let images =
        images.iter().map(|image| image::prepare(layout, workspace, image)).collect::<Result<Vec<_>>>()?;
    let image_manifests: BTreeSet<Digest> =
        images.iter().filter_map(|entry| digest_of(&entry.image)).collect();

    let (digest, size) = stored_record;
    let mut layers = vec![descriptor(MediaType::from(RUN_RECORD), &digest, size)?];
    layers[0].set_annotations(Some(annotations([(ANNOTATION_TITLE, "run.json".to_owned())])));
    for file in files {
        let mut layer = descriptor(MediaType::from(file.media_type.as_str()), &file.digest, file.size)?;
        let mut about = annotations([(ANNOTATION_TITLE, file.path()), (FILE_ROLE, file.role.to_string())]);
        about.extend(file.target.as_ref().map(|target| (FILE_TARGET.to_owned(), target.to_string())));
        layer.set_annotations(Some(about));
        layers.push(layer);
    }
    let mut of_manifest = summary_annotations(record)?;
    let listed: Vec<String> = image_manifests.iter().map(Digest::to_string).collect();
    of_manifest.insert(RUN_IMAGES.to_owned(), listed.join(","));
    of_manifest.insert(ANNOTATION_CREATED.to_owned(), record.started.to_string());
    let manifest = ImageManifestBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageManifest)
        .artifact_type(MediaType::from(RUN))
        .config(image::put_empty(layout, workspace)?)
        .layers(layers)
        .annotations(of_manifest)
        .build()
        .map_err(|error| damaged("a run's manifest", &error.to_string()))?;
    let stored = image::put_manifest(layout, workspace, Ok(manifest.clone()))?;
    let no_digest = || damaged("a run's manifest", "it has no digest");
    let digest = digest_of(&stored).ok_or_else(no_digest)?;
    let entry = self::entry(&manifest, &digest, stored.size()).ok_or_else(no_digest)?;
    let manifest = digest;

    index::update(layout, workspace, |index| {
        // Once more: now nobody can remove what is about to be listed.
        check(layout, record, files)?;
        for image in &record_images {
            image::from_id(layout, image)?;
        }
        list(layout, index, entry, &record.id)?;
        for image in images {
            image.list(index);
        }
        Ok(())
    })?;
    catalogue::refresh(layout);
    Ok(manifest)
}

/// The entry of a run in the index: its manifest says all that the entry says. `None` if it is the manifest of no run.
pub(super) fn entry(manifest: &ImageManifest, digest: &Digest, size: u64) -> Option<Descriptor> {
    let mut about = is_artifact(manifest, RUN).then(|| manifest.annotations().clone())??;
    let id: RunId = about.get(RUN_ID)?.parse().ok()?;
    about.remove(RUN_IMAGES);
    about.remove(ANNOTATION_CREATED);
    about.insert(ANNOTATION_REF_NAME.to_owned(), format!("run-{id}"));
    let mut entry = descriptor(MediaType::ImageManifest, digest, size).ok()?;
    entry.set_artifact_type(Some(MediaType::from(RUN)));
    entry.set_annotations(Some(about));
    Some(entry)
}

/// Lists a run, if it is not listed; another one of its id is refused.
pub(super) fn list(
    layout: &Layout,
    index: &mut Vec<Descriptor>,
    entry: Descriptor,
    id: &RunId,
) -> Result<()> {
    match pages::find(layout, index, id)? {
        Some(known) if known.digest() != entry.digest() => Err(ArchiveError::RunExists { id: id.clone() }),
        Some(_) => Ok(()),
        None => {
            index.push(entry);
            Ok(())
        }
    }
}

/// Refuses a run whose files are not there, or whose record names files that it does not come with.
pub(super) fn check(layout: &Layout, record: &RunRecord, files: &[RunFile]) -> Result<()> {
    let inconsistent =
        |reason: String| ArchiveError::Inconsistent { what: format!("run {}", record.id), reason };
    for file in files {
        if tar_reader::safe_relative(&file.name).as_deref() != Some(&file.name) {
            return Err(inconsistent(format!("`{}` is not a safe file name", file.name)));
        }
        match blobs::size(layout, &file.digest) {
            None => {
                return Err(ArchiveError::MissingBlob { digest: file.digest, what: file.path() });
            }
            Some(size) if size != file.size => {
                return Err(inconsistent(format!("{} has {size} bytes, not {}", file.path(), file.size)));
            }
            Some(_) => {}
        }
    }
    let stored: BTreeSet<&Digest> = files.iter().map(|file| &file.digest).collect();
    match named_files(record).find(|(digest, _)| !stored.contains(digest)) {
        Some((_, name)) => {
            Err(inconsistent(format!("its record names {name}, which is not among its files")))
        }
        None => Ok(()),
    }
}

/// The files that a record says the run left: artifacts and logs.
pub(super) fn named_files(record: &RunRecord) -> impl Iterator<Item = (&Digest, &str)> {
    let artifacts = record.targets.iter().flat_map(|target| &target.artifacts);
    let artifacts = artifacts.map(|artifact| (&artifact.digest, artifact.name.as_str()));
    let logs =
        record.stages().filter_map(|stage| stage.log.as_ref()).map(|log| (&log.digest, log.name.as_str()));
    artifacts.chain(logs)
}

/// What a list of runs and the search for a key need, so that neither has to read the runs themselves.
fn summary_annotations(record: &RunRecord) -> Result<Annotations> {
    let targets: Vec<TargetSummary> = record
        .targets
        .iter()
        .map(|target| TargetSummary { target: target.target.clone(), outcome: target.outcome.summary() })
        .collect();
    let targets = serde_json::to_string(&targets).map_err(|e| damaged("a run's summary", &e.to_string()))?;
    Ok(annotations([
        (RUN_ID, record.id.to_string()),
        (RUN_PACKAGE, record.package.clone()),
        (RUN_COMMIT, record.source.commit.clone()),
        (RUN_VERSION, record.source.version.describe.clone()),
        (RUN_STARTED, record.started.to_string()),
        (RUN_DURATION, record.duration_ms.to_string()),
        (RUN_OUTCOME, record.outcome.summary()),
        (RUN_TARGETS, targets),
        (RUN_RELEASE, is_release(record).to_string()),
        (BUILD_KEYS, keys(record, Purpose::Build)),
        (VERIFY_KEYS, keys(record, Purpose::Verify)),
    ]))
}

/// A release: a tagged version of which at least one target passed.
pub(super) fn is_release(record: &RunRecord) -> bool {
    record.source.version.release && record.targets.iter().any(|target| target.outcome.passed())
}

/// What a key stands for.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    Build,
    Verify,
}

impl Purpose {
    /// How the catalogue calls it.
    pub(super) fn number(self) -> i64 {
        match self {
            Self::Build => 1,
            Self::Verify => 2,
        }
    }

    /// The key of a target whose stage passed: only that is worth using again.
    fn key(self, target: &TargetRecord) -> Option<Digest> {
        let (stage, key) = match self {
            Self::Build => (Stage::Build, target.build_key),
            Self::Verify => (Stage::Verify, target.verify_key),
        };
        key.filter(|_| target.stages.iter().any(|done| done.stage == stage && done.outcome.passed()))
    }
}

fn keys(record: &RunRecord, purpose: Purpose) -> String {
    let keys: Vec<String> =
        record.targets.iter().filter_map(|target| Some(purpose.key(target)?.to_string())).collect();
    keys.join(",")
}

/// The newest run with a target that has this key and whose stage passed.
pub(super) fn find_key(
    layout: &Layout,
    purpose: Purpose,
    wanted: &Digest,
) -> Result<Option<(RunId, TargetRecord)>> {
    catalogue::ask(layout, |db| {
        for manifest in catalogue::with_key(db, purpose, wanted)? {
            let Run { record, .. } = read(layout, &manifest)?;
            let found =
                record.targets.into_iter().find(|target| purpose.key(target).as_ref() == Some(wanted));
            if let Some(target) = found {
                return Ok(Some((record.id, target)));
            }
        }
        Ok(None)
    })
}

pub(super) fn run_id(entry: &Descriptor) -> Option<RunId> {
    lists_artifact(entry, RUN).then(|| annotation(entry, RUN_ID)?.parse().ok())?
}

/// The runs of an index, oldest first.
fn entries(index: &[Descriptor]) -> BTreeMap<RunId, &Descriptor> {
    index.iter().filter_map(|entry| Some((run_id(entry)?, entry))).collect()
}

/// The manifests of the newest runs.
pub(super) fn newest(index: &[Descriptor], count: usize) -> Vec<Digest> {
    entries(index).into_values().rev().take(count).filter_map(digest_of).collect()
}

pub(super) fn summary(id: RunId, entry: &Descriptor) -> Option<RunSummary> {
    let text = |key| annotation(entry, key).unwrap_or_default().to_owned();
    Some(RunSummary {
        id,
        manifest: digest_of(entry)?,
        package: text(RUN_PACKAGE),
        commit: text(RUN_COMMIT),
        version: text(RUN_VERSION),
        started: text(RUN_STARTED).parse().ok(),
        duration_ms: text(RUN_DURATION).parse().unwrap_or_default(),
        outcome: text(RUN_OUTCOME),
        targets: serde_json::from_str(&text(RUN_TARGETS)).unwrap_or_default(),
    })
}

/// The run that `wanted` means: an id, the beginning of exactly one id, or `latest`.
pub(super) fn resolve(layout: &Layout, wanted: &str) -> Result<Run> {
    catalogue::ask(layout, |db| {
        let mut matches = match wanted {
            "latest" => catalogue::newest(db)?.into_iter().collect(),
            "" => Vec::new(),
            wanted => catalogue::ids(db, wanted)?,
        };
        if matches.len() > 1 {
            return Err(ArchiveError::AmbiguousRun { wanted: wanted.to_owned(), matches }.into());
        }
        let Some(id) = matches.pop() else {
            let near = near(wanted, catalogue::ids(db, "")?);
            return Err(ArchiveError::UnknownRun { wanted: wanted.to_owned(), near }.into());
        };
        let manifest = catalogue::manifest_of(db, &id)?;
        let manifest =
            manifest.ok_or_else(|| ArchiveError::UnknownRun { wanted: id.to_string(), near: Vec::new() })?;
        let run = read(layout, &manifest)?;
        if run.record.id == id { Ok(run) } else { Err(catalogue::Failure::Wrong) }
    })
}

/// Up to five ids that look like `wanted`, the likeliest first; the newest where none does.
fn near(wanted: &str, mut ids: Vec<RunId>) -> Vec<RunId> {
    let distance = |id: &RunId| {
        let beginning: String = id.as_str().chars().take(wanted.chars().count().max(8)).collect();
        strsim::damerau_levenshtein(wanted, &beginning)
    };
    // The sort is stable: of equally near ids the newest comes first.
    ids.sort_by_cached_key(|id| distance(id).min(6));
    ids.truncate(5);
    ids
}

pub(super) fn read(layout: &Layout, digest: &Digest) -> Result<Run> {
    let manifest = image::read_manifest(layout, digest, "the manifest of a run")?;
    let record =
        record_digest(&manifest).ok_or_else(|| damaged("a run's manifest", "it names no run record"))?;
    let record: RunRecord =
        blobs::parse(&blobs::read_document(layout, &record, "a run record")?, &record, "the run record")?;
    Ok(Run { record, manifest: *digest, files: files(&manifest)?, images: images(&manifest) })
}

pub(super) fn record_digest(manifest: &ImageManifest) -> Option<Digest> {
    let is_record = |layer: &&Descriptor| layer.media_type().as_ref() == RUN_RECORD;
    manifest.layers().iter().find(is_record).and_then(digest_of)
}

/// The image manifests that a run's manifest refers to.
pub(super) fn images(manifest: &ImageManifest) -> Vec<Digest> {
    let listed = manifest_annotation(manifest, RUN_IMAGES).unwrap_or_default();
    listed.split(',').filter_map(|digest| digest.parse().ok()).collect()
}

/// The files of a run's manifest. Their names come from a document that anyone may have written.
pub(super) fn files(manifest: &ImageManifest) -> Result<Vec<RunFile>> {
    let with_role = manifest.layers().iter().filter(|layer| annotation(layer, FILE_ROLE).is_some());
    with_role.map(file).collect()
}

fn file(layer: &Descriptor) -> Result<RunFile> {
    let wrong = |reason: &str| damaged("a run's manifest", reason);
    let title = annotation(layer, ANNOTATION_TITLE).ok_or_else(|| wrong("a file has no title"))?;
    let target: Option<TargetName> = match annotation(layer, FILE_TARGET) {
        Some(target) => Some(target.parse().map_err(|_| wrong("a file names an impossible target"))?),
        None => None,
    };
    let name = match &target {
        Some(target) => title.strip_prefix(&format!("{}/", target.file_stem())),
        None => Some(title),
    };
    let name = name.filter(|name| tar_reader::safe_relative(name).as_deref() == Some(name));
    let role = annotation(layer, FILE_ROLE).and_then(|role| role.parse().ok());
    Ok(RunFile {
        name: name.ok_or_else(|| wrong(&format!("`{title}` is not a safe file name")))?.to_owned(),
        role: role.ok_or_else(|| wrong("a file has an unknown role"))?,
        target,
        media_type: layer.media_type().to_string(),
        digest: digest_of(layer).ok_or_else(|| wrong("a file's digest is no sha256"))?,
        size: layer.size(),
    })
}

fn damaged(what: &str, reason: &str) -> ArchiveError {
    ArchiveError::Damaged { what: what.to_owned(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Fixture;
    use super::super::{Archive, index as archive_index};
    use super::*;
    use crate::support::Hint;

    #[test]
    fn a_run_is_read_back_as_it_was_stored() {
        let fixture = Fixture::new();
        let (record, images, files) = fixture.run(1);
        let manifest = fixture.archive.add_run(&record, &images, &files).unwrap();
        let run = fixture.archive.run(record.id.as_str()).unwrap();
        assert_eq!((&run.record, &run.files, run.manifest), (&record, &files, manifest));
        assert_eq!(run.images.len(), 1);
        assert_eq!(fixture.archive.find_image(&images[0].key).unwrap().as_ref(), Some(&images[0]));
        let report = fixture.verify();
        assert!(report.is_sound(), "{:?}", report.problems);
        assert_eq!((report.runs, report.images, report.unreferenced_blobs), (1, 1, 0));
    }

    #[test]
    fn runs_are_listed_newest_first_with_what_a_list_shows() {
        let fixture = Fixture::new();
        let records = [2, 3, 1].map(|number| fixture.add_run(number));
        let runs = fixture.archive.runs().unwrap();
        let ids: Vec<&RunId> = runs.iter().map(|run| &run.id).collect();
        assert_eq!(ids, [&records[1].id, &records[0].id, &records[2].id]);
        assert_eq!((runs[0].package.as_str(), runs[0].outcome.as_str()), ("hostpulse", "passed"));
        assert_eq!((runs[0].version.as_str(), runs[0].started), ("v1.0", Some(records[1].started)));
        assert_eq!(runs[0].targets[0].target.to_string(), "debian-12/deb");
    }

    #[test]
    fn a_run_is_named_by_its_id_by_a_unique_beginning_or_as_the_latest() {
        let fixture = Fixture::new();
        assert!(fixture.archive.run("latest").unwrap_err().hint().contains("no runs yet"));
        let (first, second) = (fixture.add_run(1), fixture.add_run(100));
        assert_eq!(fixture.archive.run("latest").unwrap().record, second);
        assert_eq!(fixture.archive.run(&first.id.as_str()[..15]).unwrap().record, first);
        let error = fixture.archive.run("2023").unwrap_err();
        assert!(
            matches!(&error, ArchiveError::AmbiguousRun { matches, .. } if matches.len() == 2),
            "{error}"
        );
        for wanted in ["20231114-221440x", "nonsense", "", "../.."] {
            let error = fixture.archive.run(wanted).unwrap_err();
            assert!(matches!(error, ArchiveError::UnknownRun { .. }), "{error}");
            assert!(error.hint().contains(first.id.as_str()), "{}", error.hint());
        }
        // One digit is wrong: the id that was meant comes first.
        let typo = first.id.as_str().replace("20231114-221321", "20231114-221331");
        assert!(fixture.archive.run(&typo).unwrap_err().hint().contains(&format!("are: {}", first.id)));
    }

    #[test]
    fn a_target_is_found_by_its_key_if_its_stage_passed() {
        let fixture = Fixture::new();
        let (record, images, files) = fixture.run(1);
        fixture.archive.add_run(&record, &images, &files).unwrap();
        let mut newer = fixture.run(2).0;
        newer.targets[0].build_key = record.targets[0].build_key;
        let (_, images, files) = fixture.run(2);
        fixture.archive.add_run(&newer, &images, &files).unwrap();
        let key = |text: &str| Digest::of(text);
        let found = fixture.archive.find_build(&key("build 1")).unwrap();
        assert_eq!(found, Some((newer.id.clone(), newer.targets[0].clone())));
        assert_eq!(fixture.archive.find_build(&key("build 2")).unwrap(), None);
        assert_eq!(fixture.archive.find_verify(&key("verify 1")).unwrap(), None, "verify did not pass");
    }

    #[test]
    fn the_search_for_a_key_reads_no_run_that_does_not_have_it() {
        let fixture = Fixture::new();
        let (old, new) = (fixture.add_run(1), fixture.add_run(2));
        let manifest = fixture.archive.run(new.id.as_str()).unwrap().manifest;
        std::fs::remove_file(fixture.blob(&manifest)).unwrap();
        let found = fixture.archive.find_build(&Digest::of("build 1")).unwrap();
        assert_eq!(found.unwrap().0, old.id);
        assert_eq!(fixture.archive.runs().unwrap().len(), 2);
    }

    #[test]
    fn a_run_is_stored_once_and_never_replaced() {
        let fixture = Fixture::new();
        let (record, images, files) = fixture.run(1);
        let manifest = fixture.archive.add_run(&record, &images, &files).unwrap();
        let index = std::fs::read(fixture.archive.layout().index()).unwrap();
        assert_eq!(fixture.archive.add_run(&record, &images, &files).unwrap(), manifest);
        assert_eq!(std::fs::read(fixture.archive.layout().index()).unwrap(), index);
        let changed = RunRecord { package: "other".to_owned(), ..record };
        let error = fixture.archive.add_run(&changed, &images, &files).unwrap_err();
        assert!(matches!(error, ArchiveError::RunExists { .. }), "{error}");
    }

    #[test]
    fn a_run_without_its_files_or_images_is_refused_and_leaves_no_trace() {
        let fixture = Fixture::new();
        let (record, images, files) = fixture.run(1);
        let with = |change: &dyn Fn(&mut RunFile)| {
            let mut files = files.clone();
            change(&mut files[0]);
            fixture.archive.add_run(&record, &images, &files).unwrap_err()
        };
        let missing = |error| matches!(error, ArchiveError::MissingBlob { .. });
        let inconsistent = |error| matches!(error, ArchiveError::Inconsistent { .. });
        assert!(missing(with(&|file| file.digest = Digest::of("?"))));
        assert!(inconsistent(with(&|file| file.size += 1)));
        assert!(inconsistent(with(&|file| file.name = "../x".to_owned())));
        assert!(inconsistent(with(&|file| file.name = "/x".to_owned())));
        assert!(inconsistent(fixture.archive.add_run(&record, &images, &[]).unwrap_err()));
        std::fs::remove_file(fixture.file_of(&images[0].layers[0])).unwrap();
        assert!(missing(fixture.archive.add_run(&record, &images, &files).unwrap_err()));
        assert!(fixture.archive.runs().unwrap().is_empty());
        assert!(fixture.archive.images().unwrap().is_empty());
    }

    #[test]
    fn writers_at_the_same_time_lose_nothing() {
        let fixture = Fixture::new();
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let fixture = &fixture;
                // A handle of its own, as another process would have.
                let archive = Archive::open(fixture.archive.path()).unwrap();
                scope.spawn(move || {
                    for number in 0..10 {
                        let (record, images, files) = fixture.run(writer * 100 + number);
                        archive.add_run(&record, &images, &files).unwrap();
                        archive.sweep().unwrap();
                    }
                });
            }
        });
        assert_eq!(fixture.archive.runs().unwrap().len(), 40);
        let report = fixture.verify();
        assert!(report.is_sound(), "{:?}", report.problems);
        assert_eq!((report.runs, report.images, report.unreferenced_blobs), (40, 1, 0));
    }

    #[test]
    fn a_reader_sees_a_run_with_all_its_images_or_not_at_all() {
        let fixture = Fixture::new();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                (0..20).for_each(|number| drop(fixture.add_run(number)));
                done.store(true, std::sync::atomic::Ordering::SeqCst);
            });
            while !done.load(std::sync::atomic::Ordering::SeqCst) {
                let index = archive_index::read(fixture.archive.layout()).unwrap();
                let listed: Vec<_> = index.manifests().iter().filter_map(digest_of).collect();
                for entry in index.manifests().iter().filter(|entry| run_id(entry).is_some()) {
                    let run = read(fixture.archive.layout(), &digest_of(entry).unwrap()).unwrap();
                    assert!(run.images.iter().all(|image| listed.contains(image)));
                }
            }
        });
    }

    #[test]
    fn a_stored_file_name_that_leaves_its_folder_is_refused() {
        let fixture = Fixture::new();
        let (digest, size) = fixture.archive.put_bytes(b"x").unwrap();
        let layer = |title: &str, target: Option<&str>| {
            let mut layer = descriptor(MediaType::from("text/plain"), &digest, size).unwrap();
            let mut about =
                annotations([(ANNOTATION_TITLE, title.to_owned()), (FILE_ROLE, "artifact".to_owned())]);
            about.extend(target.map(|target| (FILE_TARGET.to_owned(), target.to_owned())));
            layer.set_annotations(Some(about));
            layer
        };
        assert!(file(&layer("debian-12_deb/x.deb", Some("debian-12/deb"))).is_ok());
        for (title, target) in [
            ("../x", None),
            ("/x", None),
            ("debian-12_deb/../../x", Some("debian-12/deb")),
            ("rocky-9_rpm/x", Some("debian-12/deb")),
            ("../deb/x", Some("../deb")),
        ] {
            assert!(file(&layer(title, target)).is_err(), "{title}");
        }
    }
}
