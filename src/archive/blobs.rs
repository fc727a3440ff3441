use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::chunked;
use super::error::{ArchiveError, Result};
use super::layout::{self, Layout};
use super::workspace::Workspace;
use crate::chunks::ChunkReader;
use crate::model::{Digest, Hasher};
use crate::support::fs::{FsError, PathContext, open_regular};

/// Bytes that are copied at a time.
const CHUNK: usize = 128 * 1024;

/// The most that a JSON document of the archive may hold.
pub(super) const MAX_DOCUMENT: u64 = 64 << 20;

/// Hands over all of `input` in blocks of at most so many bytes.
pub(super) fn each_block(
    input: &mut impl Read,
    size: usize,
    mut take: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut buffer = vec![0; size];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => take(&buffer[..read])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(ArchiveError::Input(error)),
        }
    }
}

/// A stream on its way into the archive. Nobody sees it before [`StagedBlob::publish`].
///
/// Where a blob is likely to be known already (a layer of the same size), the stream is compared with it, byte by
/// byte, instead of being written: a known blob costs reading and no writing. At the first difference the common part
/// is copied and writing begins.
pub(super) struct BlobWriter<'a> {
    layout: &'a Layout,
    workspace: &'a Workspace,
    hasher: Hasher,
    sink: Sink,
    differs_from: Option<PathBuf>,
}

enum Sink {
    Same { known: File, path: PathBuf },
    Temp { file: File, temp: TempFile },
}

/// A complete blob that is not visible yet; dropped, it leaves nothing behind.
pub(super) struct StagedBlob<'a> {
    layout: &'a Layout,
    workspace: &'a Workspace,
    pub(super) digest: Digest,
    pub(super) size: u64,
    temp: Option<TempFile>,
    replace: bool,
}

/// A file that goes with this value, if it has not got another name.
pub(super) struct TempFile(pub(super) PathBuf);

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl<'a> BlobWriter<'a> {
    /// A writer; `likely` is a blob that may turn out to hold the same bytes.
    pub(super) fn new(
        layout: &'a Layout,
        workspace: &'a Workspace,
        likely: Option<PathBuf>,
    ) -> Result<Self, FsError> {
        // What is compared with must not be pruned before something refers to it.
        let name = |path: &PathBuf| Digest::from_hex(path.file_name()?.to_str()?).ok();
        workspace.hold(&likely.as_ref().filter(|path| path.exists()).and_then(name))?;
        let known = likely.and_then(|path| Some(Sink::Same { known: File::open(&path).ok()?, path }));
        let sink = match known {
            Some(same) => same,
            None => new_temp(workspace)?,
        };
        Ok(Self { layout, workspace, hasher: Hasher::new(), sink, differs_from: None })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), FsError> {
        if let Sink::Same { known, .. } = &mut self.sink {
            let mut expected = vec![0; bytes.len()];
            if known.read_exact(&mut expected).is_err() || expected != bytes {
                self.divert()?;
            }
        }
        if let Sink::Temp { file, temp } = &mut self.sink {
            file.write_all(bytes).at("write", &temp.0)?;
        }
        // A hasher that keeps no bytes cannot fail.
        let _ = self.hasher.write_all(bytes);
        Ok(())
    }

    /// Copies all of `input`.
    pub(super) fn write_all_of(&mut self, input: &mut impl Read) -> Result<()> {
        each_block(input, CHUNK, |block| Ok(self.write(block)?))
    }

    /// The complete blob, durable and not yet visible.
    pub(super) fn finish(mut self) -> Result<StagedBlob<'a>, FsError> {
        let hasher = std::mem::take(&mut self.hasher);
        let size = hasher.bytes();
        let digest = hasher.finish().0;
        if let Sink::Same { known, path } = &mut self.sink {
            let whole = known.read(&mut [0]).is_ok_and(|more| more == 0);
            if whole && *path == self.layout.blob(&digest) {
                return Ok(StagedBlob {
                    layout: self.layout,
                    workspace: self.workspace,
                    digest,
                    size,
                    temp: None,
                    replace: false,
                });
            }
            self.divert_at(size)?;
        }
        let Sink::Temp { file, temp } = self.sink else { unreachable!("diverted above") };
        file.sync_all().at("write", &temp.0)?;
        let replace = self.differs_from.is_some_and(|path| path == self.layout.blob(&digest));
        Ok(StagedBlob {
            layout: self.layout,
            workspace: self.workspace,
            digest,
            size,
            temp: Some(temp),
            replace,
        })
    }

    fn divert(&mut self) -> Result<(), FsError> {
        self.divert_at(self.hasher.bytes())
    }

    /// Turns from comparing to writing, after `common` equal bytes.
    fn divert_at(&mut self, common: u64) -> Result<(), FsError> {
        let temp = new_temp(self.workspace)?;
        if let Sink::Same { mut known, path } = std::mem::replace(&mut self.sink, temp)
            && let Sink::Temp { file, temp } = &mut self.sink
        {
            known.rewind().at("read", &path)?;
            io::copy(&mut known.take(common), file).at("write", &temp.0)?;
            self.differs_from = Some(path);
        }
        Ok(())
    }
}

impl StagedBlob<'_> {
    /// Moves the blob into place. A blob of that name is left as it is, unless its size or a comparison has shown that it
    /// does not hold what its name says: then the sound bytes replace it.
    pub(super) fn publish(self) -> Result<(Digest, u64), FsError> {
        let Some(temp) = &self.temp else { return Ok((self.digest, self.size)) };
        self.workspace.hold([&self.digest])?;
        let path = self.layout.blob(&self.digest);
        let there = fs::metadata(&path).is_ok_and(|m| m.is_file() && m.len() == self.size);
        if !there || self.replace {
            fs::rename(&temp.0, &path).at("create", &path)?;
            layout::sync_dir(&self.layout.blobs())?;
        }
        Ok((self.digest, self.size))
    }
}

fn new_temp(workspace: &Workspace) -> Result<Sink, FsError> {
    let path = workspace.new_path()?;
    // Read-only from the start: a blob is written once.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o444).open(&path).at("create", &path)?;
    Ok(Sink::Temp { file, temp: TempFile(path) })
}

/// The size of a blob, if it is there, as it is or in chunks.
pub(super) fn size(layout: &Layout, digest: &Digest) -> Option<u64> {
    plain_size(layout, digest).or_else(|| {
        let list = chunked::list(layout, digest).ok()??;
        list.packs().iter().all(|pack| plain_size(layout, pack).is_some()).then_some(list.size)
    })
}

/// The size of a blob that is kept as it is, if it is there.
pub(super) fn plain_size(layout: &Layout, digest: &Digest) -> Option<u64> {
    fs::metadata(layout.blob(digest)).ok().filter(fs::Metadata::is_file).map(|m| m.len())
}

/// Reads the bytes of a blob, which are not checked.
pub struct BlobReader(Inner);

enum Inner {
    Plain(File),
    Chunked(Box<ChunkReader>),
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Inner::Plain(file) => file.read(buffer),
            Inner::Chunked(chunks) => chunks.read(buffer),
        }
    }
}

/// Opens a blob; `what` says what it should hold.
pub(super) fn open(layout: &Layout, digest: &Digest, what: &str) -> Result<BlobReader> {
    let path = layout.blob(digest);
    match open_regular(&path) {
        Ok(file) => Ok(BlobReader(Inner::Plain(file))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match chunked::list(layout, digest)? {
            Some(list) => Ok(BlobReader(Inner::Chunked(Box::new(ChunkReader::new(&layout.blobs(), list))))),
            None => Err(ArchiveError::MissingBlob { digest: *digest, what: what.to_owned() }),
        },
        Err(error) => Err(error).at("read", &path)?,
    }
}

/// The bytes of a document, whose digest is checked.
pub(super) fn read_document(layout: &Layout, digest: &Digest, what: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = open(layout, digest, what)?;
    file.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes).at("read", layout.blob(digest))?;
    if bytes.len() as u64 > MAX_DOCUMENT {
        let reason = format!("it is larger than {MAX_DOCUMENT} bytes");
        return Err(ArchiveError::Damaged { what: format!("{what} {digest}"), reason });
    }
    let found = Digest::of(&bytes);
    if found != *digest {
        return Err(ArchiveError::WrongDigest { what: what.to_owned(), expected: *digest, found });
    }
    Ok(bytes)
}

/// A document's bytes as the type that they should be.
pub(super) fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8], digest: &Digest, what: &str) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|e| ArchiveError::Damaged { what: format!("{what} {digest}"), reason: e.to_string() })
}

/// Copies a blob to `out` and checks its digest on the way. `out` has got wrong bytes when this fails: whoever reads it
/// must not take them for complete.
pub(super) fn copy(
    layout: &Layout,
    digest: &Digest,
    what: &str,
    mut out: impl FnMut(&[u8]) -> Result<()>,
) -> Result<u64> {
    let mut file = open(layout, digest, what)?;
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).at("read", layout.blob(digest))?,
        };
        let _ = hasher.write_all(&buffer[..read]);
        out(&buffer[..read])?;
    }
    let (found, size, _) = hasher.finish();
    if found != *digest {
        return Err(ArchiveError::WrongDigest { what: what.to_owned(), expected: *digest, found });
    }
    Ok(size)
}

/// The digest and size of a file outside of the archive.
pub(super) fn digest_file(path: &Path) -> Result<(Digest, u64), FsError> {
    let mut file = File::open(path).at("read", path)?;
    let mut hasher = Hasher::new();
    io::copy(&mut file, &mut hasher).at("read", path)?;
    let (digest, size, _) = hasher.finish();
    Ok((digest, size))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::super::testing::Fixture;
    use super::*;

    fn inode(path: &Path) -> u64 {
        fs::metadata(path).unwrap().ino()
    }

    #[test]
    fn a_blob_is_named_by_its_digest_and_cannot_be_written() {
        let fixture = Fixture::new();
        let (digest, size) = fixture.archive.put_stream(&b"content"[..]).unwrap();
        assert_eq!((digest, size), (Digest::of("content"), 7));
        let path = fixture.blob(&digest);
        assert_eq!(fs::read(&path).unwrap(), b"content");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o222, 0);
        assert!(fixture.archive.has(&digest) && !fixture.archive.has(&Digest::of("other")));
    }

    #[test]
    fn a_known_blob_is_not_written_again() {
        let fixture = Fixture::new();
        let file = fixture.dir.path().join("file");
        fs::write(&file, "content").unwrap();
        let (digest, _) = fixture.archive.put_bytes(b"content").unwrap();
        let first = inode(&fixture.blob(&digest));
        fixture.archive.put_bytes(b"content").unwrap();
        fixture.archive.put_stream(&b"content"[..]).unwrap();
        assert_eq!(fixture.archive.put_file(&file).unwrap(), (digest, 7));
        assert_eq!(inode(&fixture.blob(&digest)), first);
    }

    #[test]
    fn a_stream_that_fails_leaves_nothing() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::ConnectionReset.into())
            }
        }
        let fixture = Fixture::new();
        let error = fixture.archive.put_stream((&b"half"[..]).chain(Broken)).unwrap_err();
        assert!(matches!(error, ArchiveError::Input(_)), "{error}");
        assert!(fixture.blobs().is_empty());
        let workspace = fs::read_dir(fixture.archive.layout().tmp()).unwrap().next().unwrap().unwrap().path();
        assert_eq!(fs::read_dir(workspace).unwrap().count(), 2, "only the owner's lock and what it holds");
    }

    #[test]
    fn a_stream_that_differs_late_from_a_blob_of_its_size_is_stored_whole() {
        let fixture = Fixture::new();
        let old = vec![1; 3 * CHUNK];
        let mut new = old.clone();
        new[2 * CHUNK + 5] = 2;
        let (likely, _) = fixture.archive.put_bytes(&old).unwrap();
        let (layout, workspace) = (fixture.archive.layout(), fixture.archive.workspace());
        for content in [&new[..], &old[..old.len() - 1], &[&old[..], &[1]].concat()] {
            let mut writer = BlobWriter::new(layout, workspace, Some(fixture.blob(&likely))).unwrap();
            writer.write_all_of(&mut &content[..]).unwrap();
            let (digest, _) = writer.finish().unwrap().publish().unwrap();
            assert_eq!(digest, Digest::of(content));
            assert_eq!(fs::read(fixture.blob(&digest)).unwrap(), content);
        }
        assert_eq!(fs::read(fixture.blob(&likely)).unwrap(), old);
    }

    #[test]
    fn storing_sound_bytes_heals_a_damaged_blob() {
        let fixture = Fixture::new();
        let (digest, _) = fixture.archive.put_bytes(b"content").unwrap();
        for damage in [&b"contenX"[..], b"cont", b"", b"content and more"] {
            fs::remove_file(fixture.blob(&digest)).unwrap();
            fs::write(fixture.blob(&digest), damage).unwrap();
            fixture.archive.put_bytes(b"content").unwrap();
            assert_eq!(fs::read(fixture.blob(&digest)).unwrap(), b"content");
        }
    }

    #[test]
    fn a_damaged_blob_is_noticed_while_it_is_copied() {
        let fixture = Fixture::new();
        let (digest, _) = fixture.archive.put_bytes(b"content").unwrap();
        let mut out = Vec::new();
        assert_eq!(fixture.archive.copy_blob(&digest, &mut out).unwrap(), 7);
        fs::remove_file(fixture.blob(&digest)).unwrap();
        fs::write(fixture.blob(&digest), "contenX").unwrap();
        let error = fixture.archive.copy_blob(&digest, &mut Vec::new()).unwrap_err();
        assert!(matches!(error, ArchiveError::WrongDigest { .. }), "{error}");
        fs::remove_file(fixture.blob(&digest)).unwrap();
        let error = fixture.archive.copy_blob(&digest, &mut Vec::new()).unwrap_err();
        assert!(matches!(error, ArchiveError::MissingBlob { .. }), "{error}");
    }
}
