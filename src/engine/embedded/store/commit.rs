use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::Lease;
use super::catalogue::{self, NewImage};
use super::chunked::Chunking;
use super::error::{Result, StoreError};
use super::feed::{Feed, Staged};
use super::layer_tar;
use super::layout::Layout;
use super::workspace::Workspace;
use crate::engine::{CommitSpec, ImageInfo};

/// Makes an image of a leased one and the upper folders of overlays over it, the lowest first.
pub(super) fn commit(
    layout: &Layout,
    workspace: &Workspace,
    lease: &Lease,
    uppers: &[PathBuf],
    spec: &CommitSpec,
    cancelled: &CancellationToken,
) -> Result<ImageInfo> {
    let chunking = Chunking::new(layout, workspace);
    let layers: Vec<Staged> =
        uppers.iter().map(|upper| layer_of(workspace, &chunking, upper)).collect::<Result<_>>()?;
    // Whoever has let go of it may have let the container go on while it was read.
    if cancelled.is_cancelled() {
        return Err(StoreError::Cancelled);
    }
    let config = lease.config.with_layers(layers.iter().map(|layer| layer.digest), spec);
    let image = NewImage { config: &config, layers, repo_digest: None, tag: &spec.tag };
    catalogue::publish(layout, workspace, image)
}

fn layer_of(workspace: &Workspace, chunking: &Chunking<'_>, upper: &Path) -> Result<Staged> {
    let mut feed = Feed::new(&workspace.new_path(), chunking.writer()?)?;
    let written = layer_tar::write(upper, &mut feed);
    let fed = feed.end();
    match (fed.wait(), written) {
        // Who writes to a layer that cannot be unpacked meets a broken pipe: that says less.
        (Err(error), Ok(()) | Err(StoreError::Input(_))) | (_, Err(error)) => Err(error),
        (Ok(layer), Ok(())) => Ok(layer),
    }
}
