//! What of a run travels to another archive, and how it is taken in there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use oci_spec::image::{Descriptor, ImageIndex};
use serde::{Deserialize, Serialize};

use super::blobs;
use super::catalogue;
use super::chunked;
use super::error::{ArchiveError, Result};
use super::image;
use super::index;
use super::layout::{self, Layout};
use super::manifest::{self, IMAGE_ID, annotation, digest_of};
use super::pages;
use super::prune::needed_by;
use super::run;
use super::verify;
use super::{Archive, Shared};
use crate::chunks::{ChunkList, ChunkReader};
use crate::model::{Digest, Hasher, RunId};
use crate::support::fs::PathContext;

/// Everything that belongs to a run, as it travels: the entries of the index, and the files to which they refer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// The run.
    pub run: RunId,
    /// An OCI image index with the run, its images and their records.
    pub index: serde_json::Value,
    /// The files, those first that others name.
    pub objects: Vec<Object>,
}

/// A file of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Object {
    /// What it is.
    pub kind: ObjectKind,
    /// The digest under which it is stored: of a list of chunks that of the blob whose bytes they are.
    pub name: Digest,
    /// The digest of the file's bytes.
    pub digest: Digest,
    /// Bytes of the file.
    pub size: u64,
    /// The packs that a list of chunks names.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub packs: BTreeSet<Digest>,
}

/// What a file of an archive is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ObjectKind {
    /// A blob as it is.
    Blob,
    /// Where the chunks of a blob lie.
    Chunks,
}

impl Object {
    /// Where the file stands in an archive's folder.
    pub fn path(&self) -> String {
        let folder = match self.kind {
            ObjectKind::Blob => "blobs",
            ObjectKind::Chunks => "chunked",
        };
        format!("{folder}/sha256/{}", self.name.hex())
    }
}

impl Archive {
    /// What belongs to a run. Its files stay until this handle is dropped, whoever prunes.
    pub fn bundle(&self, id: &RunId) -> Result<Bundle> {
        let layout = self.layout();
        let found = index::look_up(layout, |index| bundle(layout, index, id))?;
        let names: Vec<&Digest> = found.objects.iter().map(|object| &object.name).collect();
        self.hold_if_writable(&names)?;
        // Once more: now nobody can remove what was found.
        index::look_up(layout, |index| bundle(layout, index, id))
    }

    /// The file of an object.
    pub fn object_path(&self, object: &Object) -> PathBuf {
        self.path().join(object.path())
    }

    /// Begins to take in a run from elsewhere.
    pub fn receive(&self, bundle: Bundle) -> Result<Incoming> {
        let shared = self.shared.clone();
        shared.workspace.hold(bundle.objects.iter().map(|object| &object.name))?;
        let wrong = bundle.objects.iter().find(|o| o.kind == ObjectKind::Blob && o.name != o.digest);
        if let Some(object) = wrong {
            return Err(damaged(&bundle.run, format!("it gives the blob {} two digests", object.name)));
        }
        let layout = &shared.layout;
        let is_missing = |object: &&Object| match object.kind {
            ObjectKind::Blob => blobs::plain_size(layout, &object.name) != Some(object.size),
            ObjectKind::Chunks => blobs::size(layout, &object.name).is_none(),
        };
        let missing: Vec<Object> = bundle.objects.iter().filter(is_missing).cloned().collect();
        // A pack is needed only by blobs that are not there in some other way.
        let all_packs: BTreeSet<&Digest> = bundle.objects.iter().flat_map(|object| &object.packs).collect();
        let packs: BTreeSet<&Digest> = missing.iter().flat_map(|object| &object.packs).collect();
        let is_wanted = |object: &Object| {
            object.kind == ObjectKind::Chunks
                || !all_packs.contains(&object.name)
                || packs.contains(&object.name)
        };
        let missing = missing.iter().filter(|object| is_wanted(object)).cloned().collect();
        Ok(Incoming { shared, bundle, missing, lists: Mutex::default() })
    }
}

/// A run on its way into an archive. Nobody sees it before [`Incoming::finish`]; what has arrived by then is found again
/// by the next attempt.
pub struct Incoming {
    shared: std::sync::Arc<Shared>,
    bundle: Bundle,
    /// What has to be fetched.
    pub missing: Vec<Object>,
    /// Lists that have arrived, by the digests of their blobs. Their own digests say nothing of the blobs, so that they stay
    /// in the workspace until these were read: a pull that breaks off leaves no list behind that the next would trust.
    lists: Mutex<BTreeMap<Digest, PathBuf>>,
}

impl Incoming {
    /// A path for the file of an object that is on its way.
    pub fn temporary(&self) -> Result<PathBuf> {
        Ok(self.shared.workspace.new_path()?)
    }

    /// Takes in the file of an object, which must have the digest that is said.
    pub fn accept(&self, object: &Object, file: &Path) -> Result<()> {
        let (found, _) = blobs::digest_file(file)?;
        if found != object.digest {
            let _ = fs::remove_file(file);
            return Err(ArchiveError::WrongDigest { what: object.path(), expected: object.digest, found });
        }
        let opened = fs::File::open(file).at("read", file)?;
        let mut mode = opened.metadata().at("read", file)?.permissions();
        mode.set_readonly(true);
        opened.set_permissions(mode).and_then(|()| opened.sync_all()).at("write", file)?;
        if object.kind == ObjectKind::Chunks {
            let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
            lists.insert(object.name, file.to_owned());
            return Ok(());
        }
        let layout = &self.shared.layout;
        let path = layout.root().join(object.path());
        fs::rename(file, &path).at("create", &path)?;
        Ok(layout::sync_dir(&layout.blobs())?)
    }

    /// Lists the run, once everything of it has proved sound.
    pub fn finish(self) -> Result<()> {
        let Self { shared, bundle, missing: _, lists } = self;
        let layout = &shared.layout;
        for (name, file) in lists.into_inner().unwrap_or_else(PoisonError::into_inner) {
            publish_list(layout, &name, &file)?;
        }
        let listed: ImageIndex = serde_json::from_value(bundle.index.clone())
            .map_err(|error| damaged(&bundle.run, error.to_string()))?;
        if let Some(problem) = verify::documents(layout, &listed).into_iter().next() {
            return Err(damaged(&bundle.run, problem.message));
        }
        index::update(layout, &shared.workspace, |index| {
            for entry in listed.manifests() {
                let digest =
                    digest_of(entry).ok_or_else(|| damaged(&bundle.run, "a digest is no sha256".into()))?;
                let needed = needed_by(layout, &digest)?;
                if let Some(digest) = needed.into_iter().find(|digest| blobs::size(layout, digest).is_none())
                {
                    return Err(ArchiveError::MissingBlob { digest, what: format!("of run {}", bundle.run) });
                }
                take_entry(layout, index, entry, &digest, &bundle.run)?;
            }
            match pages::find(layout, index, &bundle.run)? {
                Some(_) => Ok(()),
                None => Err(damaged(&bundle.run, "its index does not list it".to_owned())),
            }
        })?;
        catalogue::refresh(layout);
        Ok(())
    }
}

/// Makes a list visible whose blob has proved to have the digest `name`.
fn publish_list(layout: &Layout, name: &Digest, file: &Path) -> Result<()> {
    let text = fs::read_to_string(file).at("read", file)?;
    let list = ChunkList::parse(&text)
        .map_err(|reason| ArchiveError::Damaged { what: format!("the chunk list of {name}"), reason })?;
    let mut hasher = Hasher::new();
    std::io::copy(&mut ChunkReader::new(&layout.blobs(), list), &mut hasher)
        .at("read", layout.chunk_list(name))?;
    let found = hasher.finish().0;
    if found != *name {
        let what = "a blob that has arrived".to_owned();
        return Err(ArchiveError::WrongDigest { what, expected: *name, found });
    }
    let folder = layout.chunk_lists();
    fs::create_dir_all(&folder).at("create", &folder)?;
    let path = layout.chunk_list(name);
    fs::rename(file, &path).at("create", &path)?;
    Ok(layout::sync_dir(&folder)?)
}

fn take_entry(
    layout: &Layout,
    index: &mut Vec<Descriptor>,
    entry: &Descriptor,
    digest: &Digest,
    id: &RunId,
) -> Result<()> {
    match run::run_id(entry) {
        Some(found) if found == *id => {
            let run = run::read(layout, digest)?;
            if run.record.id != *id {
                return Err(damaged(id, "its record is that of another run".to_owned()));
            }
            run::check(layout, &run.record, &run.files)?;
            run::list(layout, index, entry.clone(), id)
        }
        None if image::is_entry(entry) => {
            image::take_entry(index, entry);
            Ok(())
        }
        _ => Err(damaged(id, "its index lists something else".to_owned())),
    }
}

fn bundle(layout: &Layout, index: &ImageIndex, id: &RunId) -> Result<Bundle> {
    let entry = pages::find(layout, index.manifests(), id)?;
    let entry = entry.ok_or_else(|| ArchiveError::UnknownRun { wanted: id.to_string(), near: Vec::new() })?;
    let manifest = digest_of(&entry).ok_or_else(|| damaged(id, "its digest is no sha256".to_owned()))?;
    let run = run::read(layout, &manifest)?;
    let ids: BTreeSet<&str> = index
        .manifests()
        .iter()
        .filter(|entry| digest_of(entry).is_some_and(|digest| run.images.contains(&digest)))
        .filter_map(|entry| annotation(entry, IMAGE_ID))
        .collect();
    let of_image = |entry: &&Descriptor| annotation(entry, IMAGE_ID).is_some_and(|id| ids.contains(id));
    let mut entries: Vec<Descriptor> = index.manifests().iter().filter(of_image).cloned().collect();
    entries.push(entry);

    let mut needed = BTreeSet::new();
    for entry in &entries {
        if let Some(digest) = digest_of(entry) {
            needed.extend(needed_by(layout, &digest)?);
        }
    }
    let (mut blobs, mut lists, mut packs) = (BTreeSet::new(), Vec::new(), BTreeSet::new());
    for digest in needed {
        match chunked::list(layout, &digest)? {
            _ if blobs::plain_size(layout, &digest).is_some() => {
                blobs.insert(digest);
            }
            Some(list) => {
                let text = list.to_text();
                packs.extend(list.packs());
                lists.push(Object {
                    kind: ObjectKind::Chunks,
                    name: digest,
                    digest: Digest::of(&text),
                    size: text.len() as u64,
                    packs: list.packs(),
                });
            }
            None => return Err(ArchiveError::MissingBlob { digest, what: format!("of run {id}") }),
        }
    }
    blobs.extend(packs);
    let blob = |name: Digest| {
        let size = blobs::plain_size(layout, &name);
        let size =
            size.ok_or_else(|| ArchiveError::MissingBlob { digest: name, what: format!("of run {id}") })?;
        Ok(Object { kind: ObjectKind::Blob, name, digest: name, size, packs: BTreeSet::new() })
    };
    let mut objects = blobs.into_iter().map(blob).collect::<Result<Vec<_>>>()?;
    objects.extend(lists);
    let mut listed = index::empty()?;
    listed.set_manifests(entries);
    let index: serde_json::Value = serde_json::from_slice(&manifest::canonical_json(&listed)?)
        .map_err(|error| damaged(id, error.to_string()))?;
    Ok(Bundle { run: id.clone(), index, objects })
}

fn damaged(id: &RunId, reason: String) -> ArchiveError {
    ArchiveError::Damaged { what: format!("what belongs to run {id}"), reason }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Fixture;
    use super::*;

    fn copy(from: &Fixture, to: &Fixture, id: &RunId) -> Result<usize> {
        let incoming = to.archive.receive(from.archive.bundle(id)?)?;
        for object in &incoming.missing {
            let file = incoming.temporary()?;
            fs::copy(from.archive.object_path(object), &file).unwrap();
            incoming.accept(object, &file)?;
        }
        let fetched = incoming.missing.len();
        incoming.finish().map(|()| fetched)
    }

    #[test]
    fn a_run_that_was_copied_is_whole_and_only_what_is_missing_travels() {
        let (from, to) = (Fixture::new(), Fixture::new());
        let (first, second) = (from.add_run(1), from.add_run(2));
        assert!(copy(&from, &to, &first.id).unwrap() > 5);
        assert_eq!(copy(&from, &to, &first.id).unwrap(), 0);
        // The image is there; the record, the package and the manifest are not.
        assert!((3..=4).contains(&copy(&from, &to, &second.id).unwrap()));
        let report = to.verify();
        assert!(report.is_sound() && report.unreferenced_blobs == 0, "{report:?}");
        for record in [first, second] {
            let id = record.id.as_str();
            assert_eq!(to.archive.run(id).unwrap(), from.archive.run(id).unwrap());
            to.archive.image(&record.images[0].id).unwrap();
        }
        assert_eq!(to.archive.images().unwrap(), from.archive.images().unwrap());
    }

    #[test]
    fn packs_of_layers_that_are_there_in_others_do_not_travel() {
        let (from, to) = (Fixture::new(), Fixture::new());
        let record = from.add_run(1);
        let layer = super::super::testing::tar_of(&[("file", b"base")]);
        let more = vec![7; 9000];
        to.archive.chunks().publish(&[]).unwrap();
        let mut writer = to.archive.chunks();
        writer.write(&layer).unwrap();
        let staged = writer.end_blob().unwrap();
        writer.write(&more).unwrap();
        let other = writer.end_blob().unwrap();
        writer.publish(&[staged, other]).unwrap();
        let incoming = to.archive.receive(from.archive.bundle(&record.id).unwrap()).unwrap();
        let pack = from.file_of(&record.images[0].layers[0]);
        assert!(!incoming.missing.iter().any(|object| from.archive.object_path(object) == pack));
        copy(&from, &to, &record.id).unwrap();
        assert!(to.verify().is_sound());
    }

    #[test]
    fn a_page_that_comes_as_an_image_is_refused() {
        let from = Fixture::new();
        let record = from.add_run(1);
        let mut bundle = from.archive.bundle(&record.id).unwrap();
        let page = super::super::pages::document(Vec::new()).unwrap();
        let (digest, size) = from.archive.put_bytes(&page).unwrap();
        let entry = serde_json::json!({
            "mediaType": "application/vnd.oci.image.index.v1+json", "artifactType": manifest::PAGE,
            "digest": digest, "size": size, "annotations": { IMAGE_ID: record.images[0].id },
        });
        bundle.index["manifests"].as_array_mut().unwrap().push(entry);
        let object = Object { kind: ObjectKind::Blob, name: digest, digest, size, packs: BTreeSet::new() };
        bundle.objects.push(object);
        let to = Fixture::new();
        let incoming = to.archive.receive(bundle).unwrap();
        for object in &incoming.missing {
            let file = incoming.temporary().unwrap();
            fs::copy(from.archive.object_path(object), &file).unwrap();
            incoming.accept(object, &file).unwrap();
        }
        let error = incoming.finish().unwrap_err();
        assert!(error.to_string().contains("lists something else"), "{error}");
        assert!(to.archive.runs().unwrap().is_empty());
    }

    #[test]
    fn what_arrives_damaged_is_not_listed() {
        let (from, to) = (Fixture::new(), Fixture::new());
        let record = from.add_run(1);
        let bundle = from.archive.bundle(&record.id).unwrap();
        for object in &bundle.objects {
            let incoming = to.archive.receive(bundle.clone()).unwrap();
            let file = incoming.temporary().unwrap();
            let mut bytes = fs::read(from.archive.object_path(object)).unwrap();
            bytes[0] ^= 1;
            fs::write(&file, bytes).unwrap();
            let error = incoming.accept(object, &file).unwrap_err();
            assert!(matches!(error, ArchiveError::WrongDigest { .. }), "{error}");
        }
        // A list with a digest of its own, which is not that of the blob it stands for.
        let mut hostile = bundle.clone();
        let layer = record.images[0].layers[0];
        let list = hostile.objects.iter_mut().find(|object| object.name == layer).unwrap();
        let other = from.archive.put_compressed([vec![9; 5000].as_slice()]).unwrap()[0].0;
        let text = fs::read(from.archive.layout().chunk_list(&other)).unwrap();
        (list.digest, list.size) = (Digest::of(&text), text.len() as u64);
        let pack = from.file_of(&other);
        let incoming = to.archive.receive(hostile).unwrap();
        for object in &incoming.missing {
            let file = incoming.temporary().unwrap();
            let source = if object.name == layer {
                from.archive.layout().chunk_list(&other)
            } else {
                from.archive.object_path(object)
            };
            fs::copy(source, &file).unwrap();
            incoming.accept(object, &file).unwrap();
        }
        fs::copy(&pack, to.archive.layout().blobs().join(pack.file_name().unwrap())).unwrap();
        let error = incoming.finish().unwrap_err();
        assert!(matches!(error, ArchiveError::WrongDigest { .. }), "{error}");
        assert!(to.archive.runs().unwrap().is_empty() && !to.archive.has(&layer));

        // Nor is a list trusted that a pull which broke off has left.
        let to = Fixture::new();
        let incoming = to.archive.receive(bundle.clone()).unwrap();
        for object in &incoming.missing {
            let file = incoming.temporary().unwrap();
            fs::copy(from.archive.object_path(object), &file).unwrap();
            incoming.accept(object, &file).unwrap();
        }
        drop(incoming);
        assert!(!to.archive.has(&layer), "a list is there before its blob was read");

        let to = Fixture::new();
        let mut incomplete = bundle;
        incomplete.objects.retain(|object| object.name != record.targets[0].artifacts[0].digest);
        let incoming = to.archive.receive(incomplete).unwrap();
        for object in &incoming.missing {
            let file = incoming.temporary().unwrap();
            fs::copy(from.archive.object_path(object), &file).unwrap();
            incoming.accept(object, &file).unwrap();
        }
        assert!(matches!(incoming.finish().unwrap_err(), ArchiveError::MissingBlob { .. }));
        assert!(to.archive.runs().unwrap().is_empty() && to.verify().is_sound());
    }
}
