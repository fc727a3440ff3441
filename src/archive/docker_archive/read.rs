use std::io::Read;

use super::super::chunked::{BlobChunks, StagedChunks};
use super::super::error::{ArchiveError, Result};
use super::super::image::{self, Image, ImageConfig};
use super::super::layer_check;
use super::super::layout::Layout;
use super::super::workspace::Workspace;
use crate::model::Digest;
use crate::support::image_archive::{self, Contents, Problem};

/// Reads an image from `docker save`'s tar in one pass. Nothing becomes visible before the whole image has proved sound.
pub(in super::super) fn import(
    layout: &Layout,
    workspace: &Workspace,
    mut chunks: BlobChunks<'_>,
    stream: impl Read,
) -> Result<Image> {
    let contents = image_archive::read(stream, |_, mut layer| {
        layer_check::copy(&mut layer, |bytes| chunks.write(bytes))?;
        chunks.end_blob()
    })?;
    let item = contents.manifest()?;
    let config = contents.document(&item.config)?.to_vec();
    let id = Digest::of(&config);
    let parsed: ImageConfig = serde_json::from_slice(&config)
        .map_err(|e| bad(format!("its configuration `{}` cannot be read: {e}", item.config)))?;
    let named = item.layers.unwrap_or_default();
    let wanted = parsed.layers();
    if named.len() != wanted.len() {
        return Err(bad(format!(
            "its manifest has {} layers and its configuration {}",
            named.len(),
            wanted.len()
        )));
    }
    for (name, wanted) in named.iter().zip(wanted) {
        check_layer(&contents, name, wanted)?;
    }
    // Every layer is sound: only now does anything become visible, and the configuration last.
    chunks.publish(&contents.into_layers(&named)?)?;
    image::put_config(layout, workspace, &config)?;
    image::from_config(layout, &id, &config)
}

fn check_layer(contents: &Contents<StagedChunks>, name: &str, wanted: &Digest) -> Result<()> {
    match contents.layer(name)? {
        layer if layer.digest == *wanted => Ok(()),
        layer => Err(ArchiveError::WrongDigest {
            what: format!("layer `{name}` of the image"),
            expected: *wanted,
            found: layer.digest,
        }),
    }
}

impl From<Problem> for ArchiveError {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::Tar(error) => error.into(),
            Problem::Input(error) => Self::Input(error),
            Problem::Image(reason) => Self::BadImage { reason },
        }
    }
}

fn bad(reason: String) -> ArchiveError {
    ArchiveError::BadImage { reason }
}
