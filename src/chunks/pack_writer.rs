use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::early_sync::EarlySync;
use super::pack::{self, PackedChunk};
use crate::model::{Digest, Hasher};
use crate::support::fs::{FsError, PathContext};

/// Bytes that are written at a time.
const BUFFER: usize = 1 << 20;

/// Whether a pack has to be on the disk before it is seen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    /// It is synced then: the disk begins while it is written.
    ToDisk,
    /// Whoever uses it proves it.
    ToMemory,
}

/// A pack that is being written. It goes with this value.
pub(crate) struct PackWriter {
    temp: TempPack,
    file: Hasher<BufWriter<File>>,
    early: Option<EarlySync>,
    chunks: Vec<PackedChunk>,
}

/// A pack that is complete, neither synced nor in its place. It goes with this value.
#[derive(Debug)]
pub(crate) struct NewPack {
    temp: TempPack,
    /// The digest of its bytes.
    pub(crate) digest: Digest,
    /// What it holds.
    pub(crate) chunks: Vec<PackedChunk>,
}

/// A file that goes with this value; none if the path is empty.
#[derive(Debug)]
struct TempPack(PathBuf);

impl Drop for TempPack {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() {
            let _ = fs::remove_file(&self.0);
        }
    }
}

impl PackWriter {
    /// Makes the file, read-only from the start: what is stored is written once.
    pub(crate) fn create(path: &Path, written: Written) -> Result<Self, FsError> {
        let file =
            OpenOptions::new().write(true).create_new(true).mode(0o444).open(path).at("create", path)?;
        let early = (written == Written::ToDisk).then(|| EarlySync::of(&file)).transpose();
        let early = early.at("write", path)?;
        let file = Hasher::around(BufWriter::with_capacity(BUFFER, file));
        Ok(Self { temp: TempPack(path.to_owned()), file, early, chunks: Vec::new() })
    }

    /// Adds the frame of a chunk of `size` bytes.
    pub(crate) fn push(&mut self, digest: Digest, frame: &[u8], size: usize) -> Result<PackedChunk, FsError> {
        let pushed = self.try_push(digest, frame, size);
        pushed.at("write", &self.temp.0)
    }

    fn try_push(&mut self, digest: Digest, frame: &[u8], size: usize) -> io::Result<PackedChunk> {
        let too_large = |_| io::Error::other("a chunk is too large");
        let chunk = PackedChunk {
            digest,
            offset: self.file.bytes(),
            length: u32::try_from(frame.len()).map_err(too_large)?,
            size: u32::try_from(size).map_err(too_large)?,
        };
        self.file.write_all(frame)?;
        if let Some(early) = &mut self.early {
            early.written(self.file.bytes());
        }
        self.chunks.push(chunk);
        Ok(chunk)
    }

    /// Writes the table behind the frames.
    pub(crate) fn finish(self) -> Result<NewPack, FsError> {
        let Self { temp, mut file, chunks, early: _ } = self;
        pack::table(&chunks).and_then(|table| file.write_all(&table)).at("write", &temp.0)?;
        let (digest, _, file) = file.finish();
        file.into_inner().map_err(io::IntoInnerError::into_error).at("write", &temp.0)?;
        Ok(NewPack { temp, digest, chunks })
    }
}

impl NewPack {
    /// Keeps the file, and tells where it is.
    pub(crate) fn keep(mut self) -> PathBuf {
        std::mem::take(&mut self.temp.0)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.temp.0
    }
}
