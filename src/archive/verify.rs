use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use oci_spec::image::{Descriptor, ImageIndex, ImageManifest, MediaType};
use serde::Serialize;

use super::blobs;
use super::chunked;
use super::error::{ArchiveError, Result};
use super::image::ImageConfig;
use super::index;
use super::layout::Layout;
use super::lost_page;
use super::manifest::{
    IMAGE_ID, IMAGE_KEY, IMAGE_RECORD, RUN, RUN_ID, annotation, describes_artifact, digest_of, is_artifact,
};
use super::pages;
use super::present::{self, Stored};
use super::run;
use crate::model::{Digest, ImageRecord, RunId, RunRecord};

/// How deep indexes may be nested.
const MAX_DEPTH: usize = 4;

/// What verify found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// Everything that is wrong.
    pub problems: Vec<Problem>,
    /// Runs that the index lists.
    pub runs: u64,
    /// Images that the index lists.
    pub images: u64,
    /// Blobs that were checked.
    pub blobs: u64,
    /// Bytes of the blobs that were checked.
    pub bytes: u64,
    /// Blobs that nothing refers to: what runs left that never ended. No problem.
    pub unreferenced_blobs: u64,
    /// Bytes of the blobs that nothing refers to.
    pub unreferenced_bytes: u64,
    /// Files that do not belong to an archive, as paths in its folder. No problem: nothing reads them.
    pub strays: Vec<String>,
}

impl VerifyReport {
    /// True when nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Something that is wrong with an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What kind of damage it is.
    pub kind: ProblemKind,
    /// What is wrong, as a sentence that names the object.
    pub message: String,
    /// The blob that is damaged or missing, if it is one.
    pub blob: Option<Digest>,
    /// The runs that cannot be restored in full because of it.
    pub runs: Vec<RunId>,
    /// The images that cannot be restored because of it, by identity.
    pub images: Vec<Digest>,
}

/// The kinds of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ProblemKind {
    /// `oci-layout` cannot be read.
    Layout,
    /// `index.json` cannot be read.
    Index,
    /// A blob is not there.
    Missing,
    /// A blob is shorter or longer than it should be.
    Size,
    /// A blob's bytes are not those that its name says.
    Digest,
    /// A document does not say what it must.
    Document,
    /// A reference leads nowhere.
    Reference,
}

/// How far verify is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyProgress {
    /// Bytes that were checked.
    pub done: u64,
    /// Bytes to check.
    pub total: u64,
}

/// Who refers to a blob.
#[derive(Clone, Debug, Default)]
struct Users {
    runs: BTreeSet<RunId>,
    images: BTreeSet<Digest>,
}

impl Users {
    fn run(id: &RunId) -> Self {
        Self { runs: BTreeSet::from([id.clone()]), images: BTreeSet::new() }
    }

    fn image(id: Digest) -> Self {
        Self { runs: BTreeSet::new(), images: BTreeSet::from([id]) }
    }

    fn add(&mut self, other: &Self) {
        self.runs.extend(other.runs.iter().cloned());
        self.images.extend(other.images.iter().copied());
    }
}

/// A blob that something refers to.
struct Use {
    what: String,
    size: u64,
    users: Users,
}

struct Verifier<'a> {
    layout: &'a Layout,
    uses: BTreeMap<Digest, Use>,
    /// Image manifests and everything that each needs, itself included.
    image_manifests: BTreeMap<Digest, Vec<Digest>>,
    /// Indexes that were walked: one that is named again and again is walked once.
    indexes: BTreeSet<Digest>,
    /// The packs of blobs that are kept in chunks.
    packs: BTreeSet<Digest>,
    report: VerifyReport,
}

pub(super) fn verify(dir: &Path, mut progress: impl FnMut(VerifyProgress)) -> Result<VerifyReport> {
    let layout = Layout::at(dir);
    let mut verifier = Verifier::new(&layout);
    let stored = present::stored(&layout)?;
    if let Err(error) = layout.check() {
        match error {
            ArchiveError::NotAnArchive { .. } if stored.is_empty() && !layout.index().exists() => {
                return Err(error);
            }
            ArchiveError::NotAnArchive { .. } => {
                verifier.problem(
                    ProblemKind::Layout,
                    "oci-layout is missing".to_owned(),
                    None,
                    &Users::default(),
                );
            }
            ArchiveError::Fs(_) => return Err(error),
            other => verifier.problem(ProblemKind::Layout, other.to_string(), None, &Users::default()),
        }
    }
    match index::read(&layout) {
        Ok(index) => verifier.walk(&index),
        Err(error @ ArchiveError::Damaged { .. }) => {
            verifier.problem(ProblemKind::Index, error.to_string(), None, &Users::default());
            // Without the index every blob still says by its name what it should hold.
        }
        Err(error) => return Err(error),
    }
    verifier.refer_to_packs();
    verifier.refer_to_the_rest(&stored);
    verifier.report.strays = present::strays(&layout)?;
    verifier.check_blobs(&mut progress)?;
    Ok(verifier.report)
}

impl<'a> Verifier<'a> {
    fn new(layout: &'a Layout) -> Self {
        Self {
            layout,
            uses: BTreeMap::new(),
            image_manifests: BTreeMap::new(),
            indexes: BTreeSet::new(),
            packs: BTreeSet::new(),
            report: VerifyReport::default(),
        }
    }

    fn problem(&mut self, kind: ProblemKind, message: String, blob: Option<Digest>, users: &Users) {
        self.report.problems.push(Problem {
            kind,
            message,
            blob,
            runs: users.runs.iter().cloned().collect(),
            images: users.images.iter().copied().collect(),
        });
    }

    /// Notes that a blob is needed, and by whom.
    fn refer(&mut self, digest: Digest, size: u64, what: &str, users: &Users) {
        let known = self.uses.entry(digest).or_insert_with(|| Use {
            what: what.to_owned(),
            size,
            users: Users::default(),
        });
        known.users.add(users);
        if known.size != size {
            let message = format!("two references give {what} {digest} different sizes");
            self.problem(ProblemKind::Reference, message, Some(digest), users);
        }
    }

    fn refer_to(&mut self, descriptor: &Descriptor, what: &str, users: &Users) -> Option<Digest> {
        match digest_of(descriptor) {
            Some(digest) => {
                self.refer(digest, descriptor.size(), what, users);
                Some(digest)
            }
            None => {
                let message =
                    format!("{what} is named by a digest that is no sha256: {}", descriptor.digest());
                self.problem(ProblemKind::Reference, message, None, users);
                None
            }
        }
    }

    /// A document that is needed. `None` if its bytes are wrong, which the check of all blobs will tell.
    fn document(&self, digest: &Digest) -> Option<Vec<u8>> {
        blobs::read_document(self.layout, digest, "a document").ok()
    }

    fn parse<T: serde::de::DeserializeOwned>(
        &mut self,
        digest: &Digest,
        what: &str,
        users: &Users,
    ) -> Option<T> {
        let bytes = self.document(digest)?;
        match serde_json::from_slice(&bytes) {
            Ok(document) => Some(document),
            Err(error) => {
                let message = format!("{what} {digest} cannot be read: {error}");
                self.problem(ProblemKind::Document, message, Some(*digest), users);
                None
            }
        }
    }

    fn walk(&mut self, index: &ImageIndex) {
        let mut later = Vec::new();
        self.walk_manifests(index.manifests(), MAX_DEPTH, &mut later);
        // Runs and records refer to images, so all images come first.
        for (entry, digest, manifest) in later {
            if is_artifact(&manifest, RUN) {
                self.walk_run(&entry, &digest, &manifest);
            } else {
                self.walk_record(&entry, &digest, &manifest);
            }
        }
    }

    fn walk_manifests(
        &mut self,
        entries: &[Descriptor],
        depth: usize,
        later: &mut Vec<(Descriptor, Digest, ImageManifest)>,
    ) {
        for entry in entries {
            let users = users_of(entry);
            let Some(digest) = self.refer_to(entry, "a manifest", &users) else { continue };
            let artifact = [RUN, IMAGE_RECORD].into_iter().find(|kind| describes_artifact(entry, kind));
            match entry.media_type() {
                MediaType::ImageManifest => {
                    let Some(manifest): Option<ImageManifest> = self.parse(&digest, "the manifest", &users)
                    else {
                        // It is listed, so a reference to it resolves; that its bytes are wrong is told once.
                        self.image_manifests.entry(digest).or_insert_with(|| vec![digest]);
                        continue;
                    };
                    let is = [RUN, IMAGE_RECORD].into_iter().find(|kind| is_artifact(&manifest, kind));
                    if is != artifact {
                        let [listed, is] = [artifact, is].map(|kind| kind.unwrap_or("an image"));
                        let message = format!("the manifest {digest} is listed as {listed}, and is {is}");
                        self.problem(ProblemKind::Document, message, Some(digest), &users);
                    }
                    if is.is_some() {
                        later.push((entry.clone(), digest, manifest));
                    } else {
                        self.walk_image(digest, &manifest);
                    }
                }
                MediaType::ImageIndex if depth > 0 && self.indexes.insert(digest) => {
                    let nested = match self.parse::<ImageIndex>(&digest, "the index", &users) {
                        Some(nested) => nested.manifests().clone(),
                        None => self.runs_of_lost_page(entry, &digest),
                    };
                    self.walk_manifests(&nested, depth - 1, later);
                }
                // It would not be found as what it is.
                other if artifact.is_some() => {
                    let message = format!("{digest} is listed as a manifest of Packhold and as {other}");
                    self.problem(ProblemKind::Document, message, Some(digest), &users);
                }
                // Something of another tool's: its bytes are checked.
                _ => {}
            }
        }
    }

    /// The runs of a page whose bytes are wrong, which the check of all blobs will tell: it touches them, and they need theirs.
    fn runs_of_lost_page(&mut self, page: &Descriptor, digest: &Digest) -> Vec<Descriptor> {
        if !pages::is_page(page) {
            return Vec::new();
        }
        let runs = lost_page::runs(self.layout, page).unwrap_or_default();
        let users = Users { runs: runs.iter().filter_map(run::run_id).collect(), images: BTreeSet::new() };
        self.uses.get_mut(digest).into_iter().for_each(|page| page.users.add(&users));
        runs
    }

    fn walk_image(&mut self, digest: Digest, manifest: &ImageManifest) {
        if self.image_manifests.contains_key(&digest) {
            return;
        }
        self.report.images += 1;
        let id = digest_of(manifest.config());
        let users = id.map(Users::image).unwrap_or_default();
        let mut needs = vec![digest];
        self.uses.get_mut(&digest).into_iter().for_each(|manifest| manifest.users.add(&users));
        needs.extend(self.refer_to(manifest.config(), "an image configuration", &users));
        for layer in manifest.layers() {
            needs.extend(self.refer_to(layer, "a layer", &users));
        }
        self.image_manifests.insert(digest, needs);
        let is_image = *manifest.config().media_type() == MediaType::ImageConfig;
        let uncompressed = manifest.layers().iter().all(|layer| *layer.media_type() == MediaType::ImageLayer);
        if let Some(id) = id.filter(|_| is_image && uncompressed)
            && let Some(config) = self.parse::<ImageConfig>(&id, "the image configuration", &users)
            && !manifest.layers().iter().map(digest_of).eq(config.layers().iter().copied().map(Some))
        {
            let message = format!("the manifest {digest} and its configuration name different layers");
            self.problem(ProblemKind::Reference, message, Some(digest), &users);
        }
    }

    fn walk_record(&mut self, entry: &Descriptor, digest: &Digest, manifest: &ImageManifest) {
        let image = annotation(entry, IMAGE_ID).and_then(|id| id.parse().ok());
        let users = image.map(Users::image).unwrap_or_default();
        self.refer_to(manifest.config(), "the empty configuration", &users);
        let mut records = Vec::new();
        for layer in manifest.layers() {
            records.extend(self.refer_to(layer, "an image record", &users));
        }
        let subject = manifest.subject().as_ref().and_then(digest_of);
        if !subject.is_some_and(|subject| self.image_manifests.contains_key(&subject)) {
            let message = format!("the image record {digest} refers to an image that is not listed");
            self.problem(ProblemKind::Reference, message, Some(*digest), &users);
        }
        let Some(record) = records.first() else {
            let message = format!("the manifest {digest} names no image record");
            return self.problem(ProblemKind::Document, message, Some(*digest), &users);
        };
        if let Some(found) = self.parse::<ImageRecord>(record, "the image record", &users) {
            let listed = annotation(entry, IMAGE_KEY).and_then(|key| key.parse().ok());
            if (Some(found.id), Some(found.key)) != (image, listed) {
                let message = format!("the image record {record} is listed under another image or key");
                self.problem(ProblemKind::Document, message, Some(*record), &users);
            }
        }
    }

    fn walk_run(&mut self, entry: &Descriptor, digest: &Digest, manifest: &ImageManifest) {
        self.report.runs += 1;
        let users = users_of(entry);
        self.refer_to(manifest.config(), "the empty configuration", &users);
        for layer in manifest.layers() {
            let title = annotation(layer, oci_spec::image::ANNOTATION_TITLE).unwrap_or("a file").to_owned();
            self.refer_to(layer, &title, &users);
        }
        let files = match run::files(manifest) {
            Ok(files) => files.into_iter().map(|file| file.digest).collect(),
            Err(error) => {
                self.problem(ProblemKind::Document, format!("{digest}: {error}"), Some(*digest), &users);
                BTreeSet::new()
            }
        };
        for image in run::images(manifest) {
            let Some(needs) = self.image_manifests.get(&image).cloned() else {
                let message =
                    format!("{} refers to the image manifest {image}, which is not listed", name(entry));
                self.problem(ProblemKind::Reference, message, Some(image), &users);
                continue;
            };
            for blob in needs {
                self.uses.get_mut(&blob).into_iter().for_each(|blob| blob.users.add(&users));
            }
        }
        let Some(record) = run::record_digest(manifest) else {
            let message = format!("{} has no run record", name(entry));
            return self.problem(ProblemKind::Document, message, Some(*digest), &users);
        };
        let Some(parsed) = self.parse::<RunRecord>(&record, "the run record", &users) else { return };
        if annotation(entry, RUN_ID) != Some(parsed.id.as_str()) {
            let message = format!("{} is listed under another id than its record says", name(entry));
            self.problem(ProblemKind::Document, message, Some(record), &users);
        }
        for (named, file) in run::named_files(&parsed).filter(|(named, _)| !files.contains(named)) {
            let message = format!("the record of {} names {file}, which is not stored with it", name(entry));
            self.problem(ProblemKind::Reference, message, Some(*named), &users);
        }
    }

    /// Whoever needs a blob that is kept in chunks needs its packs.
    fn refer_to_packs(&mut self) {
        let digests: Vec<Digest> = self.uses.keys().copied().collect();
        for digest in digests {
            // As it is, it needs no list; and a list that cannot be read is told when the blob is.
            if blobs::plain_size(self.layout, &digest).is_some() {
                continue;
            }
            let Ok(Some(list)) = chunked::list(self.layout, &digest) else { continue };
            let Some(Use { what, users, .. }) = self.uses.get(&digest) else { continue };
            let (what, users) = (format!("a pack of {what}"), users.clone());
            for pack in list.packs() {
                let size = blobs::plain_size(self.layout, &pack).unwrap_or(0);
                self.refer(pack, size, &what, &users);
                self.packs.insert(pack);
            }
        }
    }

    /// What nobody refers to is checked as well: a run may find it and rely on it.
    fn refer_to_the_rest(&mut self, stored: &BTreeMap<Digest, Stored>) {
        for (digest, stored) in stored {
            if !self.uses.contains_key(digest) {
                self.report.unreferenced_blobs += 1;
                self.report.unreferenced_bytes += stored.bytes();
                let size = blobs::size(self.layout, digest).or(stored.plain).unwrap_or(0);
                self.refer(*digest, size, "a blob to which nothing refers,", &Users::default());
            }
        }
    }

    /// Reads every blob: packs first, since what is wrong with a pack is wrong with all that lies in it.
    fn check_blobs(&mut self, progress: &mut impl FnMut(VerifyProgress)) -> Result<()> {
        let total = self.uses.values().map(|blob| blob.size).fold(0, u64::saturating_add);
        let mut done = 0;
        let (packs, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.uses).into_iter().partition(|(digest, _)| self.packs.contains(digest));
        let mut bad_packs = BTreeSet::new();
        for (digest, blob) in packs.into_iter().chain(others) {
            let size = blob.size;
            self.report.blobs += 1;
            self.report.bytes += size;
            let mut at = done;
            let found = self.check_blob(&digest, &blob, &bad_packs, &mut |bytes| {
                at += bytes;
                progress(VerifyProgress { done: at.min(total), total });
            })?;
            done += size;
            if let Some((kind, message)) = found {
                self.problem(kind, message, Some(digest), &blob.users);
                if self.packs.contains(&digest) {
                    bad_packs.insert(digest);
                }
            }
        }
        Ok(())
    }

    /// What is wrong with a blob, if anything is.
    fn check_blob(
        &self,
        digest: &Digest,
        Use { what, size, .. }: &Use,
        bad_packs: &BTreeSet<Digest>,
        progress: &mut impl FnMut(u64),
    ) -> Result<Option<(ProblemKind, String)>> {
        if blobs::plain_size(self.layout, digest).is_none() {
            match chunked::list(self.layout, digest) {
                Ok(Some(list)) if !list.packs().is_disjoint(bad_packs) => return Ok(None),
                Ok(_) => {}
                Err(error) => {
                    return Ok(Some((ProblemKind::Document, format!("{what} {digest} is lost: {error}"))));
                }
            }
        }
        let wrong = match blobs::size(self.layout, digest) {
            None => (ProblemKind::Missing, format!("{what} {digest} is missing")),
            Some(found) if found != *size => {
                (ProblemKind::Size, format!("{what} {digest} has {found} bytes instead of {size}"))
            }
            Some(_) => match blobs::copy(self.layout, digest, what, |bytes| {
                progress(bytes.len() as u64);
                Ok(())
            }) {
                Ok(_) => return Ok(None),
                Err(ArchiveError::WrongDigest { found, .. }) => {
                    let message = format!("{what} {digest} is damaged: its bytes have the digest {found}");
                    (ProblemKind::Digest, message)
                }
                // A sector that cannot be read is damage, too.
                Err(ArchiveError::Fs(error)) => {
                    (ProblemKind::Digest, format!("{what} {digest} cannot be read: {}", error.source))
                }
                Err(error) => return Err(error),
            },
        };
        Ok(Some(wrong))
    }
}

/// What is wrong with what an index names, as far as documents and sizes tell. What is missing and whether bytes have their
/// digests is not told.
pub(super) fn documents(layout: &Layout, index: &ImageIndex) -> Vec<Problem> {
    let mut verifier = Verifier::new(layout);
    verifier.walk(index);
    for (digest, Use { what, size, users }) in std::mem::take(&mut verifier.uses) {
        match blobs::size(layout, &digest) {
            Some(found) if found != size => {
                let message = format!("{what} {digest} has {found} bytes instead of {size}");
                verifier.problem(ProblemKind::Size, message, Some(digest), &users);
            }
            _ => {}
        }
    }
    verifier.report.problems
}

/// Who is affected, as far as the entry of the index tells.
fn users_of(entry: &Descriptor) -> Users {
    if let Some(id) = run::run_id(entry) {
        return Users::run(&id);
    }
    let image = annotation(entry, IMAGE_ID).and_then(|id| id.parse().ok());
    image.map(Users::image).unwrap_or_default()
}

fn name(entry: &Descriptor) -> String {
    annotation(entry, RUN_ID).map_or_else(|| "a run".to_owned(), |id| format!("run {id}"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::super::testing::{Fixture, image_record};
    use super::*;

    /// Replaces the bytes of a file, which is read-only.
    fn rewrite(path: &Path, bytes: &[u8]) {
        fs::remove_file(path).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Every file whose bytes count: blobs and lists of chunks.
    fn files(fixture: &Fixture) -> Vec<PathBuf> {
        let layout = fixture.archive.layout();
        let folders = [layout.blobs(), layout.chunk_lists()];
        let mut files: Vec<PathBuf> = folders
            .iter()
            .flat_map(|folder| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()))
            .collect();
        files.sort();
        files
    }

    fn only_problem(fixture: &Fixture) -> Problem {
        let mut problems = fixture.verify().problems;
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems.remove(0)
    }

    #[test]
    fn an_empty_archive_is_sound_and_a_folder_that_is_none_is_an_error() {
        let fixture = Fixture::new();
        assert_eq!(fixture.verify(), VerifyReport::default());
        assert!(matches!(verify(fixture.dir.path(), |_| ()).unwrap_err(), ArchiveError::NotAnArchive { .. }));
    }

    #[test]
    fn progress_ends_where_everything_is_checked() {
        let fixture = Fixture::new();
        fixture.add_run(1);
        let mut last = VerifyProgress { done: 0, total: 0 };
        let report = verify(fixture.archive.path(), |now| {
            assert!(now.done > last.done);
            last = now;
        });
        assert_eq!((last.done, last.total), (report.as_ref().unwrap().bytes, report.unwrap().bytes));
    }

    #[test]
    fn a_bit_flipped_in_each_of_500_blobs_one_at_a_time_is_found_and_names_who_suffers() {
        const BLOBS: u32 = 500;
        let mut random = fastrand::Rng::with_seed(7);
        let (mut flipped, mut found) = (0, 0);
        while flipped < BLOBS {
            let fixture = Fixture::new();
            for number in 0..15 {
                fixture.add_run(number + flipped);
            }
            // Plain ones, packs and lists of chunks.
            for path in files(&fixture).into_iter().take((BLOBS - flipped) as usize) {
                let sound = fs::read(&path).unwrap();
                let mut damaged = sound.clone();
                let bit = random.usize(..sound.len() * 8);
                damaged[bit / 8] ^= 1 << (bit % 8);
                rewrite(&path, &damaged);
                let problems = fixture.verify().problems;
                let named = path.file_name().unwrap().to_str().unwrap();
                let told = problems.iter().find(|problem| problem.message.contains(named));
                found += u32::from(told.is_some_and(|told| !told.runs.is_empty() || !told.images.is_empty()));
                rewrite(&path, &sound);
                flipped += 1;
            }
            assert!(fixture.verify().is_sound());
        }
        println!("a bit was flipped in each of {flipped} blobs: {found} found");
        assert_eq!(found, flipped);
    }

    #[test]
    fn an_index_that_names_indexes_again_and_again_is_walked_once() {
        let fixture = Fixture::new();
        let of = |digest: Digest, size: u64, times: usize| {
            let entry = serde_json::json!({
                "mediaType": "application/vnd.oci.image.index.v1+json", "digest": digest, "size": size,
            });
            serde_json::json!({ "schemaVersion": 2, "manifests": vec![entry; times] }).to_string()
        };
        let mut index = serde_json::json!({ "schemaVersion": 2, "manifests": [] }).to_string();
        // Walked each time, these were 300 to the fourth power.
        for _ in 0..MAX_DEPTH {
            let (digest, size) = fixture.archive.put_bytes(index.as_bytes()).unwrap();
            index = of(digest, size, 300);
        }
        rewrite(&fixture.archive.layout().index(), index.as_bytes());
        assert!(fixture.verify().is_sound());
    }

    #[test]
    fn a_damaged_pack_is_told_once_with_everything_that_lies_in_it() {
        let fixture = Fixture::new();
        let record = fixture.add_run(1);
        let pack = fixture.file_of(&record.images[0].layers[0]);
        rewrite(&pack, b"?");
        let problem = only_problem(&fixture);
        assert_eq!((problem.runs, problem.images), (vec![record.id], vec![record.images[0].id]));
        assert!(problem.message.starts_with("a pack of a layer sha256:"), "{}", problem.message);
    }

    #[test]
    fn truncated_and_missing_blobs_are_found() {
        let fixture = Fixture::new();
        let record = fixture.add_run(1);
        let artifact = record.targets[0].artifacts[0].digest;
        rewrite(&fixture.blob(&artifact), b"pack");
        let problem = only_problem(&fixture);
        assert_eq!((problem.kind, problem.blob), (ProblemKind::Size, Some(artifact)));
        assert!(problem.message.contains("debian-12_deb/hostpulse_1.0_amd64.deb"), "{}", problem.message);
        rewrite(&fixture.blob(&artifact), b"package 1");
        let layer = record.images[0].layers[0];
        let list = fixture.archive.layout().chunk_list(&layer);
        let files =
            [fixture.blob(&artifact), fixture.blob(&record.images[0].id), fixture.file_of(&layer), list];
        for path in files {
            let sound = fs::read(&path).unwrap();
            fs::remove_file(&path).unwrap();
            let problems = fixture.verify().problems;
            let named = path.file_name().unwrap().to_str().unwrap();
            let found = problems.iter().find(|problem| problem.message.contains(named)).unwrap();
            assert_eq!((found.kind, &found.runs), (ProblemKind::Missing, &vec![record.id.clone()]));
            fs::write(&path, sound).unwrap();
        }
        assert!(fixture.verify().is_sound());
    }

    #[test]
    fn a_damaged_index_is_a_problem_and_the_blobs_are_checked_by_their_names() {
        let fixture = Fixture::new();
        let record = fixture.add_run(1);
        rewrite(&fixture.file_of(&record.images[0].layers[0]), b"?");
        for damage in [&b""[..], b"{", b"[]", b"\xff\xff", br#"{"schemaVersion":1,"manifests":[]}"#] {
            fs::write(fixture.archive.layout().index(), damage).unwrap();
            let kinds: Vec<ProblemKind> = fixture.verify().problems.iter().map(|found| found.kind).collect();
            assert_eq!(kinds, [ProblemKind::Index, ProblemKind::Digest, ProblemKind::Digest]);
        }
        fs::remove_file(fixture.archive.layout().index()).unwrap();
        assert_eq!(fixture.verify().problems[0].kind, ProblemKind::Index);
    }

    #[test]
    fn a_damaged_layout_marker_is_a_problem() {
        let fixture = Fixture::new();
        fixture.add_run(1);
        for damage in [&b""[..], b"{}", br#"{"imageLayoutVersion":"9"}"#] {
            fs::write(fixture.archive.layout().marker(), damage).unwrap();
            assert_eq!(only_problem(&fixture).kind, ProblemKind::Layout);
        }
        fs::remove_file(fixture.archive.layout().marker()).unwrap();
        assert_eq!(only_problem(&fixture).kind, ProblemKind::Layout);
    }

    #[test]
    fn a_run_whose_image_is_not_listed_is_found() {
        let fixture = Fixture::new();
        let record = fixture.add_run(1);
        index::update(fixture.archive.layout(), fixture.archive.workspace(), |entries| {
            entries.retain(|entry| run::run_id(entry).is_some());
            Ok(())
        })
        .unwrap();
        let problem = only_problem(&fixture);
        assert_eq!((problem.kind, problem.runs), (ProblemKind::Reference, vec![record.id]));
    }

    #[test]
    fn an_entry_that_says_something_else_than_its_record_is_found() {
        let fixture = Fixture::new();
        fixture.add_run(1);
        let path = fixture.archive.layout().index();
        let text = fs::read_to_string(&path).unwrap();
        let key = Digest::of("key").to_string();
        assert!(text.contains(&key));
        fs::write(&path, text.replace(&key, &Digest::of("other").to_string())).unwrap();
        assert_eq!(only_problem(&fixture).kind, ProblemKind::Document);
        fs::write(&path, text.replace("20231114-221321", "20231114-221322")).unwrap();
        assert_eq!(only_problem(&fixture).kind, ProblemKind::Document);
    }

    #[test]
    fn an_entry_that_lists_a_run_as_something_else_is_found() {
        let fixture = Fixture::new();
        fixture.add_run(1);
        let path = fixture.archive.layout().index();
        let text = fs::read_to_string(&path).unwrap();
        let run: Vec<_> = text.split("{\"annotations\"").filter(|entry| entry.contains(RUN)).collect();
        let [run] = run[..] else { panic!("{text}") };
        let manifest = MediaType::ImageManifest.to_string();
        for (from, to) in [(RUN, IMAGE_RECORD), (RUN, "text/plain"), (manifest.as_str(), "text/plain")] {
            assert!(run.contains(from), "{run}");
            fs::write(&path, text.replace(run, &run.replace(from, to))).unwrap();
            let report = fixture.verify();
            assert!(report.problems.iter().all(|found| found.kind == ProblemKind::Document));
            assert!(!report.is_sound(), "{from} as {to}");
            assert!(fixture.archive.runs().unwrap().is_empty(), "{from} as {to}");
        }
    }

    #[test]
    fn blobs_that_nothing_refers_to_are_counted_and_no_problem() {
        let fixture = Fixture::new();
        fixture.archive.add_image(&image_record(&fixture.image("1"), "key")).unwrap();
        fixture.archive.put_bytes(b"12345").unwrap();
        fs::write(fixture.archive.layout().blobs().join("not-a-digest"), "x").unwrap();
        let report = fixture.verify();
        assert!(report.is_sound());
        assert_eq!((report.unreferenced_blobs, report.unreferenced_bytes), (1, 5));
        assert_eq!(report.strays, ["blobs/sha256/not-a-digest"]);
    }

    #[test]
    fn damage_to_what_nothing_refers_to_is_found_as_well() {
        let fixture = Fixture::new();
        let (digest, _) = fixture.archive.put_bytes(b"12345").unwrap();
        rewrite(&fixture.blob(&digest), b"12346");
        let problem = only_problem(&fixture);
        assert_eq!((problem.kind, problem.blob), (ProblemKind::Digest, Some(digest)));
    }
}
