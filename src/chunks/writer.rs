use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use bytes::{Bytes, BytesMut};

use super::compress::{Compressed, Compressors, Found};
use super::cut::{Cut, Cutter};
use super::known::KnownChunks;
use super::list::{ChunkList, Extent};
use super::pack::PackedChunk;
use super::pack_writer::{NewPack, PackWriter, Written};
use crate::model::Digest;
use crate::support::fs::{FsError, PathContext};

/// For layers of images.
pub(crate) const LARGE: Cut = Cut { least: 128 << 10, average: 512 << 10, most: 2 << 20 };

/// For documents of runs, most of which the run before said as well; those that are smaller than a block are cut [`FINE`].
pub(crate) const SMALL: Cut = Cut { least: 8 << 10, average: 32 << 10, most: 128 << 10 };
const FINE: Cut = Cut { least: 2 << 10, average: 8 << 10, most: 32 << 10 };

/// Bytes that are handed over at a time, and how many such blocks may wait.
const BLOCK: usize = 1 << 20;
const WAITING: usize = 8;

/// Writes blobs in chunks, into one pack. Chunks that are known are not written again. They are cut and written in a
/// thread of the writer's own, and compressed in as many as there are cores.
///
/// Who has it digests the blobs, and gives pack and lists their places; dropped, it leaves nothing behind.
pub(crate) struct ChunkWriter {
    block: BytesMut,
    packer: Option<Packer>,
}

/// The chunks of a blob that is complete.
#[derive(Debug)]
pub(crate) struct Pieces(Vec<Piece>);

/// A chunk that lies in the pack being written, whose digest is not known yet, or elsewhere.
#[derive(Clone, Copy, Debug)]
enum Piece {
    New(PackedChunk),
    Known(Extent),
}

enum Block {
    Bytes(Bytes),
    EndOfBlob,
}

/// The thread that cuts and writes.
struct Packer {
    blocks: SyncSender<Block>,
    blobs: Receiver<Vec<Piece>>,
    thread: JoinHandle<Result<Option<NewPack>, FsError>>,
}

impl ChunkWriter {
    /// Begins; the pack is made at `path`, where nothing is, once there is a chunk that is not known.
    pub(crate) fn start(
        path: PathBuf,
        written: Written,
        known: Arc<KnownChunks>,
        cut: Cut,
    ) -> Result<Self, FsError> {
        Ok(Self { block: BytesMut::new(), packer: Some(Packer::start(path, written, known, cut)?) })
    }

    /// Adds to the current blob.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), FsError> {
        self.block.extend_from_slice(bytes);
        match self.block.len() >= BLOCK {
            true => self.send_block(),
            false => Ok(()),
        }
    }

    /// Adds a block to the current blob, without a copy.
    pub(crate) fn write_block(&mut self, block: Bytes) -> Result<(), FsError> {
        self.send_block()?;
        self.send(Block::Bytes(block))
    }

    /// Ends the current blob; the next one may begin.
    pub(crate) fn end_blob(&mut self) -> Result<Pieces, FsError> {
        self.send_block()?;
        self.send(Block::EndOfBlob)?;
        match self.packer.as_ref().map(|packer| packer.blobs.recv()) {
            Some(Ok(pieces)) => Ok(Pieces(pieces)),
            _ => Err(self.failure()),
        }
    }

    /// Ends the pack; `None` if no chunk was new.
    pub(crate) fn finish(mut self) -> Result<Option<NewPack>, FsError> {
        Ok(self.packer.take().map(finish).transpose()?.flatten())
    }

    fn send_block(&mut self) -> Result<(), FsError> {
        match self.block.is_empty() {
            true => Ok(()),
            false => {
                let block = self.block.split().freeze();
                self.send(Block::Bytes(block))
            }
        }
    }

    fn send(&mut self, block: Block) -> Result<(), FsError> {
        match self.packer.as_ref().map(|packer| packer.blocks.send(block)) {
            Some(Ok(())) => Ok(()),
            _ => Err(self.failure()),
        }
    }

    /// Why the thread ended.
    fn failure(&mut self) -> FsError {
        match self.packer.take().map(finish) {
            Some(Err(error)) => error,
            _ => FsError { action: "write", path: "a pack".into(), source: io::ErrorKind::BrokenPipe.into() },
        }
    }
}

impl Drop for ChunkWriter {
    fn drop(&mut self) {
        // Waits, so that the thread writes nothing after its workspace is gone.
        if let Some(packer) = self.packer.take() {
            let _ = finish(packer);
        }
    }
}

impl Pieces {
    /// Where the blob lies; `pack` is the one that was written with it.
    pub(crate) fn list(&self, pack: Option<&Digest>) -> io::Result<ChunkList> {
        let mut list = ChunkList::default();
        for piece in &self.0 {
            list.push(match (*piece, pack) {
                (Piece::Known(extent), _) => extent,
                (Piece::New(PackedChunk { offset, length, size, .. }), Some(pack)) => {
                    Extent { pack: *pack, offset, length: length.into(), size: size.into() }
                }
                (Piece::New(_), None) => return Err(io::ErrorKind::BrokenPipe.into()),
            });
        }
        Ok(list)
    }

    /// True when some of it lies in the pack that was written with it.
    pub(crate) fn needs_the_pack(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::New(_)))
    }
}

fn finish(packer: Packer) -> Result<Option<NewPack>, FsError> {
    let Packer { blocks, blobs, thread } = packer;
    drop((blocks, blobs));
    match thread.join() {
        Ok(pack) => pack,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

impl Packer {
    fn start(path: PathBuf, written: Written, known: Arc<KnownChunks>, cut: Cut) -> Result<Self, FsError> {
        let (blocks, incoming) = sync_channel(WAITING);
        let (outgoing, blobs) = sync_channel(1);
        let work = PackerThread { path, written, pack: None, own: HashMap::new(), known, cut };
        let thread = std::thread::Builder::new()
            .name("chunks".to_owned())
            .spawn(move || work.run(incoming, &outgoing))
            .at("start a thread for", "chunks")?;
        Ok(Self { blocks, blobs, thread })
    }
}

struct PackerThread {
    path: PathBuf,
    written: Written,
    /// Made when the first new chunk comes.
    pack: Option<PackWriter>,
    own: HashMap<Digest, PackedChunk>,
    known: Arc<KnownChunks>,
    cut: Cut,
}

impl PackerThread {
    fn run(
        mut self,
        incoming: Receiver<Block>,
        outgoing: &SyncSender<Vec<Piece>>,
    ) -> Result<Option<NewPack>, FsError> {
        let mut blob = Incoming { blocks: incoming, block: None, state: State::Begun };
        let known = self.known.clone();
        std::thread::scope(|scope| {
            let mut compressors = Compressors::start(scope, &known).at("compress for", &self.path)?;
            while blob.begin() {
                let pieces = self.pieces(&mut blob, &mut compressors)?;
                if blob.state == State::Ended {
                    // A receiver that is gone wants no more.
                    let _ = outgoing.send(pieces);
                }
            }
            Ok::<_, FsError>(())
        })?;
        self.pack.map(PackWriter::finish).transpose()
    }

    /// Cuts a blob and writes what is new in it.
    fn pieces(&mut self, blob: &mut Incoming, compressors: &mut Compressors) -> Result<Vec<Piece>, FsError> {
        let is_fine = self.cut == SMALL && blob.block.as_ref().is_none_or(|block| block.len() < BLOCK);
        let cut = if is_fine { FINE } else { self.cut };
        let mut pieces = Vec::new();
        for chunk in Cutter::new(blob, cut) {
            if compressors.are_full()
                && let Some(done) = compressors.take().at("compress for", &self.path)?
            {
                pieces.push(self.piece(done)?);
            }
            compressors.give(chunk).at("compress for", &self.path)?;
        }
        while let Some(done) = compressors.take().at("compress for", &self.path)? {
            pieces.push(self.piece(done)?);
        }
        Ok(pieces)
    }

    fn piece(&mut self, done: Compressed) -> Result<Piece, FsError> {
        let Compressed { digest, size, found } = done;
        let frame = match found {
            Found::Known(extent) => return Ok(Piece::Known(extent)),
            Found::New(frame) => frame,
        };
        if let Some(chunk) = self.own.get(&digest) {
            return Ok(Piece::New(*chunk));
        }
        let pack = match &mut self.pack {
            Some(pack) => pack,
            none => none.insert(PackWriter::create(&self.path, self.written)?),
        };
        let chunk = pack.push(digest, &frame, size)?;
        self.own.insert(digest, chunk);
        Ok(Piece::New(chunk))
    }
}

/// The current blob as the thread gets it.
struct Incoming {
    blocks: Receiver<Block>,
    /// The blob's first block, until it is taken.
    block: Option<Bytes>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// A blob is being read, or one may begin.
    Begun,
    /// The blob has ended.
    Ended,
    /// Nothing comes any more.
    Closed,
}

impl Incoming {
    /// Waits for the next blob; false if there is none.
    fn begin(&mut self) -> bool {
        if self.state == State::Closed {
            return false;
        }
        self.state = State::Begun;
        self.block = self.receive();
        self.state != State::Closed
    }

    fn receive(&mut self) -> Option<Bytes> {
        if self.state != State::Begun {
            return None;
        }
        match self.blocks.recv() {
            Ok(Block::Bytes(bytes)) => return Some(bytes),
            Ok(Block::EndOfBlob) => self.state = State::Ended,
            Err(_) => self.state = State::Closed,
        }
        None
    }
}

impl Iterator for Incoming {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        self.block.take().or_else(|| self.receive())
    }
}
