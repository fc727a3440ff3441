use std::path::{Path, PathBuf};

use crate::model::Digest;
use crate::support::file_lock::FileLock;

/// The store's lock. It guards what is seen of the store: tags, images, leases, what is published and what is removed; never
/// long work.
pub(super) type StoreLock = FileLock;

/// Where things are in a store. The description is in the [module](super).
#[derive(Clone, Debug)]
pub(super) struct Layout {
    dir: PathBuf,
    shared: bool,
}

impl Layout {
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), shared: false }
    }

    /// The same store, in which layers that come are kept in chunks beside their trees.
    pub(super) fn shared(self) -> Self {
        Self { shared: true, ..self }
    }

    /// Whether layers that come are kept in chunks beside their trees.
    pub(super) fn is_shared(&self) -> bool {
        self.shared
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.dir.join("lock")
    }

    pub(super) fn tmp(&self) -> PathBuf {
        self.dir.join("tmp")
    }

    pub(super) fn images(&self) -> PathBuf {
        self.dir.join("images")
    }

    /// The configuration of an image, byte for byte.
    pub(super) fn image(&self, id: &Digest) -> PathBuf {
        self.images().join(format!("{}.json", id.hex()))
    }

    /// What registries call an image: a line `name@sha256:…` for each.
    pub(super) fn repo_digests(&self, id: &Digest) -> PathBuf {
        self.images().join(format!("{}.repo-digests", id.hex()))
    }

    pub(super) fn tags(&self) -> PathBuf {
        self.dir.join("tags")
    }

    /// Tags may hold what names of files may not; the file holds the tag itself.
    pub(super) fn tag(&self, tag: &str) -> PathBuf {
        self.tags().join(format!("{}.json", Digest::of(tag).hex()))
    }

    pub(super) fn leases(&self) -> PathBuf {
        self.dir.join("leases")
    }

    pub(super) fn lease(&self, holder: &Path, id: &Digest) -> PathBuf {
        let name = format!("{}\0{}", id.hex(), holder.display());
        self.leases().join(format!("{}.json", Digest::of(name).hex()))
    }

    pub(super) fn layers(&self) -> PathBuf {
        self.dir.join("layers/sha256")
    }

    /// Where the chunks of layers lie.
    pub(super) fn packs(&self) -> PathBuf {
        self.dir.join("packs/sha256")
    }

    pub(super) fn pack(&self, pack: &Digest) -> PathBuf {
        self.packs().join(pack.hex())
    }

    /// The folder of the layer whose uncompressed tar has this digest.
    pub(super) fn layer(&self, diff_id: &Digest) -> PathBuf {
        self.layers().join(diff_id.hex())
    }
}

/// The tree of a layer in its folder.
pub(super) const TREE: &str = "tree";
/// What its tar had besides the content of the tree's files.
pub(super) const RECIPE: &str = "recipe";
/// What its tar had twice under one name: see [`unpack`](super::unpack).
pub(super) const EXTRA: &str = "extra";
/// Where the chunks of its tar lie, if it is kept in chunks too: see [`chunked`](super::chunked).
pub(super) const CHUNKS: &str = "chunks";
/// Bytes of its tar, as a decimal number.
pub(super) const SIZE: &str = "size";
/// In which boot of the machine it was unpacked; not there once it is known to be on the disk: see [`written`](super::written).
pub(super) const BOOT: &str = "boot";
