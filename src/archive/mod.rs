//! The archive: a directory in OCI image layout that keeps images, sources, artifacts and what happened, so that they
//! can be restored and built again when every mirror and registry is gone. `FORMAT.md`, beside this file, is the
//! specification of what is stored.
//!
//! Blobs are written once and become visible only when complete; `index.json` is replaced as a whole. Several processes
//! may write at once; readers never wait. Everything here blocks: asynchronous callers wrap it in `spawn_blocking`.

mod adopt;
mod blobs;
mod catalogue;
mod chunked;
mod docker_archive;
mod error;
mod filter;
mod image;
mod index;
mod layer_check;
mod layout;
mod lost_page;
mod manifest;
mod pages;
mod present;
mod prune;
mod repair;
mod restore;
mod run;
#[cfg(test)]
mod testing;
mod transfer;
mod verify;
mod workspace;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

pub use blobs::BlobReader;
use blobs::BlobWriter;
use chunked::BlobChunks;
pub use error::{ArchiveError, Result};
pub use filter::RunFilter;
pub use image::{Image, Layer, RootfsSpec};
use jiff::Timestamp;
use layout::Layout;
pub use prune::{KeepPolicy, KeptBecause, PrunePlan, Pruned, PrunedRun};
pub use repair::Repaired;
pub use restore::RestoredFile;
pub use run::{FileRole, Run, RunFile, RunSummary, TargetSummary};
pub use transfer::{Bundle, Incoming, Object, ObjectKind};
pub use verify::{Problem, ProblemKind, VerifyProgress, VerifyReport};
pub use workspace::Swept;
use workspace::Workspace;

use crate::chunks::{self, ChunkedImage, KnownChunks};
use crate::model::{Digest, ImageRecord, RunId, RunRecord, TargetName, TargetRecord};
use crate::support::fs::PathContext;

/// An archive in a folder. Clones share one handle; it may be used from several threads at once.
#[derive(Clone)]
pub struct Archive {
    shared: Arc<Shared>,
}

struct Shared {
    layout: Layout,
    workspace: Workspace,
    known: Arc<KnownChunks>,
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Archive").field(&self.path()).finish()
    }
}

impl Archive {
    /// Opens the archive in `dir`. A folder that is no archive is [`ArchiveError::NotAnArchive`]; nothing is written.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        Layout::open(dir.as_ref()).map(Self::with)
    }

    /// Opens the archive in `dir`, or makes one if the folder is missing or empty. A folder that holds something else is
    /// [`ArchiveError::Foreign`] and stays as it is.
    pub fn open_or_create(dir: impl AsRef<Path>) -> Result<Self> {
        Layout::open_or_create(dir.as_ref()).map(Self::with)
    }

    fn with(layout: Layout) -> Self {
        let workspace = Workspace::new(layout.clone());
        Self { shared: Arc::new(Shared { layout, workspace, known: Arc::default() }) }
    }

    fn layout(&self) -> &Layout {
        &self.shared.layout
    }

    fn workspace(&self) -> &Workspace {
        &self.shared.workspace
    }

    fn chunks(&self) -> BlobChunks<'_> {
        BlobChunks::new(self.layout(), self.workspace(), &self.shared.known, chunks::LARGE)
    }

    /// The archive's folder.
    pub fn path(&self) -> &Path {
        self.layout().root()
    }

    /// Stores bytes and tells their digest and size.
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<(Digest, u64)> {
        image::put_document(self.layout(), self.workspace(), bytes)
    }

    /// Stores everything that `stream` holds and tells its digest and size. If the stream fails, nothing is stored.
    pub fn put_stream(&self, mut stream: impl Read) -> Result<(Digest, u64)> {
        let mut writer = BlobWriter::new(self.layout(), self.workspace(), None)?;
        writer.write_all_of(&mut stream)?;
        Ok(writer.finish()?.publish()?)
    }

    /// Stores a file's bytes and tells their digest and size.
    pub fn put_file(&self, path: impl AsRef<Path>) -> Result<(Digest, u64)> {
        let path = path.as_ref();
        let (digest, _) = blobs::digest_file(path)?;
        let mut file = File::open(path).at("read", path)?;
        let likely = self.layout().blob(&digest);
        let mut writer = BlobWriter::new(self.layout(), self.workspace(), Some(likely))?;
        writer.write_all_of(&mut file)?;
        Ok(writer.finish()?.publish()?)
    }

    /// Stores what compresses well, such as texts and tars, in compressed chunks, all of it in one pack. Tells the digest and
    /// the size of each. A stream of less than 4 KiB is stored as it is.
    pub fn put_compressed<R: Read>(
        &self,
        streams: impl IntoIterator<Item = R>,
    ) -> Result<Vec<(Digest, u64)>> {
        const SMALL: u64 = 4 << 10;
        let known = &self.shared.known;
        let mut writer = BlobChunks::new(self.layout(), self.workspace(), known, chunks::SMALL);
        let (mut stored, mut staged) = (Vec::new(), Vec::new());
        for mut stream in streams {
            let mut start = Vec::new();
            (&mut stream).take(SMALL).read_to_end(&mut start).map_err(ArchiveError::Input)?;
            if (start.len() as u64) < SMALL {
                stored.push(self.put_bytes(&start)?);
                continue;
            }
            writer.write_all_of(&mut start.as_slice().chain(stream))?;
            let blob = writer.end_blob()?;
            stored.push((blob.digest, blob.size));
            staged.push(blob);
        }
        writer.publish(&staged)?;
        Ok(stored)
    }

    /// Opens a blob for reading. What is read is not checked: [`Archive::copy_blob`] does that.
    pub fn open_blob(&self, digest: &Digest) -> Result<BlobReader> {
        blobs::open(self.layout(), digest, "a blob")
    }

    /// Copies a blob to `out`, checks its digest on the way and tells its size. When this fails with
    /// [`ArchiveError::WrongDigest`], `out` has got wrong bytes and must be thrown away.
    pub fn copy_blob(&self, digest: &Digest, out: &mut impl Write) -> Result<u64> {
        let size = blobs::copy(self.layout(), digest, "a blob", |bytes| {
            out.write_all(bytes).map_err(ArchiveError::Output)
        })?;
        out.flush().map_err(ArchiveError::Output)?;
        Ok(size)
    }

    /// True when the blob is there. Its bytes are not checked.
    pub fn has(&self, digest: &Digest) -> bool {
        blobs::size(self.layout(), digest).is_some()
    }

    /// Stores the image of a `docker save` archive (of Docker, podman or skopeo) in one pass: its configuration byte for
    /// byte, its layers uncompressed. Every layer must have the digest that the configuration names. Layers that are known
    /// are read and not written. On failure nothing is stored. The image is listed by [`Archive::add_run`] or
    /// [`Archive::add_image`].
    pub fn import_docker_archive(&self, stream: impl Read) -> Result<Image> {
        docker_archive::import(self.layout(), self.workspace(), self.chunks(), stream)
    }

    /// Takes an image in whose layers somebody, an engine, keeps in chunks already: packs that the archive lacks are linked to, or
    /// copied where they cannot be, and nothing is cut or compressed. Everything is proven by its digest before any of it is seen.
    /// `None` if not all of its layers are there in chunks, or if something is not what it should be: then it has to come by
    /// [`Archive::import_docker_archive`].
    pub fn adopt(&self, image: &ChunkedImage) -> Result<Option<Image>> {
        adopt::adopt(self.layout(), self.workspace(), &self.shared.known, image)
    }

    /// Where the chunks of an image lie, so that an engine can link to them. The image stays while the answer lives. `None` if
    /// it is not whole.
    pub fn chunked(&self, id: &Digest) -> Result<Option<ChunkedImage>> {
        if !self.keep_image(id)? {
            return Ok(None);
        }
        let config = blobs::read_document(self.layout(), id, "the image's configuration")?;
        // What is kept as it is counts before what is kept in chunks.
        let in_chunks = |layer: &Digest| blobs::plain_size(self.layout(), layer).is_none();
        let layers = image::from_config(self.layout(), id, &config)?.layers;
        let layers = layers.into_iter().map(|layer| layer.digest).filter(in_chunks);
        let lists = layers.map(|layer| (layer, self.layout().chunk_list(&layer))).collect();
        Ok(Some(ChunkedImage { config, packs: self.layout().blobs(), lists, kept: Arc::new(self.clone()) }))
    }

    /// Writes an image as a tar that `docker load` and `podman load` accept and that gives the same image id. `tag`
    /// is `name:tag`. The same image and tag give the same bytes. When this fails, the tar has no end marker.
    pub fn export_docker_archive(&self, id: &Digest, tag: Option<&str>, mut out: impl Write) -> Result<()> {
        docker_archive::export(self.layout(), id, tag, &mut out)
    }

    /// Makes an image of one layer from the tar of a root file system (plain, gzip or zstd) in one pass.
    pub fn image_from_rootfs(&self, rootfs: impl Read, spec: &RootfsSpec) -> Result<Image> {
        image::from_rootfs(self.layout(), self.workspace(), self.chunks(), rootfs, spec)
    }

    /// The image with this identity, if its configuration and all its layers are there.
    pub fn image(&self, id: &Digest) -> Result<Image> {
        image::from_id(self.layout(), id)
    }

    /// True when all of these blobs are there. Whatever is, stays until this handle is dropped, whoever prunes.
    pub fn keep<'a>(&self, digests: impl IntoIterator<Item = &'a Digest>) -> Result<bool> {
        let digests: Vec<&Digest> = digests.into_iter().collect();
        self.hold_if_writable(&digests)?;
        Ok(digests.into_iter().all(|digest| self.has(digest)))
    }

    /// An archive that cannot be written (a copy on read-only media) is pruned by nobody who uses this one.
    fn hold_if_writable(&self, digests: &[&Digest]) -> Result<()> {
        match self.workspace().hold(digests.iter().copied()) {
            Err(error) if error.is_read_only() => Ok(()),
            held => Ok(held?),
        }
    }

    /// True when all of the image is there. It stays until this handle is dropped, whoever prunes.
    pub fn keep_image(&self, id: &Digest) -> Result<bool> {
        self.hold_if_writable(&[id])?;
        let Ok(image) = self.image(id) else { return Ok(false) };
        self.keep(image.layers.iter().map(|layer| &layer.digest))
    }

    /// What a prune would remove, and why it keeps what it keeps. Nothing is changed.
    pub fn plan_prune(&self, policy: &KeepPolicy, now: Timestamp) -> Result<PrunePlan> {
        prune::plan(self.layout(), policy, now)
    }

    /// Removes the runs that the policy does not keep, the images that no kept run uses, and every blob to which nothing
    /// refers then and on which no living writer relies. Tells what was removed.
    ///
    /// Runs disappear all at once; a crash afterwards leaves blobs to which nothing refers, and the next prune takes them.
    pub fn prune(&self, policy: &KeepPolicy, now: Timestamp) -> Result<Pruned> {
        prune::prune(self.layout(), self.workspace(), policy, now)
    }

    /// Lists an image, whose blobs must be there, under its key. Idempotent; the first record of an image under a key stays.
    pub fn add_image(&self, record: &ImageRecord) -> Result<()> {
        let entries = image::prepare(self.layout(), self.workspace(), record)?;
        index::update(self.layout(), self.workspace(), |index| {
            entries.list(index);
            Ok(())
        })
    }

    /// The image that was listed last under `key`: the same key means that it need not be made again.
    pub fn find_image(&self, key: &Digest) -> Result<Option<ImageRecord>> {
        image::find(self.layout(), key)
    }

    /// The image with this identity that was listed under `key`.
    pub fn find_image_with(&self, key: &Digest, id: &Digest) -> Result<Option<ImageRecord>> {
        let same = |record: &ImageRecord| record.key == *key && record.id == *id;
        Ok(self.images()?.into_iter().rev().find(same))
    }

    /// Every listed image, the one that was used last at the end.
    pub fn images(&self) -> Result<Vec<ImageRecord>> {
        image::list(self.layout())
    }

    /// Stores a run: its record, its files and its images, whose blobs must be there. They all become visible at once. Every
    /// artifact and log that the record names must be among `files`. Tells the digest of the run's manifest.
    ///
    /// Storing the same run twice changes nothing; another run with its id is [`ArchiveError::RunExists`].
    pub fn add_run(&self, record: &RunRecord, images: &[ImageRecord], files: &[RunFile]) -> Result<Digest> {
        let document = manifest::canonical_json(record)?;
        let stored = self.put_compressed([document.as_slice()])?[0];
        run::add(self.layout(), self.workspace(), record, stored, images, files)
    }

    /// All runs, newest first.
    pub fn runs(&self) -> Result<Vec<RunSummary>> {
        self.search(&RunFilter::default(), usize::MAX)
    }

    /// The commits of all runs of a package.
    pub fn commits(&self, package: &str) -> Result<BTreeSet<String>> {
        catalogue::ask(self.layout(), |db| catalogue::commits(db, package))
    }

    /// The newest runs that a filter finds, newest first, at most `limit`.
    pub fn search(&self, filter: &RunFilter, limit: usize) -> Result<Vec<RunSummary>> {
        let mut found = Vec::new();
        self.for_each_run(filter, limit, |run| found.push(run))?;
        Ok(found)
    }

    /// Hands over the newest runs that a filter finds, newest first, at most `limit`, each once. The catalogue is locked against
    /// changes until the last was taken: `take` must not wait for others.
    pub fn for_each_run(&self, filter: &RunFilter, limit: usize, take: impl FnMut(RunSummary)) -> Result<()> {
        filter::search(self.layout(), filter, limit, take)
    }

    /// The run that `wanted` means: an id, the beginning of exactly one id, or `latest`.
    pub fn run(&self, wanted: &str) -> Result<Run> {
        run::resolve(self.layout(), wanted)
    }

    /// The newest run with a target whose build passed under this key. Reads the catalogue and one run.
    pub fn find_build(&self, build_key: &Digest) -> Result<Option<(RunId, TargetRecord)>> {
        run::find_key(self.layout(), run::Purpose::Build, build_key)
    }

    /// The newest run with a target whose verify stage passed under this key. Reads the catalogue and one run.
    pub fn find_verify(&self, verify_key: &Digest) -> Result<Option<(RunId, TargetRecord)>> {
        run::find_key(self.layout(), run::Purpose::Verify, verify_key)
    }

    /// Writes the artifacts of a run below `dest`, as `dest/TARGET/NAME` ([`RunFile::path`]); of all targets, if `targets`
    /// is empty. Every file appears complete and checked, or not at all. A file that is there already with the same bytes
    /// is left alone; one with other bytes is [`ArchiveError::WouldOverwrite`].
    pub fn restore_files(
        &self,
        run: &Run,
        targets: &[TargetName],
        dest: impl AsRef<Path>,
    ) -> Result<Vec<RestoredFile>> {
        restore::files(self.layout(), run, targets, dest.as_ref())
    }

    /// Removes what writers left behind that died. Writers that live are not disturbed.
    pub fn sweep(&self) -> Result<Swept> {
        Ok(workspace::sweep(self.layout())?)
    }
}

/// Checks everything that the archive in `dir` refers to: that it is there, has the right size and the right bytes, and
/// that every reference resolves. Reads all of it; `progress` is called as it goes on. What is wrong is data; an error
/// means that the check could not be made.
///
/// This takes a folder and not an [`Archive`], because an archive that is damaged enough cannot be opened.
pub fn verify(dir: impl AsRef<Path>, progress: impl FnMut(VerifyProgress)) -> Result<VerifyReport> {
    verify::verify(dir.as_ref(), progress)
}

/// Brings back from the archive in `other` whatever is damaged or missing in the one in `dir`, and tells how that is then. What
/// comes from the other is checked against its digest before it takes the place of anything. A run that only
/// the other has is not copied.
pub fn repair(
    dir: impl AsRef<Path>,
    other: impl AsRef<Path>,
    mut progress: impl FnMut(VerifyProgress),
) -> Result<Repaired> {
    repair::repair(dir.as_ref(), other.as_ref(), &mut progress)
}
