//! The archive's blobs that lie in chunks: where their packs and lists are, and when they become visible.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::mem;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use super::blobs::{self, each_block};
use super::error::{ArchiveError, Result};
use super::image;
use super::index;
use super::layout::{self, Layout};
use super::manifest::digest_of;
use super::run;
use super::workspace::Workspace;
use crate::chunks::{
    ChunkList, ChunkWriter, Cut, KnownChunks, KnownMap, ListError, Pieces, Written, chunks_of,
};
use crate::model::{Digest, Hasher};
use crate::support::fs::PathContext;

/// How many images are looked at for chunks that need not be stored again, those that were used last. An image that is built
/// again resembles the one before it.
const MAX_IMAGES: usize = 64;

/// How many runs are looked at, the newest: the receipt and the record of a run say mostly what those of the one before it said.
const MAX_RUNS: usize = 8;

/// Bytes that are read at a time.
const BUFFER: usize = 256 << 10;

/// Stores blobs in chunks; all new ones go into one pack.
///
/// Nobody sees anything of it before [`BlobChunks::publish`]; dropped, it leaves nothing behind.
pub(super) struct BlobChunks<'a> {
    layout: &'a Layout,
    workspace: &'a Workspace,
    known: &'a Arc<KnownChunks>,
    cut: Cut,
    hasher: Hasher,
    /// Begins with the first blob.
    writer: Option<ChunkWriter>,
}

/// A blob that is complete and not visible yet.
#[derive(Debug)]
pub(super) struct StagedChunks {
    /// The digest of its bytes.
    pub(super) digest: Digest,
    /// Bytes.
    pub(super) size: u64,
    pieces: Pieces,
}

impl<'a> BlobChunks<'a> {
    pub(super) fn new(
        layout: &'a Layout,
        workspace: &'a Workspace,
        known: &'a Arc<KnownChunks>,
        cut: Cut,
    ) -> Self {
        Self { layout, workspace, known, cut, hasher: Hasher::new(), writer: None }
    }

    /// Adds to the current blob.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        // A hasher that keeps no bytes cannot fail.
        let _ = self.hasher.write_all(bytes);
        Ok(self.writer()?.write(bytes)?)
    }

    /// Adds all of `input` to the current blob.
    pub(super) fn write_all_of(&mut self, input: &mut impl Read) -> Result<()> {
        each_block(input, BUFFER, |block| self.write(block))
    }

    /// Bytes of the current blob so far.
    pub(super) fn bytes(&self) -> u64 {
        self.hasher.bytes()
    }

    /// Ends the current blob; the next one may begin.
    pub(super) fn end_blob(&mut self) -> Result<StagedChunks> {
        let pieces = self.writer()?.end_blob()?;
        let (digest, size, _) = mem::take(&mut self.hasher).finish();
        Ok(StagedChunks { digest, size, pieces })
    }

    /// Makes blobs visible: first the pack with their new chunks, then the list of each. A blob that is there already stays as it
    /// is. Chunks of blobs that are not given go with them only if they are in the same pack.
    pub(super) fn publish(mut self, blobs: &[StagedChunks]) -> Result<()> {
        self.workspace.hold(blobs.iter().map(|blob| &blob.digest))?;
        let is_there = |blob: &&StagedChunks| blobs::size(self.layout, &blob.digest) == Some(blob.size);
        let missing: Vec<&StagedChunks> = blobs.iter().filter(|blob| !is_there(blob)).collect();
        let pack = self.writer.take().map(ChunkWriter::finish).transpose()?.flatten();
        let needed = missing.iter().any(|blob| blob.pieces.needs_the_pack());
        if let Some(pack) = pack.as_ref().filter(|_| needed) {
            publish_pack(self.layout, self.workspace, pack.path(), &pack.digest)?;
            self.known.add(pack.digest, &pack.chunks);
        }
        let mut lists = Vec::new();
        for blob in &missing {
            let list = blob.pieces.list(pack.as_ref().map(|pack| &pack.digest));
            lists.push((blob.digest, list.map_err(ArchiveError::Input)?));
        }
        publish_lists(self.layout, self.workspace, &lists)
    }

    fn writer(&mut self) -> Result<&mut ChunkWriter> {
        match &mut self.writer {
            Some(writer) => Ok(writer),
            none => {
                load_known(self.known, self.layout, self.workspace)?;
                let path = self.workspace.new_path()?;
                Ok(none.insert(ChunkWriter::start(path, Written::ToDisk, self.known.clone(), self.cut)?))
            }
        }
    }
}

/// The list of a blob; `None` if it has none.
pub(super) fn list(layout: &Layout, digest: &Digest) -> Result<Option<ChunkList>> {
    ChunkList::read(&layout.chunk_list(digest)).map_err(|error| match error {
        ListError::Fs(error) => error.into(),
        ListError::Damaged(reason) => {
            ArchiveError::Damaged { what: format!("the chunk list of {digest}"), reason }
        }
    })
}

/// Syncs a complete pack and gives it its name.
pub(super) fn publish_pack(layout: &Layout, workspace: &Workspace, temp: &Path, pack: &Digest) -> Result<()> {
    workspace.hold([pack])?;
    File::open(temp).and_then(|file| file.sync_all()).at("write", temp)?;
    let path = layout.blob(pack);
    fs::rename(temp, &path).at("create", &path)?;
    Ok(layout::sync_dir(&layout.blobs())?)
}

/// Makes lists visible, whose packs are.
pub(super) fn publish_lists(
    layout: &Layout,
    workspace: &Workspace,
    lists: &[(Digest, ChunkList)],
) -> Result<()> {
    if lists.is_empty() {
        return Ok(());
    }
    let folder = layout.chunk_lists();
    fs::create_dir_all(&folder).at("create", &folder)?;
    for (blob, list) in lists {
        let temp = workspace.new_path()?;
        // Read-only from the start: what is stored is written once.
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o444).open(&temp).at("create", &temp)?;
        file.write_all(list.to_text().as_bytes()).and_then(|()| file.sync_all()).at("write", &temp)?;
        let path = layout.chunk_list(blob);
        fs::rename(&temp, &path).at("create", &path)?;
    }
    Ok(layout::sync_dir(&folder)?)
}

/// Finds out which chunks the archive has, if that is not known. Their packs stay until the handle is dropped, whoever prunes.
pub(super) fn load_known(known: &KnownChunks, layout: &Layout, workspace: &Workspace) -> Result<()> {
    known.load(|| read_known(layout, workspace))
}

fn read_known(layout: &Layout, workspace: &Workspace) -> Result<KnownMap> {
    let index = index::read(layout)?;
    let mut packs = BTreeSet::new();
    let images = image::manifests(index.manifests()).take(MAX_IMAGES);
    for manifest in images.chain(run::newest(index.manifests(), MAX_RUNS)) {
        // What is damaged or was just pruned is of no use, and no matter here.
        let Ok(manifest) = image::read_manifest(layout, &manifest, "a manifest") else {
            continue;
        };
        for layer in manifest.layers().iter().filter_map(digest_of) {
            if let Ok(Some(list)) = list(layout, &layer) {
                packs.extend(list.packs());
            }
        }
    }
    workspace.hold(&packs)?;
    Ok(chunks_of(&layout.blobs(), &packs))
}
