use std::collections::BTreeSet;
use std::io::Write;

use super::super::blobs;
use super::super::error::{ArchiveError, Result};
use super::super::image::{self, Layer};
use super::super::layer_check;
use super::super::layout::Layout;
use crate::model::{Digest, Hasher};
use crate::support::fs::PathContext;
use crate::support::image_archive::{
    MANIFEST, ManifestItem, write_bytes, write_end, write_header, write_padding,
};
use crate::support::read_ahead::ReadAhead;

/// Writes an image as a tar. The manifest comes first, so that a reader knows what follows; the same image and tag give
/// the same bytes.
pub(in super::super) fn export(
    layout: &Layout,
    id: &Digest,
    tag: Option<&str>,
    out: &mut impl Write,
) -> Result<()> {
    let config = blobs::read_document(layout, id, "the image's configuration")?;
    let image = image::from_config(layout, id, &config)?;
    let layer_name = |digest: &Digest| format!("{}.tar", digest.hex());
    let manifest = [ManifestItem {
        config: format!("{}.json", id.hex()),
        repo_tags: tag.map(|tag| vec![tag.to_owned()]),
        layers: Some(image.layers.iter().map(|layer| layer_name(&layer.digest)).collect()),
    }];
    let manifest = serde_json::to_vec(&manifest)
        .map_err(|e| ArchiveError::Damaged { what: MANIFEST.to_owned(), reason: e.to_string() })?;
    write_bytes(out, MANIFEST, &manifest).map_err(ArchiveError::Output)?;
    write_bytes(out, &format!("{}.json", id.hex()), &config).map_err(ArchiveError::Output)?;
    let mut written = BTreeSet::new();
    for layer in &image.layers {
        // An image may have the same layer twice; the manifest then names one file twice.
        if written.insert(layer.digest) {
            write_header(out, &layer_name(&layer.digest), layer.size).map_err(ArchiveError::Output)?;
            write_layer(layout, out, layer, &format!("a layer of image {}", id.short()))?;
            write_padding(out, layer.size).map_err(ArchiveError::Output)?;
        }
    }
    write_end(out).map_err(ArchiveError::Output)
}

/// Writes the bytes of a layer, which must be what they should be, and nothing that an engine should not unpack.
fn write_layer(layout: &Layout, out: &mut impl Write, layer: &Layer, what: &str) -> Result<()> {
    let blob = blobs::open(layout, &layer.digest, what)?;
    let blob = ReadAhead::new(blob).map_err(ArchiveError::Output)?;
    let mut left = layer.size;
    let mut hasher = Hasher::new();
    let copied = layer_check::copy(blob, |bytes| {
        // A hasher that keeps no bytes cannot fail.
        let _ = hasher.write_all(bytes);
        // A blob that grows while it is read must not run into the next entry; its digest tells on it.
        let fitting = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        left -= fitting as u64;
        out.write_all(&bytes[..fitting]).map_err(ArchiveError::Output)
    });
    match copied {
        Err(ArchiveError::Input(error)) => Err(error).at("read", layout.blob(&layer.digest))?,
        Err(refused @ ArchiveError::BadImage { .. }) => {
            // What is damaged is told as damaged.
            blobs::copy(layout, &layer.digest, what, |_| Ok(()))?;
            return Err(refused);
        }
        copied => copied?,
    }
    let found = hasher.finish().0;
    match found == layer.digest {
        true => Ok(()),
        false => Err(ArchiveError::WrongDigest { what: what.to_owned(), expected: layer.digest, found }),
    }
}
