use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::mem;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::super::error::{ArchiveError, Result};
use super::super::layout::{self, Layout};
use super::super::workspace::Workspace;
use super::compress::{Compressed, Compressors, Found};
use super::cut::{Cut, Cutter};
use super::known::KnownChunks;
use super::list::{ChunkList, Extent};
use super::pack::{self, PackedChunk};
use crate::model::{Digest, Hasher};
use crate::support::fs::{FsError, PathContext};

/// For layers of images.
pub(in super::super) const LARGE: Cut = Cut { least: 128 << 10, average: 512 << 10, most: 2 << 20 };

/// For documents of runs, most of which the run before said as well; those that are smaller than a block are cut [`FINE`].
pub(in super::super) const SMALL: Cut = Cut { least: 8 << 10, average: 32 << 10, most: 128 << 10 };
const FINE: Cut = Cut { least: 2 << 10, average: 8 << 10, most: 32 << 10 };

/// Bytes that are handed over at a time, and how many such blocks may wait.
const BLOCK: usize = 1 << 20;
const WAITING: usize = 8;

/// Stores blobs in chunks. Chunks that are known are not stored again; all new ones go into one pack. Digests of blobs are
/// computed in the caller's thread, chunks are cut and written in one of the writer's own, and compressed in as many as there are cores.
///
/// Nobody sees anything of it before [`ChunkWriter::publish`]; dropped, it leaves nothing behind.
pub(in super::super) struct ChunkWriter<'a> {
    layout: &'a Layout,
    workspace: &'a Workspace,
    known: &'a Arc<KnownChunks>,
    cut: Cut,
    hasher: Hasher,
    block: Vec<u8>,
    packer: Option<Packer>,
}

/// A blob that is complete and not visible yet.
#[derive(Debug)]
pub(in super::super) struct StagedChunks {
    /// The digest of its bytes.
    pub(in super::super) digest: Digest,
    /// Bytes.
    pub(in super::super) size: u64,
    pieces: Vec<Piece>,
}

/// A chunk that lies in the pack being written, whose digest is not known yet, or elsewhere.
#[derive(Clone, Copy, Debug)]
enum Piece {
    New(PackedChunk),
    Known(Extent),
}

enum Block {
    Bytes(Vec<u8>),
    EndOfBlob,
}

/// The thread that cuts and writes.
struct Packer {
    blocks: SyncSender<Block>,
    blobs: Receiver<Vec<Piece>>,
    thread: JoinHandle<Result<Option<Pack>, FsError>>,
}

/// A pack, complete.
struct Pack {
    temp: TempPack,
    digest: Digest,
    chunks: Vec<PackedChunk>,
}

/// A pack that is being written.
struct PackFile {
    temp: TempPack,
    file: Hasher<BufWriter<File>>,
    early: EarlySync,
}

/// Lets the disk write what a file has so far while more is made: what is left of it is little when all must be on disk.
struct EarlySync {
    wake: SyncSender<()>,
    /// Bytes of the file that it was woken for.
    seen: u64,
}

impl EarlySync {
    /// Bytes after which the disk may begin.
    const STEP: u64 = 16 << 20;

    /// The thread ends with this value, or with the work that it is at then.
    fn of(file: &File) -> io::Result<Self> {
        let (wake, woken) = sync_channel(1);
        let file = file.try_clone()?;
        std::thread::Builder::new().name("sync".to_owned()).spawn(move || {
            // The sync at the end says of errors too.
            woken.iter().for_each(|()| drop(file.sync_data()));
        })?;
        Ok(Self { wake, seen: 0 })
    }

    fn written(&mut self, bytes: u64) {
        if bytes - self.seen >= Self::STEP {
            self.seen = bytes;
            let _ = self.wake.try_send(());
        }
    }
}

struct TempPack(PathBuf);

impl Drop for TempPack {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl<'a> ChunkWriter<'a> {
    pub(in super::super) fn new(
        layout: &'a Layout,
        workspace: &'a Workspace,
        known: &'a Arc<KnownChunks>,
        cut: Cut,
    ) -> Self {
        Self { layout, workspace, known, cut, hasher: Hasher::new(), block: Vec::new(), packer: None }
    }

    /// Adds to the current blob.
    pub(in super::super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        // A hasher that keeps no bytes cannot fail.
        let _ = self.hasher.write_all(bytes);
        self.block.extend_from_slice(bytes);
        if self.block.len() >= BLOCK {
            self.send_block()?;
        }
        Ok(())
    }

    /// Adds all of `input` to the current blob.
    pub(in super::super) fn write_all_of(&mut self, input: &mut impl Read) -> Result<()> {
        let mut buffer = vec![0; BLOCK / 4];
        loop {
            match input.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => self.write(&buffer[..read])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ArchiveError::Input(error)),
            }
        }
    }

    /// Bytes of the current blob so far.
    pub(in super::super) fn bytes(&self) -> u64 {
        self.hasher.bytes()
    }

    /// Ends the current blob; the next one may begin.
    pub(in super::super) fn end_blob(&mut self) -> Result<StagedChunks> {
        self.send_block()?;
        self.send(Block::EndOfBlob)?;
        let (digest, size, _) = mem::take(&mut self.hasher).finish();
        let pieces = match self.packer()?.blobs.recv() {
            Ok(pieces) => pieces,
            Err(_) => return Err(self.failure()),
        };
        Ok(StagedChunks { digest, size, pieces })
    }

    /// Makes blobs visible: first the pack with their new chunks, then the list of each. A blob that is there already stays as it
    /// is. Chunks of blobs that are not given go with them only if they are in the same pack.
    pub(in super::super) fn publish(mut self, blobs: &[StagedChunks]) -> Result<()> {
        self.workspace.hold(blobs.iter().map(|blob| &blob.digest))?;
        let mut missing = Vec::new();
        for blob in blobs {
            if !self.is_there(blob) {
                missing.push(blob);
            }
        }
        let pack = self.packer.take().map(finish).transpose()?.flatten();
        let is_new = |piece: &Piece| matches!(piece, Piece::New(_));
        let needed = missing.iter().any(|blob| blob.pieces.iter().any(is_new));
        if let Some(pack) = pack.as_ref().filter(|_| needed) {
            self.workspace.hold([&pack.digest])?;
            let path = self.layout.blob(&pack.digest);
            fs::rename(&pack.temp.0, &path).at("create", &path)?;
            layout::sync_dir(&self.layout.blobs())?;
            self.known.add(pack.digest, &pack.chunks);
        }
        for blob in &missing {
            self.write_list(blob, pack.as_ref().map(|pack| pack.digest))?;
        }
        if !missing.is_empty() {
            layout::sync_dir(&self.layout.chunk_lists())?;
        }
        Ok(())
    }

    fn is_there(&self, blob: &StagedChunks) -> bool {
        super::super::blobs::size(self.layout, &blob.digest) == Some(blob.size)
    }

    fn write_list(&self, blob: &StagedChunks, pack: Option<Digest>) -> Result<()> {
        let mut list = ChunkList::default();
        for piece in &blob.pieces {
            list.push(match (*piece, pack) {
                (Piece::Known(extent), _) => extent,
                (Piece::New(PackedChunk { offset, length, size, .. }), Some(pack)) => {
                    Extent { pack, offset, length: length.into(), size: size.into() }
                }
                (Piece::New(_), None) => return Err(ArchiveError::Input(io::ErrorKind::BrokenPipe.into())),
            });
        }
        let temp = self.workspace.new_path()?;
        let folder = self.layout.chunk_lists();
        fs::create_dir_all(&folder).at("create", &folder)?;
        let mut file = new_file(&temp).at("create", &temp)?;
        file.write_all(list.to_text().as_bytes()).and_then(|()| file.sync_all()).at("write", &temp)?;
        let path = self.layout.chunk_list(&blob.digest);
        Ok(fs::rename(&temp, &path).at("create", &path)?)
    }

    fn send_block(&mut self) -> Result<()> {
        let block = mem::take(&mut self.block);
        match block.is_empty() {
            true => Ok(()),
            false => self.send(Block::Bytes(block)),
        }
    }

    fn send(&mut self, block: Block) -> Result<()> {
        match self.packer()?.blocks.send(block) {
            Ok(()) => Ok(()),
            Err(_) => Err(self.failure()),
        }
    }

    fn packer(&mut self) -> Result<&Packer> {
        if self.packer.is_none() {
            self.known.load(self.layout, self.workspace)?;
            self.packer = Some(Packer::start(self.workspace.new_path()?, self.known.clone(), self.cut)?);
        }
        self.packer.as_ref().ok_or_else(|| ArchiveError::Input(io::ErrorKind::BrokenPipe.into()))
    }

    /// Why the thread ended.
    fn failure(&mut self) -> ArchiveError {
        let ended = self.packer.take().map(finish);
        match ended {
            Some(Err(error)) => error.into(),
            _ => ArchiveError::Input(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

impl Drop for ChunkWriter<'_> {
    fn drop(&mut self) {
        // Waits, so that the thread writes nothing after its workspace is gone.
        if let Some(packer) = self.packer.take() {
            let _ = finish(packer);
        }
    }
}

fn finish(packer: Packer) -> Result<Option<Pack>, FsError> {
    let Packer { blocks, blobs, thread } = packer;
    drop((blocks, blobs));
    match thread.join() {
        Ok(pack) => pack,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Read-only from the start: what is stored is written once.
fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o444).open(path)
}

impl PackFile {
    fn create(path: PathBuf) -> io::Result<Self> {
        let file = new_file(&path)?;
        let early = EarlySync::of(&file)?;
        Ok(Self { temp: TempPack(path), file: Hasher::around(BufWriter::with_capacity(BLOCK, file)), early })
    }
}

impl Packer {
    fn start(path: PathBuf, known: Arc<KnownChunks>, cut: Cut) -> Result<Self, FsError> {
        let (blocks, incoming) = sync_channel(WAITING);
        let (outgoing, blobs) = sync_channel(1);
        let work = PackerThread { path, pack: None, chunks: Vec::new(), own: HashMap::new(), known, cut };
        let thread = std::thread::Builder::new()
            .name("chunks".to_owned())
            .spawn(move || work.run(incoming, &outgoing))
            .at("start a thread for", "chunks")?;
        Ok(Self { blocks, blobs, thread })
    }
}

struct PackerThread {
    path: PathBuf,
    /// Made when the first new chunk comes.
    pack: Option<PackFile>,
    chunks: Vec<PackedChunk>,
    own: HashMap<Digest, PackedChunk>,
    known: Arc<KnownChunks>,
    cut: Cut,
}

impl PackerThread {
    fn run(
        mut self,
        incoming: Receiver<Block>,
        outgoing: &SyncSender<Vec<Piece>>,
    ) -> Result<Option<Pack>, FsError> {
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
        let Some(PackFile { temp, mut file, early: _ }) = self.pack else { return Ok(None) };
        let table = pack::table(&self.chunks).and_then(|table| file.write_all(&table));
        table.at("write", &temp.0)?;
        let (digest, _, file) = file.finish();
        let file = file.into_inner().map_err(io::IntoInnerError::into_error).at("write", &temp.0)?;
        file.sync_all().at("write", &temp.0)?;
        Ok(Some(Pack { temp, digest, chunks: self.chunks }))
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
                pieces.push(self.piece(done).at("write", &self.path)?);
            }
            compressors.give(chunk).at("compress for", &self.path)?;
        }
        while let Some(done) = compressors.take().at("compress for", &self.path)? {
            pieces.push(self.piece(done).at("write", &self.path)?);
        }
        Ok(pieces)
    }

    fn piece(&mut self, done: Compressed) -> io::Result<Piece> {
        let Compressed { digest, size, found } = done;
        let frame = match found {
            Found::Known(extent) => return Ok(Piece::Known(extent)),
            Found::New(frame) => frame,
        };
        if let Some(chunk) = self.own.get(&digest) {
            return Ok(Piece::New(*chunk));
        }
        let too_large = |_| io::Error::other("a chunk is too large");
        let pack = match &mut self.pack {
            Some(pack) => pack,
            none => none.insert(PackFile::create(self.path.clone())?),
        };
        let chunk = PackedChunk {
            digest,
            offset: pack.file.bytes(),
            length: u32::try_from(frame.len()).map_err(too_large)?,
            size: u32::try_from(size).map_err(too_large)?,
        };
        pack.file.write_all(&frame)?;
        pack.early.written(pack.file.bytes());
        self.chunks.push(chunk);
        self.own.insert(digest, chunk);
        Ok(Piece::New(chunk))
    }
}

/// The current blob as the thread gets it.
struct Incoming {
    blocks: Receiver<Block>,
    /// The blob's first block, until it is taken.
    block: Option<Vec<u8>>,
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

    fn receive(&mut self) -> Option<Vec<u8>> {
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
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        self.block.take().or_else(|| self.receive())
    }
}
