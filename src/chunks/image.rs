use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::model::Digest;

/// An image whose layers somebody keeps in chunks, as the archive does, in a folder of this machine. Nothing of it is believed:
/// whoever takes it proves it.
#[derive(Clone)]
pub struct ChunkedImage {
    /// Its configuration, byte for byte.
    pub config: Vec<u8>,
    /// The folder of the packs, which are named by the hexadecimal digits of their digests. They are never changed, and may be linked
    /// to.
    pub packs: PathBuf,
    /// The digest of an uncompressed layer, and the file with the list of its chunks. A layer that is not kept so is not named.
    pub lists: BTreeMap<Digest, PathBuf>,
    /// While this is there, what is named stays.
    pub kept: Arc<dyn Any + Send + Sync>,
}

impl PartialEq for ChunkedImage {
    /// Whether both are the same image in the same place.
    fn eq(&self, other: &Self) -> bool {
        (&self.config, &self.packs, &self.lists) == (&other.config, &other.packs, &other.lists)
    }
}

impl Eq for ChunkedImage {}

impl fmt::Debug for ChunkedImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkedImage")
            .field("packs", &self.packs)
            .field("lists", &self.lists)
            .finish_non_exhaustive()
    }
}
