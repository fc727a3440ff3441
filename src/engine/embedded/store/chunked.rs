//! Layers in the form in which the archive keeps them, beside their trees: so that archiving an image writes nothing, and one that came
//! from the archive goes back at no cost.
//!
//! Packs and lists are those of the archive's `FORMAT.md`. They are made in the pass that unpacks a layer, or linked to
//! where the archive has them. Nothing in the store depends on them: whoever takes them proves them, and a layer whose packs are
//! damaged is still given by its tree.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::catalogue;
use super::error::{Result, StoreError};
use super::feed::Staged;
use super::layout::{CHUNKS, Layout, StoreLock};
use super::workspace::Workspace;
use super::written;
use crate::chunks::{ChunkList, ChunkWriter, ChunkedImage, KnownChunks, LARGE, Written, chunks_of};
use crate::engine::ImageId;
use crate::model::Digest;
use crate::support::fs::PathContext;

/// Has the layers of an image that comes cut, if the store keeps them in chunks.
pub(super) struct Chunking<'a> {
    layout: &'a Layout,
    workspace: &'a Workspace,
    known: Arc<KnownChunks>,
}

impl<'a> Chunking<'a> {
    pub(super) fn new(layout: &'a Layout, workspace: &'a Workspace) -> Self {
        Self { layout, workspace, known: Arc::default() }
    }

    /// What cuts the next layer; `None` if the store does not keep layers in chunks. Chunks of its other layers are not kept again.
    pub(super) fn writer(&self) -> Result<Option<ChunkWriter>> {
        if !self.layout.is_shared() {
            return Ok(None);
        }
        self.known.load(|| {
            let packs = self.hold_packs()?;
            Ok::<_, StoreError>(chunks_of(&self.layout.packs(), &packs))
        })?;
        Ok(Some(ChunkWriter::start(self.workspace.new_path(), Written::ToMemory, self.known.clone(), LARGE)?))
    }

    /// The packs of all layers, which stay while the workspace is there.
    fn hold_packs(&self) -> Result<BTreeSet<Digest>> {
        let lock = StoreLock::take(&self.layout.lock())?;
        let mut packs = BTreeSet::new();
        let layers = self.layout.layers();
        for entry in fs::read_dir(&layers).at("list", &layers)? {
            let layer = entry.at("list", &layers)?.path();
            // What a power failure may have spoiled is not relied on.
            if !written::is_doubtful(&layer) {
                packs.extend(packs_of(&layer));
            }
        }
        for pack in &packs {
            self.workspace.hold(pack, &lock)?;
        }
        Ok(packs)
    }
}

/// The packs that a layer needs, if it is kept in chunks. A list that cannot be read needs none.
pub(super) fn packs_of(layer: &Path) -> BTreeSet<Digest> {
    let list = ChunkList::read(&layer.join(CHUNKS)).ok().flatten();
    list.map(|list| list.packs()).unwrap_or_default()
}

/// Gives a layer that has come the chunks which whoever it came from has. Where they cannot be linked to, it stays without.
pub(super) fn link(workspace: &Workspace, layer: &mut Staged, from: &ChunkedImage) {
    let Some(path) = from.lists.get(&layer.digest) else { return };
    match try_link(workspace, &layer.dir, path, &from.packs) {
        Ok(packs) => layer.packs = packs,
        Err(error) => tracing::debug!(layer = %layer.digest, %error, "a layer is kept without chunks"),
    }
}

fn try_link(
    workspace: &Workspace,
    layer: &Path,
    list: &Path,
    packs: &Path,
) -> Result<Vec<(Digest, PathBuf)>, Box<dyn std::error::Error>> {
    let found = ChunkList::read(list)?.ok_or("it has no list of chunks")?;
    let mut linked = Vec::new();
    for pack in found.packs() {
        let (from, to) = (packs.join(pack.hex()), workspace.new_path());
        let file = fs::symlink_metadata(&from)?;
        if !file.is_file() || file.mode() & 0o222 != 0 {
            return Err(format!("{} may be written to", from.display()).into());
        }
        fs::hard_link(&from, &to)?;
        linked.push((pack, to));
    }
    fs::write(layer.join(CHUNKS), found.to_text())?;
    Ok(linked)
}

/// Where the chunks of an image lie. It stays while the answer lives. `None` if none of its layers is kept in chunks.
pub(super) fn image(layout: &Layout, id: &ImageId) -> Result<Option<ChunkedImage>> {
    let workspace = Workspace::new(layout)?;
    let (bytes, config) = match catalogue::lease(layout, &workspace, id, workspace.dir()) {
        Err(StoreError::Missing(_)) => return Ok(None),
        leased => leased?,
    };
    let list = |layer: &Digest| (*layer, layout.layer(layer).join(CHUNKS));
    let lists: BTreeMap<Digest, PathBuf> =
        config.layers.iter().map(list).filter(|(_, list)| list.exists()).collect();
    let image = ChunkedImage { config: bytes, packs: layout.packs(), lists, kept: Arc::new(workspace) };
    Ok(Some(image).filter(|image| !image.lists.is_empty()))
}
