//! The recipe of a layer: all bytes of its tar that are not content of files in its tree, and which file comes where. With
//! both, the tar is made again byte for byte without having been kept.
//!
//! A recipe is a zstd stream of `packhold recipe 1\n` and records: `I`, a length (u32, big endian) and as many bytes of the tar;
//! `F`, the size of a file (u64), the length of its name (u16) and its name below the tree.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};

const MAGIC: &[u8] = b"packhold recipe 1\n";

/// Bytes that are gathered into one record.
const PIECE: usize = 64 << 10;

/// The most that a recipe may hold: of the largest images some hundred megabytes.
const MOST: u64 = 4 << 30;

/// Writes a recipe.
pub(super) struct RecipeWriter {
    out: zstd::Encoder<'static, BufWriter<File>>,
    piece: Vec<u8>,
    bytes: u64,
}

impl RecipeWriter {
    pub(super) fn new(file: File) -> io::Result<Self> {
        let mut out = zstd::Encoder::new(BufWriter::new(file), 3)?;
        out.write_all(MAGIC)?;
        Ok(Self { out, piece: Vec::with_capacity(PIECE), bytes: 0 })
    }

    /// Bytes of the tar.
    pub(super) fn bytes(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        if self.bytes > MOST {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a layer has more than {MOST} bytes besides its files"),
            ));
        }
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(PIECE - self.piece.len()));
            self.piece.extend_from_slice(now);
            if self.piece.len() == PIECE {
                self.flush_piece()?;
            }
            bytes = later;
        }
        Ok(())
    }

    /// The content of a file in the tree.
    pub(super) fn file(&mut self, name: &[u8], size: u64) -> io::Result<()> {
        self.flush_piece()?;
        let length = u16::try_from(name.len()).map_err(io::Error::other)?;
        self.out.write_all(b"F")?;
        self.out.write_all(&size.to_be_bytes())?;
        self.out.write_all(&length.to_be_bytes())?;
        self.out.write_all(name)
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.flush_piece()?;
        self.out.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(())
    }

    fn flush_piece(&mut self) -> io::Result<()> {
        if !self.piece.is_empty() {
            self.out.write_all(b"I")?;
            self.out.write_all(&(self.piece.len() as u32).to_be_bytes())?;
            self.out.write_all(&self.piece)?;
            self.piece.clear();
        }
        Ok(())
    }
}

/// What comes next in the tar.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The content of this file, `size` bytes.
    File {
        /// Its name below the tree.
        name: Vec<u8>,
        /// Bytes.
        size: u64,
    },
}

/// Reads a recipe.
pub(super) struct RecipeReader {
    input: zstd::Decoder<'static, BufReader<File>>,
}

impl RecipeReader {
    pub(super) fn new(file: File) -> io::Result<Self> {
        let mut input = zstd::Decoder::new(file)?;
        let mut magic = [0; MAGIC.len()];
        input.read_exact(&mut magic)?;
        match magic == MAGIC {
            true => Ok(Self { input }),
            false => Err(io::Error::new(io::ErrorKind::InvalidData, "it is no recipe of this version")),
        }
    }

    pub(super) fn next(&mut self) -> io::Result<Option<Piece>> {
        let mut kind = [0; 1];
        if self.input.read(&mut kind)? == 0 {
            return Ok(None);
        }
        match &kind {
            b"I" => {
                let length = u32::from_be_bytes(self.array()?) as usize;
                Ok(Some(Piece::Bytes(self.vec(length.min(PIECE))?)))
            }
            b"F" => {
                let size = u64::from_be_bytes(self.array()?);
                let length = u16::from_be_bytes(self.array()?);
                Ok(Some(Piece::File { name: self.vec(length.into())?, size }))
            }
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "it holds an unknown record")),
        }
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn vec(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.input.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}
