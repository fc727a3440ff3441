use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::list::Extent;
use super::pack::{self, PackedChunk};
use crate::model::Digest;
use crate::support::fs::open_regular;

/// The chunks that somebody has in packs, and need not store again. They are read when the first blob is stored in chunks.
#[derive(Default)]
pub(crate) struct KnownChunks(Mutex<Option<KnownMap>>);

/// The digest of a chunk's bytes, and where its frame lies.
pub(crate) type KnownMap = HashMap<Digest, Extent>;

impl KnownChunks {
    /// Knows nothing: everything is stored again.
    pub(crate) fn none() -> Self {
        Self(Mutex::new(Some(KnownMap::new())))
    }

    /// Knows what `read` tells, which is asked once.
    pub(crate) fn load<E>(&self, read: impl FnOnce() -> Result<KnownMap, E>) -> Result<(), E> {
        let mut map = self.lock();
        if map.is_none() {
            *map = Some(read()?);
        }
        Ok(())
    }

    pub(crate) fn get(&self, chunk: &Digest) -> Option<Extent> {
        self.lock().as_ref()?.get(chunk).copied()
    }

    /// Notes what a new pack holds.
    pub(crate) fn add(&self, pack: Digest, chunks: &[PackedChunk]) {
        let mut map = self.lock();
        map.get_or_insert_default().extend(extents(pack, chunks));
    }

    fn lock(&self) -> MutexGuard<'_, Option<KnownMap>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn extents(pack: Digest, chunks: &[PackedChunk]) -> impl Iterator<Item = (Digest, Extent)> {
    chunks.iter().map(move |&PackedChunk { digest, offset, length, size }| {
        (digest, Extent { pack, offset, length: length.into(), size: size.into() })
    })
}

/// What the packs below `folder` hold by their tables. One that is damaged or gone is of no use, and no matter here.
pub(crate) fn chunks_of<'a>(folder: &Path, packs: impl IntoIterator<Item = &'a Digest>) -> KnownMap {
    let mut map = KnownMap::new();
    for pack in packs {
        let table = open_regular(folder.join(pack.hex())).and_then(|mut file| pack::read_table(&mut file));
        if let Ok(Some(chunks)) = table {
            map.extend(extents(*pack, &chunks));
        }
    }
    map
}
