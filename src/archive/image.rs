use std::collections::BTreeMap;
use std::io::Read;

use jiff::Timestamp;
use oci_spec::image::{
    ANNOTATION_REF_NAME, Descriptor, DescriptorBuilder, ImageManifest, ImageManifestBuilder, MediaType,
    PlatformBuilder, SCHEMA_VERSION,
};
use serde::Deserialize;

use super::blobs::{self, BlobWriter};
use super::chunked::BlobChunks;
use super::error::{ArchiveError, Result};
use super::index;
use super::layer_check;
use super::layout::Layout;
use super::manifest::{
    IMAGE_BUILDER, IMAGE_ID, IMAGE_KEY, IMAGE_RECORD, IMAGE_ROLE, annotation, annotations, canonical_json,
    descriptor, digest_of, lists_artifact,
};
use super::workspace::Workspace;
use crate::model::{Digest, ImageRecord};
use crate::support::decompress::{self, Packing};
use crate::support::tar_reader;

/// An image whose configuration and layers are in the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its identity: the digest of its configuration.
    pub id: Digest,
    /// Architecture in OCI's word: `amd64`.
    pub arch: String,
    /// When it was made, as the configuration says it (RFC 3339).
    pub created: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Bytes of its configuration.
    pub config_size: u64,
    /// Its layers, lowest first.
    pub layers: Vec<Layer>,
}

/// A layer of an image: an uncompressed tar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The digest of the uncompressed tar: `diff_id` of the OCI image configuration.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
}

/// What to say in the configuration of an image that is made from a root file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootfsSpec {
    /// Architecture in OCI's word: `amd64`.
    pub arch: String,
    /// When it was made, seconds since 1970 UTC.
    pub created: i64,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// What is said in the image's history.
    pub comment: String,
}

/// What the archive needs of an image configuration (OCI image specification, "Image Configuration"). Docker's own
/// fields are left alone: the bytes are kept, not this.
#[derive(Deserialize)]
pub(super) struct ImageConfig {
    #[serde(default)]
    architecture: String,
    created: Option<String>,
    config: Option<ImageConfigDefaults>,
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct ImageConfigDefaults {
    #[serde(rename = "Labels")]
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Option<Vec<Digest>>,
}

impl ImageConfig {
    pub(super) fn layers(&self) -> &[Digest] {
        self.rootfs.diff_ids.as_deref().unwrap_or_default()
    }
}

/// The image whose configuration is `bytes`; its layers must be in the archive.
pub(super) fn from_config(layout: &Layout, id: &Digest, bytes: &[u8]) -> Result<Image> {
    let config: ImageConfig = blobs::parse(bytes, id, "the image configuration")?;
    let layers = config.layers().iter().map(|digest| {
        let what = format!("a layer of image {}", id.short());
        let size = blobs::size(layout, digest).ok_or(ArchiveError::MissingBlob { digest: *digest, what })?;
        Ok(Layer { digest: *digest, size })
    });
    Ok(Image {
        id: *id,
        layers: layers.collect::<Result<_>>()?,
        config_size: bytes.len() as u64,
        arch: config.architecture,
        created: config.created,
        labels: config.config.and_then(|config| config.labels).unwrap_or_default(),
    })
}

/// The image with this identity.
pub(super) fn from_id(layout: &Layout, id: &Digest) -> Result<Image> {
    let config = blobs::read_document(layout, id, "the image's configuration")?;
    from_config(layout, id, &config)
}

/// Stores a configuration; its digest is the image's identity.
pub(super) fn put_config(layout: &Layout, workspace: &Workspace, bytes: &[u8]) -> Result<(Digest, u64)> {
    put_document(layout, workspace, bytes)
}

pub(super) fn put_document(layout: &Layout, workspace: &Workspace, bytes: &[u8]) -> Result<(Digest, u64)> {
    let likely = layout.blob(&Digest::of(bytes));
    let mut writer = BlobWriter::new(layout, workspace, Some(likely))?;
    writer.write(bytes)?;
    Ok(writer.finish()?.publish()?)
}

/// Makes an image of one layer: the tar `rootfs`, as it is, or unpacked if it is packed with gzip or zstd.
pub(super) fn from_rootfs(
    layout: &Layout,
    workspace: &Workspace,
    mut layer: BlobChunks<'_>,
    rootfs: impl Read,
    spec: &RootfsSpec,
) -> Result<Image> {
    let (start, packed) = decompress::peek(rootfs, 512).map_err(ArchiveError::Input)?;
    let unpacked = decompress::unpack(packed, Packing::of(&start)).map_err(ArchiveError::Input)?;
    let (start, mut tar) = decompress::peek(unpacked, 512).map_err(ArchiveError::Input)?;
    if !tar_reader::is_header(&start) {
        let reason = "the root file system is no tar, or an empty one".to_owned();
        return Err(ArchiveError::BadImage { reason });
    }
    let mut end = EndMarker { inner: &mut tar, last: Vec::new() };
    layer_check::copy(&mut end, |bytes| layer.write(bytes))?;
    let whole = layer.bytes().is_multiple_of(512) && end.last.len() == EndMarker::<&[u8]>::BYTES;
    if !whole || end.last.iter().any(|b| *b != 0) {
        let reason = "the tar of the root file system ends early".to_owned();
        return Err(ArchiveError::BadImage { reason });
    }
    let staged = layer.end_blob()?;
    let diff_id = staged.digest;
    layer.publish(&[staged])?;

    let created = Timestamp::from_second(spec.created)
        .map_err(|e| ArchiveError::BadImage { reason: format!("its time is out of range: {e}") })?
        .to_string();
    let config = canonical_json(&serde_json::json!({
        "architecture": spec.arch,
        "os": "linux",
        "created": created,
        "config": { "Labels": spec.labels },
        "rootfs": { "type": "layers", "diff_ids": [diff_id] },
        "history": [{ "created": created, "created_by": "packhold", "comment": spec.comment }],
    }))?;
    let (id, _) = put_config(layout, workspace, &config)?;
    from_config(layout, &id, &config)
}

/// Passes a stream on and remembers its last bytes: a whole tar ends with two blocks of zeros.
struct EndMarker<R> {
    inner: R,
    last: Vec<u8>,
}

impl<R> EndMarker<R> {
    const BYTES: usize = 1024;
}

impl<R: Read> Read for EndMarker<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let tail = &buffer[read.saturating_sub(Self::BYTES)..read];
        self.last.extend(tail);
        self.last.drain(..self.last.len().saturating_sub(Self::BYTES));
        Ok(read)
    }
}

/// The entries of an image in the index, stored but not yet listed.
pub(super) struct ImageEntries {
    /// The image's manifest.
    pub(super) image: Descriptor,
    /// The artifact that holds its record and refers to it.
    record: Descriptor,
}

/// Stores the manifest and the record of an image whose blobs are there.
///
/// An image that is listed under the same key keeps its first record: where it came from the first time.
pub(super) fn prepare(layout: &Layout, workspace: &Workspace, record: &ImageRecord) -> Result<ImageEntries> {
    workspace.hold(record.layers.iter().chain([&record.id]))?;
    if let Some(listed) = listed(layout, record)? {
        workspace.hold(
            [&listed.image, &listed.record].into_iter().filter_map(digest_of).collect::<Vec<_>>().iter(),
        )?;
        return Ok(listed);
    }
    let image = from_id(layout, &record.id)?;
    if !image.layers.iter().map(|layer| &layer.digest).eq(&record.layers) {
        return Err(ArchiveError::Inconsistent {
            what: format!("image {}", record.id.short()),
            reason: "its record and its configuration name different layers".to_owned(),
        });
    }
    let layers =
        image.layers.iter().map(|layer| descriptor(MediaType::ImageLayer, &layer.digest, layer.size));
    let manifest = ImageManifestBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageManifest)
        .config(descriptor(MediaType::ImageConfig, &image.id, image.config_size)?)
        .layers(layers.collect::<Result<Vec<_>>>()?)
        .build();
    let mut subject = put_manifest(layout, workspace, manifest)?;

    let (digest, size) = put_document(layout, workspace, &canonical_json(record)?)?;
    let media_type = MediaType::from(IMAGE_RECORD);
    let about = annotations([
        (IMAGE_ID, record.id.to_string()),
        (IMAGE_KEY, record.key.to_string()),
        (IMAGE_ROLE, record.role.to_string()),
        (IMAGE_BUILDER, record.builder.clone()),
    ]);
    let artifact = ImageManifestBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageManifest)
        .artifact_type(media_type.clone())
        .config(put_empty(layout, workspace)?)
        .layers(vec![descriptor(media_type.clone(), &digest, size)?])
        .subject(subject.clone())
        .annotations(about.clone())
        .build();
    let mut artifact = put_manifest(layout, workspace, artifact)?;
    artifact.set_artifact_type(Some(media_type));
    artifact.set_annotations(Some(about));

    let platform = PlatformBuilder::default().architecture(image.arch.as_str()).os("linux").build();
    subject.set_platform(platform.ok());
    let name = format!("{}-{}-{}", record.role, record.builder, record.id.short());
    subject.set_annotations(Some(annotations([
        (ANNOTATION_REF_NAME, name),
        (IMAGE_ID, record.id.to_string()),
        (IMAGE_ROLE, record.role.to_string()),
        (IMAGE_BUILDER, record.builder.clone()),
    ])));
    Ok(ImageEntries { image: subject, record: artifact })
}

fn listed(layout: &Layout, record: &ImageRecord) -> Result<Option<ImageEntries>> {
    let index = index::read(layout)?;
    let (id, key) = (record.id.to_string(), record.key.to_string());
    let has_id = |entry: &&Descriptor| annotation(entry, IMAGE_ID) == Some(id.as_str());
    let mut entries = index.manifests().iter().filter(has_id);
    let image = entries.clone().find(|entry| entry.artifact_type().is_none());
    let record = entries.find(|entry| {
        lists_artifact(entry, IMAGE_RECORD) && annotation(entry, IMAGE_KEY) == Some(key.as_str())
    });
    Ok(image.zip(record).map(|(image, record)| ImageEntries { image: image.clone(), record: record.clone() }))
}

impl ImageEntries {
    /// Lists the image and its record, each once. The record that was stored first for a key and an image stays; the
    /// entry moves to the end, which is where [`find`] looks first.
    pub(super) fn list(self, index: &mut Vec<Descriptor>) {
        take_entry(index, &self.image);
        let same = |entry: &Descriptor| {
            lists_artifact(entry, IMAGE_RECORD)
                && [IMAGE_KEY, IMAGE_ID]
                    .iter()
                    .all(|key| annotation(entry, key) == annotation(&self.record, key))
        };
        let entry = match index.iter().position(same) {
            Some(position) => index.remove(position),
            None => self.record,
        };
        index.push(entry);
    }
}

/// The manifests of all images, those that were used last first.
pub(super) fn manifests(index: &[Descriptor]) -> impl Iterator<Item = Digest> {
    let with_id = index.iter().rev().filter(|entry| annotation(entry, IMAGE_ID).is_some());
    with_id.filter(|entry| entry.artifact_type().is_none()).filter_map(digest_of)
}

/// True for the entry of an image or of an image's record, and for nothing else that has the annotations of one.
pub(super) fn is_entry(entry: &Descriptor) -> bool {
    let kind = entry.artifact_type().is_none() || lists_artifact(entry, IMAGE_RECORD);
    kind && *entry.media_type() == MediaType::ImageManifest && annotation(entry, IMAGE_ID).is_some()
}

/// Lists an image or its record that came from elsewhere, if it is not listed; what is listed stays as it is.
pub(super) fn take_entry(index: &mut Vec<Descriptor>, entry: &Descriptor) {
    let about = |entry: &Descriptor, key| annotation(entry, key).map(str::to_owned);
    let same = |known: &Descriptor| {
        known.digest() == entry.digest()
            || (lists_artifact(entry, IMAGE_RECORD)
                && lists_artifact(known, IMAGE_RECORD)
                && [IMAGE_KEY, IMAGE_ID].iter().all(|key| about(known, key) == about(entry, key)))
    };
    if !index.iter().any(same) {
        index.push(entry.clone());
    }
}

/// The image that was stored last for `key`.
pub(super) fn find(layout: &Layout, key: &Digest) -> Result<Option<ImageRecord>> {
    let key = key.to_string();
    let has_key = |entry: &&Descriptor| {
        lists_artifact(entry, IMAGE_RECORD) && annotation(entry, IMAGE_KEY) == Some(key.as_str())
    };
    index::look_up(layout, |index| match index.manifests().iter().rev().find(has_key).and_then(digest_of) {
        Some(manifest) => read_record(layout, &manifest).map(Some),
        None => Ok(None),
    })
}

/// Every image record, oldest first.
pub(super) fn list(layout: &Layout) -> Result<Vec<ImageRecord>> {
    index::look_up(layout, |index| {
        let records = index.manifests().iter().filter(|entry| lists_artifact(entry, IMAGE_RECORD));
        records.filter_map(digest_of).map(|manifest| read_record(layout, &manifest)).collect()
    })
}

fn read_record(layout: &Layout, manifest: &Digest) -> Result<ImageRecord> {
    let manifest = read_manifest(layout, manifest, "the manifest of an image record")?;
    let record = manifest.layers().first().and_then(digest_of).ok_or_else(|| ArchiveError::Damaged {
        what: "the manifest of an image record".to_owned(),
        reason: "it names no record".to_owned(),
    })?;
    blobs::parse(&blobs::read_document(layout, &record, "an image record")?, &record, "the image record")
}

pub(super) fn read_manifest(layout: &Layout, digest: &Digest, what: &str) -> Result<ImageManifest> {
    blobs::parse(&blobs::read_document(layout, digest, what)?, digest, what)
}

/// Stores a manifest that has just been put together.
pub(super) fn put_manifest(
    layout: &Layout,
    workspace: &Workspace,
    manifest: std::result::Result<ImageManifest, oci_spec::OciSpecError>,
) -> Result<Descriptor> {
    let manifest = manifest
        .map_err(|e| ArchiveError::Damaged { what: "a manifest".to_owned(), reason: e.to_string() })?;
    let (digest, size) = put_document(layout, workspace, &canonical_json(&manifest)?)?;
    descriptor(MediaType::ImageManifest, &digest, size)
}

/// Stores the empty configuration of artifacts (OCI image specification, "Guidance for an Empty Descriptor").
pub(super) fn put_empty(layout: &Layout, workspace: &Workspace) -> Result<Descriptor> {
    let (digest, size) = put_document(layout, workspace, b"{}")?;
    let empty = descriptor(MediaType::EmptyJSON, &digest, size)?;
    DescriptorBuilder::default()
        .media_type(empty.media_type().clone())
        .digest(empty.digest().clone())
        .size(size)
        .data("e30=")
        .build()
        .map_err(|e| ArchiveError::Damaged { what: "a manifest".to_owned(), reason: e.to_string() })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Fixture, image_record, tar_of};
    use super::*;

    fn spec(created: i64) -> RootfsSpec {
        RootfsSpec {
            arch: "arm64".to_owned(),
            created,
            labels: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
            comment: "bootstrapped".to_owned(),
        }
    }

    #[test]
    fn a_root_file_system_becomes_an_image_whose_identity_follows_from_its_content() {
        let fixture = Fixture::new();
        let tar = tar_of(&[("etc/os-release", b"ID=debian")]);
        let image = fixture.archive.image_from_rootfs(tar.as_slice(), &spec(86_400)).unwrap();
        assert_eq!(image.layers, [Layer { digest: Digest::of(&tar), size: tar.len() as u64 }]);
        assert_eq!((image.arch.as_str(), image.created.as_deref()), ("arm64", Some("1970-01-02T00:00:00Z")));
        assert_eq!(image.labels["a"], "b");
        let packed = zstd::encode_all(&tar[..], 3).unwrap();
        assert_eq!(Fixture::new().archive.image_from_rootfs(&packed[..], &spec(86_400)).unwrap(), image);
        assert_ne!(fixture.archive.image_from_rootfs(&tar[..], &spec(0)).unwrap().id, image.id);
        assert_eq!(fixture.archive.image(&image.id).unwrap(), image);
    }

    #[test]
    fn a_root_file_system_that_ends_early_is_refused() {
        let fixture = Fixture::new();
        let tar = tar_of(&[("file", &[1; 3000])]);
        for cut in [&tar[..tar.len() - 1], &tar[..tar.len() - 1024], &tar[..600], b"", b"no tar"] {
            let error = fixture.archive.image_from_rootfs(cut, &spec(0)).unwrap_err();
            assert!(matches!(error, ArchiveError::BadImage { .. }), "{error}");
        }
        assert!(fixture.blobs().is_empty());
    }

    #[test]
    fn an_image_is_found_by_its_key_and_the_newest_wins() {
        let fixture = Fixture::new();
        let (first, second) = (fixture.image("1"), fixture.image("2"));
        let key = Digest::of("key");
        assert_eq!(fixture.archive.find_image(&key).unwrap(), None);
        for image in [&first, &second, &first] {
            let record = image_record(image, "key");
            fixture.archive.add_image(&record).unwrap();
            assert_eq!(fixture.archive.find_image(&key).unwrap(), Some(record));
        }
        fixture.archive.add_image(&image_record(&first, "other key")).unwrap();
        assert_eq!(fixture.archive.find_image(&Digest::of("other key")).unwrap().unwrap().id, first.id);
        assert_eq!(fixture.archive.images().unwrap().len(), 3);
        let report = fixture.verify();
        assert!(report.is_sound(), "{:?}", report.problems);
        assert_eq!((report.images, report.unreferenced_blobs), (2, 0));
    }

    #[test]
    fn an_image_keeps_its_first_record_and_its_entries_do_not_grow_in_number() {
        let fixture = Fixture::new();
        let first = image_record(&fixture.image("1"), "key");
        fixture.archive.add_image(&first).unwrap();
        let blobs = fixture.blobs();
        fixture.archive.add_image(&ImageRecord { obtained: "archive".to_owned(), ..first.clone() }).unwrap();
        assert_eq!(fixture.archive.find_image(&first.key).unwrap(), Some(first));
        assert_eq!(fixture.blobs(), blobs);
    }

    #[test]
    fn a_record_that_contradicts_its_image_is_refused() {
        let fixture = Fixture::new();
        let record = image_record(&fixture.image("1"), "key");
        let error =
            fixture.archive.add_image(&ImageRecord { layers: Vec::new(), ..record.clone() }).unwrap_err();
        assert!(matches!(error, ArchiveError::Inconsistent { .. }), "{error}");
        let error = fixture.archive.add_image(&ImageRecord { id: Digest::of("?"), ..record }).unwrap_err();
        assert!(matches!(error, ArchiveError::MissingBlob { .. }), "{error}");
    }
}
