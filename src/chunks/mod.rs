//! Blobs whose bytes lie in pieces: content-defined chunks, each compressed on its own, many of them in one pack. Images that
//! are built again share most of their bytes and few of their layers; what they share is kept once.
//!
//! The archive keeps blobs so, and the embedded engine's store what is to come into the archive. Where packs and lists lie is
//! theirs to say; what is in them is specified in the archive's `FORMAT.md`.

mod compress;
mod cut;
mod early_sync;
mod foreign;
mod image;
mod known;
mod list;
mod pack;
mod pack_writer;
mod reader;
mod writer;

pub(crate) use cut::Cut;
pub(crate) use foreign::{ForeignPack, ForeignPacks, ForeignReader, places};
pub use image::ChunkedImage;
pub(crate) use known::{KnownChunks, KnownMap, chunks_of};
pub(crate) use list::{ChunkList, Extent, ListError};
pub(crate) use pack::PackedChunk;
pub(crate) use pack_writer::{NewPack, PackWriter, Written};
pub(crate) use reader::ChunkReader;
pub(crate) use writer::{ChunkWriter, LARGE, Pieces, SMALL};
