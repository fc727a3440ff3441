use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Take};
use std::path::{Path, PathBuf};

use super::list::{ChunkList, Extent};
use crate::model::Digest;
use crate::support::fs::open_regular;

/// Bytes of frames that are read at a time. A frame that is there as a whole, and whose content fits where it is wanted, is unpacked in one
/// pass.
const BLOCK: usize = 2 << 20;

/// The largest window that a frame may ask for (base-2 logarithm of bytes): what is written here stays far below it.
const MAX_WINDOW: u32 = 27;

/// Puts a blob's bytes together again. They are not checked: whoever reads them checks the blob's digest.
pub(crate) struct ChunkReader {
    packs: PathBuf,
    extents: std::vec::IntoIter<Extent>,
    pack: Option<(Digest, File)>,
    current: Option<Current>,
}

struct Current {
    frames: zstd::Decoder<'static, BufReader<Take<File>>>,
    left: u64,
}

impl ChunkReader {
    /// A reader of packs below `folder`, which are named by the digits of their digests.
    pub(crate) fn new(folder: &Path, list: ChunkList) -> Self {
        Self { packs: folder.to_owned(), extents: list.extents.into_iter(), pack: None, current: None }
    }

    fn open(&mut self, extent: &Extent) -> io::Result<Current> {
        let mut file = match &self.pack {
            Some((pack, file)) if *pack == extent.pack => file.try_clone()?,
            _ => {
                let path = self.packs.join(extent.pack.hex());
                let file = open_regular(&path).map_err(|error| {
                    io::Error::new(error.kind(), format!("its pack {}: {error}", extent.pack))
                })?;
                self.pack = Some((extent.pack, file.try_clone()?));
                file
            }
        };
        file.seek(SeekFrom::Start(extent.offset))?;
        let block = usize::try_from(extent.length).unwrap_or(BLOCK).clamp(1, BLOCK);
        let mut frames =
            zstd::Decoder::with_buffer(BufReader::with_capacity(block, file.take(extent.length)))?;
        frames.window_log_max(MAX_WINDOW)?;
        Ok(Current { frames, left: extent.size })
    }
}

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(current) = &mut self.current {
                let wanted = usize::try_from(current.left).unwrap_or(usize::MAX).min(buffer.len());
                if buffer.is_empty() {
                    return Ok(0);
                }
                let read = if current.left > 0 { current.frames.read(&mut buffer[..wanted])? } else { 0 };
                current.left -= read as u64;
                if read > 0 {
                    return Ok(read);
                }
                if current.left > 0 {
                    let reason = "its pack holds fewer bytes than its list says";
                    return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
                }
                // Nothing may be left over, or the list would say more than it should.
                if current.frames.read(&mut [0])? != 0 || current.frames.get_ref().get_ref().limit() != 0 {
                    let reason = "its pack holds more bytes than its list says";
                    return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
                }
                self.current = None;
            }
            let Some(extent) = self.extents.next() else { return Ok(0) };
            self.current = Some(self.open(&extent)?);
        }
    }
}
