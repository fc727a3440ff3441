use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::super::error::Result;
use super::super::image;
use super::super::index;
use super::super::layout::Layout;
use super::super::manifest::digest_of;
use super::super::run;
use super::super::workspace::Workspace;
use super::list::{ChunkList, Extent};
use super::pack::{self, PackedChunk};
use crate::model::Digest;
use crate::support::fs::open_regular;

/// How many images are looked at for chunks that need not be stored again, those that were used last. An image that is built
/// again resembles the one before it.
const MAX_IMAGES: usize = 64;

/// How many runs are looked at, the newest: the receipt and the record of a run say mostly what those of the one before it said.
const MAX_RUNS: usize = 8;

/// The chunks that one handle knows to be in the archive. They are read when the first blob is stored in chunks.
#[derive(Default)]
pub(in super::super) struct KnownChunks(Mutex<Option<Map>>);

pub(super) type Map = HashMap<Digest, Extent>;

impl KnownChunks {
    /// Knows nothing: everything is stored again.
    pub(in super::super) fn none() -> Self {
        Self(Mutex::new(Some(Map::new())))
    }

    /// The chunks, read if they were not. Their packs stay until the handle is dropped, whoever prunes.
    pub(super) fn load(&self, layout: &Layout, workspace: &Workspace) -> Result<()> {
        let mut map = self.lock();
        if map.is_none() {
            *map = Some(read(layout, workspace)?);
        }
        Ok(())
    }

    pub(super) fn get(&self, chunk: &Digest) -> Option<Extent> {
        self.lock().as_ref()?.get(chunk).copied()
    }

    /// Notes what a new pack holds.
    pub(super) fn add(&self, pack: Digest, chunks: &[PackedChunk]) {
        let mut map = self.lock();
        map.get_or_insert_default().extend(extents(pack, chunks));
    }

    fn lock(&self) -> MutexGuard<'_, Option<Map>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn extents(pack: Digest, chunks: &[PackedChunk]) -> impl Iterator<Item = (Digest, Extent)> {
    chunks.iter().map(move |&PackedChunk { digest, offset, length, size }| {
        (digest, Extent { pack, offset, length: length.into(), size: size.into() })
    })
}

fn read(layout: &Layout, workspace: &Workspace) -> Result<Map> {
    let index = index::read(layout)?;
    let mut packs = BTreeSet::new();
    let images = image::manifests(index.manifests()).take(MAX_IMAGES);
    for manifest in images.chain(run::newest(index.manifests(), MAX_RUNS)) {
        // What is damaged or was just pruned is of no use, and no matter here.
        let Ok(manifest) = image::read_manifest(layout, &manifest, "a manifest") else {
            continue;
        };
        for layer in manifest.layers().iter().filter_map(digest_of) {
            if let Ok(Some(list)) = ChunkList::read(layout, &layer) {
                packs.extend(list.packs());
            }
        }
    }
    workspace.hold(&packs)?;
    let mut map = Map::new();
    for pack in packs {
        let table = open_regular(layout.blob(&pack)).and_then(|mut file| pack::read_table(&mut file));
        if let Ok(Some(chunks)) = table {
            map.extend(extents(pack, &chunks));
        }
    }
    Ok(map)
}
