use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::list::{ChunkList, Extent};
use super::pack::{self, PackedChunk};
use crate::model::Digest;
use crate::support::fs::open_regular;

/// The most bytes of a chunk, and of its frame, that are taken from others: some times more than any is cut here.
const MOST: u32 = 16 << 20;

/// A pack that somebody else has written. What its table says is believed of a chunk when its bytes have shown it.
pub(crate) struct ForeignPack {
    file: File,
    chunks: Vec<PackedChunk>,
}

/// The packs of a blob that somebody else has, by their digests.
pub(crate) type ForeignPacks = BTreeMap<Digest, ForeignPack>;

impl ForeignPack {
    /// Opens the pack in the folder.
    pub(crate) fn open(folder: &Path, pack: &Digest) -> io::Result<Self> {
        let mut file = open_regular(folder.join(pack.hex()))?;
        let chunks = pack::read_table(&mut file)?.ok_or_else(|| invalid("it has no sound table"))?;
        if chunks.iter().any(|chunk| chunk.size > MOST || chunk.length > MOST) {
            return Err(invalid("a chunk of it is larger than any should be"));
        }
        Ok(Self { file, chunks })
    }

    /// What its table says that it holds.
    pub(crate) fn chunks(&self) -> &[PackedChunk] {
        &self.chunks
    }

    /// The chunks, by their places in the table, that make up an extent.
    fn within(&self, extent: &Extent) -> io::Result<Range<usize>> {
        let at = |offset: u64| self.chunks.partition_point(|chunk| chunk.offset < offset);
        let range = at(extent.offset)..at(extent.offset + extent.length);
        let chunks = &self.chunks[range.clone()];
        let begins = chunks.first().is_some_and(|chunk| chunk.offset == extent.offset);
        let length: u64 = chunks.iter().map(|chunk| u64::from(chunk.length)).sum();
        let size: u64 = chunks.iter().map(|chunk| u64::from(chunk.size)).sum();
        match begins && length == extent.length && size == extent.size {
            true => Ok(range),
            false => Err(invalid("an extent of its list is no row of chunks")),
        }
    }

    /// The frame of the chunk at this place in the table.
    pub(crate) fn frame(&self, place: usize) -> io::Result<Vec<u8>> {
        let chunk = self.chunks[place];
        let mut frame = vec![0; chunk.length as usize];
        self.file.read_exact_at(&mut frame, chunk.offset)?;
        Ok(frame)
    }

    /// The bytes of the chunk at this place, which are what the table says.
    pub(crate) fn proven(&self, place: usize) -> io::Result<Vec<u8>> {
        let row = self.chunks[place];
        let bytes = zstd::bulk::decompress(&self.frame(place)?, row.size as usize)?;
        match bytes.len() == row.size as usize && Digest::of(&bytes) == row.digest {
            true => Ok(bytes),
            false => Err(invalid("a chunk of it is not what its pack says")),
        }
    }
}

/// Reads a blob out of packs that somebody else has. Each of its chunks is proven to be what the table of its pack says; that they
/// are the blob is for the reader to find out by its digest.
pub(crate) struct ForeignReader {
    packs: Arc<ForeignPacks>,
    places: std::vec::IntoIter<(Digest, usize)>,
    chunk: Vec<u8>,
    at: usize,
}

impl ForeignReader {
    /// Reads what the list says.
    pub(crate) fn new(packs: &Arc<ForeignPacks>, list: &ChunkList) -> io::Result<Self> {
        let places = places(packs, list)?.into_iter();
        Ok(Self { packs: packs.clone(), places, chunk: Vec::new(), at: 0 })
    }
}

impl Read for ForeignReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.chunk.len() {
            let Some((pack, place)) = self.places.next() else { return Ok(0) };
            let pack = self.packs.get(&pack).ok_or_else(|| invalid("a pack of it is missing"))?;
            (self.chunk, self.at) = (pack.proven(place)?, 0);
        }
        let read = buffer.len().min(self.chunk.len() - self.at);
        buffer[..read].copy_from_slice(&self.chunk[self.at..self.at + read]);
        self.at += read;
        Ok(read)
    }
}

/// The chunks of which a list is made up: packs, and places in their tables.
pub(crate) fn places(packs: &ForeignPacks, list: &ChunkList) -> io::Result<Vec<(Digest, usize)>> {
    let mut places = Vec::new();
    for extent in &list.extents {
        let pack = packs.get(&extent.pack).ok_or_else(|| invalid("a pack of it is missing"))?;
        places.extend(pack.within(extent)?.map(|place| (extent.pack, place)));
    }
    Ok(places)
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::super::pack_writer::{PackWriter, Written};
    use super::*;

    /// A folder with a pack of two chunks.
    fn pack() -> (tempfile::TempDir, Digest) {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = PackWriter::create(&dir.path().join("new"), Written::ToMemory).unwrap();
        for content in ["first", "second"] {
            let frame = zstd::bulk::compress(content.as_bytes(), 1).unwrap();
            writer.push(Digest::of(content), &frame, content.len()).unwrap();
        }
        let pack = writer.finish().unwrap();
        let digest = pack.digest;
        std::fs::rename(pack.keep(), dir.path().join(digest.hex())).unwrap();
        (dir, digest)
    }

    #[test]
    fn a_blob_is_read_out_of_packs_chunk_by_chunk() {
        let (dir, name) = pack();
        let packs = ForeignPacks::from([(name, ForeignPack::open(dir.path(), &name).unwrap())]);
        let length = packs[&name].chunks().iter().map(|chunk| u64::from(chunk.length)).sum();
        let mut list = ChunkList::default();
        list.push(Extent { pack: name, offset: 0, length, size: 11 });
        let mut bytes = String::new();
        ForeignReader::new(&Arc::new(packs), &list).unwrap().read_to_string(&mut bytes).unwrap();
        assert_eq!(bytes, "firstsecond");
    }

    #[test]
    fn a_chunk_that_is_another_than_its_pack_says_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = PackWriter::create(&dir.path().join("new"), Written::ToMemory).unwrap();
        let frame = zstd::bulk::compress(b"bytes", 1).unwrap();
        writer.push(Digest::of("bytes"), &frame, 5).unwrap();
        writer.push(Digest::of("other"), &frame, 5).unwrap();
        writer.push(Digest::of("bytes"), &frame, 6).unwrap();
        let pack = writer.finish().unwrap();
        let name = pack.digest;
        std::fs::rename(pack.keep(), dir.path().join(name.hex())).unwrap();
        let pack = ForeignPack::open(dir.path(), &name).unwrap();
        assert_eq!(pack.proven(0).unwrap(), b"bytes");
        assert!(pack.proven(1).is_err() && pack.proven(2).is_err());
    }

    #[test]
    fn an_extent_that_is_no_row_of_chunks_is_refused() {
        let (dir, name) = pack();
        let pack = ForeignPack::open(dir.path(), &name).unwrap();
        let chunk = pack.chunks()[1];
        let extent = Extent { pack: name, offset: chunk.offset, length: chunk.length.into(), size: 6 };
        assert_eq!(pack.within(&extent).unwrap(), 1..2);
        for wrong in [
            Extent { offset: extent.offset + 1, ..extent },
            Extent { offset: extent.offset - 1, ..extent },
            Extent { length: extent.length + 1, ..extent },
            Extent { length: extent.length - 1, ..extent },
            Extent { size: 7, ..extent },
            Extent { length: 0, size: 0, ..extent },
            Extent { offset: u64::MAX - extent.length, ..extent },
        ] {
            assert!(pack.within(&wrong).is_err(), "{wrong:?}");
        }
    }
}
