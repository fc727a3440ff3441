//! The OCI documents of an archive: media types, annotations, and how they are written.

use std::collections::HashMap;

use oci_spec::image::{Descriptor, ImageManifest, MediaType, Sha256Digest};
use serde::Serialize;

use super::error::{ArchiveError, Result};
use crate::model::Digest;

/// The artifact type of a run's manifest.
pub(super) const RUN: &str = "application/vnd.packhold.run.v1+json";
/// The media type of a run's record: [`RunRecord`](crate::model::RunRecord) as JSON.
pub(super) const RUN_RECORD: &str = "application/vnd.packhold.run-record.v1+json";
/// The artifact type of an image record's manifest, and the media type of the record itself:
/// [`ImageRecord`](crate::model::ImageRecord) as JSON.
pub(super) const IMAGE_RECORD: &str = "application/vnd.packhold.image-record.v1+json";

/// The artifact type of a page: an index of older runs.
pub(super) const PAGE: &str = "application/vnd.packhold.runs.v1+json";

/// The archive's format, on the index.
pub(super) const FORMAT_VERSION: &str = "com.packhold.archive.version";
pub(super) const PAGE_FIRST: &str = "com.packhold.page.first";
pub(super) const PAGE_LAST: &str = "com.packhold.page.last";
pub(super) const IMAGE_ID: &str = "com.packhold.image.id";
pub(super) const IMAGE_KEY: &str = "com.packhold.image.key";
pub(super) const IMAGE_ROLE: &str = "com.packhold.image.role";
pub(super) const IMAGE_BUILDER: &str = "com.packhold.image.builder";
pub(super) const RUN_ID: &str = "com.packhold.run.id";
pub(super) const RUN_PACKAGE: &str = "com.packhold.run.package";
pub(super) const RUN_COMMIT: &str = "com.packhold.run.commit";
pub(super) const RUN_VERSION: &str = "com.packhold.run.version";
pub(super) const RUN_STARTED: &str = "com.packhold.run.started";
pub(super) const RUN_DURATION: &str = "com.packhold.run.duration-ms";
pub(super) const RUN_OUTCOME: &str = "com.packhold.run.outcome";
pub(super) const RUN_TARGETS: &str = "com.packhold.run.targets";
pub(super) const RUN_RELEASE: &str = "com.packhold.run.release";
pub(super) const RUN_IMAGES: &str = "com.packhold.run.images";
pub(super) const BUILD_KEYS: &str = "com.packhold.build-keys";
pub(super) const VERIFY_KEYS: &str = "com.packhold.verify-keys";
pub(super) const FILE_ROLE: &str = "com.packhold.file.role";
pub(super) const FILE_TARGET: &str = "com.packhold.file.target";

pub(super) type Annotations = HashMap<String, String>;

/// JSON whose keys are sorted: the same document always has the same digest.
pub(super) fn canonical_json(document: &impl Serialize) -> Result<Vec<u8>> {
    let written = serde_json::to_value(document).and_then(|value| serde_json::to_vec(&value));
    let mut bytes = written
        .map_err(|e| ArchiveError::Damaged { what: "a document".to_owned(), reason: e.to_string() })?;
    bytes.push(b'\n');
    Ok(bytes)
}

pub(super) fn annotations<const N: usize>(pairs: [(&str, String); N]) -> Annotations {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

pub(super) fn descriptor(media_type: MediaType, digest: &Digest, size: u64) -> Result<Descriptor> {
    let digest: Sha256Digest = digest.hex().parse().map_err(|e: oci_spec::OciSpecError| {
        ArchiveError::Damaged { what: digest.to_string(), reason: e.to_string() }
    })?;
    Ok(Descriptor::new(media_type, size, digest))
}

/// The digest of a descriptor, if it is a sha256.
pub(super) fn digest_of(descriptor: &Descriptor) -> Option<Digest> {
    descriptor.as_digest_sha256().and_then(|hex| Digest::from_hex(hex).ok())
}

pub(super) fn annotation<'a>(descriptor: &'a Descriptor, key: &str) -> Option<&'a str> {
    descriptor.annotations().as_ref()?.get(key).map(String::as_str)
}

pub(super) fn manifest_annotation<'a>(manifest: &'a ImageManifest, key: &str) -> Option<&'a str> {
    manifest.annotations().as_ref()?.get(key).map(String::as_str)
}

/// True when a media type is that of a document that names other blobs: a manifest or an index, of OCI or of Docker.
pub(super) fn is_document(media_type: &str) -> bool {
    let kinds = [
        "application/vnd.oci.image.manifest.",
        "application/vnd.oci.image.index.",
        "application/vnd.docker.distribution.manifest.",
    ];
    kinds.iter().any(|kind| media_type.starts_with(kind)) && media_type.ends_with("+json")
}

/// True when the manifest is an artifact of type `wanted`.
pub(super) fn is_artifact(manifest: &ImageManifest, wanted: &str) -> bool {
    manifest.artifact_type().as_ref().is_some_and(|found| found.as_ref() == wanted)
}

/// True when the entry of an index lists an artifact of type `wanted`: a manifest, which alone can be read as one.
pub(super) fn lists_artifact(entry: &Descriptor, wanted: &str) -> bool {
    *entry.media_type() == MediaType::ImageManifest && describes_artifact(entry, wanted)
}

/// True when the descriptor says that it is an artifact of type `wanted`.
pub(super) fn describes_artifact(descriptor: &Descriptor, wanted: &str) -> bool {
    descriptor.artifact_type().as_ref().is_some_and(|found| found.as_ref() == wanted)
}
