//! Blobs whose bytes lie in pieces: content-defined chunks, each compressed on its own, many of them in one pack. Images that
//! are built again share most of their bytes and few of their layers; what they share is kept once.
//!
//! The archive keeps blobs so, and the embedded engine's store what is to come into the archive. Where packs and lists lie is
//! theirs to say; what is in them is specified in the archive's `FORMAT.md`.

mod compress;
mod cut;
mod known;
mod list;
mod pack;
mod reader;
mod writer;

pub(crate) use cut::Cut;
pub(crate) use known::{KnownChunks, KnownMap, chunks_of};
pub(crate) use list::{ChunkList, ListError};
pub(crate) use reader::ChunkReader;
pub(crate) use writer::{ChunkWriter, LARGE, Pieces, SMALL};
