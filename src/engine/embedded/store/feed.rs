use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use bytes::{Buf, Bytes, BytesMut};

use super::error::{Result, StoreError};
use super::layout::{CHUNKS, SIZE};
use super::unpack;
use super::written;
use crate::chunks::{ChunkWriter, NewPack};
use crate::model::{Digest, Hasher};
use crate::support::fs::{FsError, PathContext};

/// Bytes that go over at a time, and how many such blocks may wait.
const BLOCK: usize = 512 << 10;
const WAITING: usize = 8;

/// Takes the bytes of a layer's uncompressed tar, digests them, and has them unpacked in a thread of its own: whoever brings them
/// unpacks nothing, and may go on with the next layer while this one ends. Beside it the bytes are cut and compressed, if the
/// store keeps layers in chunks.
pub(super) struct Feed {
    out: Option<SyncSender<Bytes>>,
    block: BytesMut,
    hasher: Hasher,
    chunks: Option<ChunkWriter>,
    /// Why no more could be kept in chunks.
    failed: Option<FsError>,
    layer: PathBuf,
    thread: Option<JoinHandle<Result<()>>>,
}

/// A layer all of whose bytes have come.
pub(super) struct Fed {
    /// The digest of its tar.
    pub(super) digest: Digest,
    size: u64,
    layer: PathBuf,
    chunks: Option<ChunkWriter>,
    failed: Option<FsError>,
    thread: Option<JoinHandle<Result<()>>>,
}

/// A layer that is unpacked, and not yet in its place.
#[derive(Debug)]
pub(super) struct Staged {
    /// The digest of its tar.
    pub(super) digest: Digest,
    /// Its folder.
    pub(super) dir: PathBuf,
    /// Packs with chunks of it that have no place yet: digest and file.
    pub(super) packs: Vec<(Digest, PathBuf)>,
}

impl Feed {
    /// Begins to unpack into the new folder `dir`, and to give the layer to `chunks`.
    pub(super) fn new(dir: &Path, chunks: Option<ChunkWriter>) -> Result<Self> {
        fs::create_dir(dir).at("create", dir)?;
        let (out, blocks) = sync_channel(WAITING);
        let layer = dir.to_owned();
        let work = move || unpack::unpack(Blocks { blocks, block: Bytes::new() }, &layer, unpack::MOST_BYTES);
        let thread = thread::Builder::new().name("unpack".to_owned()).spawn(work).at("unpack into", dir)?;
        Ok(Self {
            out: Some(out),
            block: BytesMut::with_capacity(BLOCK),
            hasher: Hasher::new(),
            chunks,
            failed: None,
            layer: dir.to_owned(),
            thread: Some(thread),
        })
    }

    /// No more bytes come.
    pub(super) fn end(mut self) -> Fed {
        // Who does not take the last block has failed, which is told by `Fed::wait`.
        let _ = self.send();
        self.out = None;
        let hasher = std::mem::take(&mut self.hasher);
        let (digest, size, _) = hasher.finish();
        let (layer, chunks) = (std::mem::take(&mut self.layer), self.chunks.take());
        Fed { digest, size, layer, chunks, failed: self.failed.take(), thread: self.thread.take() }
    }

    /// Passes on everything that `input` gives.
    pub(super) fn take_all(mut self, mut input: impl Read) -> Result<Fed> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = match input.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read.map_err(StoreError::Input)?,
            };
            if read == 0 {
                return Ok(self.end());
            }
            if self.write_all(&buffer[..read]).is_err() {
                // Unpacking has failed, and says why.
                let mut fed = self.end();
                fed.join()?;
                return Err(StoreError::Refused("a layer was not unpacked".to_owned()));
            }
        }
    }

    fn send(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let block = std::mem::replace(&mut self.block, BytesMut::with_capacity(BLOCK)).freeze();
        if let Some(chunks) = &mut self.chunks
            && let Err(error) = chunks.write_block(block.clone())
        {
            self.failed = Some(error);
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let sent = self.out.as_ref().is_some_and(|out| out.send(block).is_ok());
        if sent { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }
}

impl Write for Feed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&bytes[..taken]);
        self.hasher.write_all(&bytes[..taken])?;
        if self.block.len() == BLOCK {
            self.send()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        // Nobody writes into a folder that is about to be removed.
        self.out = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Fed {
    /// Waits until the layer is unpacked.
    pub(super) fn wait(mut self) -> Result<Staged> {
        self.join()?;
        let path = self.layer.join(SIZE);
        fs::write(&path, self.size.to_string()).at("write", &path)?;
        written::note(&self.layer)?;
        let pack = self.end_chunks()?;
        let packs = pack.map(|pack| (pack.digest, pack.keep())).into_iter().collect();
        Ok(Staged { digest: self.digest, dir: std::mem::take(&mut self.layer), packs })
    }

    /// Puts the list of its chunks beside the tree; tells the pack with those that are new.
    fn end_chunks(&mut self) -> Result<Option<NewPack>> {
        let Some(mut chunks) = self.chunks.take() else { return Ok(None) };
        let pieces = chunks.end_blob()?;
        let pack = chunks.finish()?;
        let path = self.layer.join(CHUNKS);
        let list = pieces.list(pack.as_ref().map(|pack| &pack.digest));
        list.and_then(|list| fs::write(&path, list.to_text())).at("write", &path)?;
        Ok(pack)
    }

    fn join(&mut self) -> Result<()> {
        let panicked = || StoreError::Refused("unpacking a layer has panicked".to_owned());
        let unpacked =
            self.thread.take().map_or(Ok(()), |thread| thread.join().unwrap_or_else(|_| Err(panicked())));
        self.failed.take().map_or(unpacked, |error| Err(error.into()))
    }
}

impl Drop for Fed {
    fn drop(&mut self) {
        let _ = self.join();
    }
}

struct Blocks {
    blocks: Receiver<Bytes>,
    block: Bytes,
}

impl Read for Blocks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.block.is_empty() {
            match self.blocks.recv() {
                Ok(block) => self.block = block,
                Err(_) => return Ok(0),
            }
        }
        let read = buffer.len().min(self.block.len());
        self.block.copy_to_slice(&mut buffer[..read]);
        Ok(read)
    }
}
