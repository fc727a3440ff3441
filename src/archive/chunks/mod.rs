//! Blobs whose bytes lie in pieces: content-defined chunks, each compressed on its own, many of them in one pack. Images that
//! are built again share most of their bytes and few of their layers; what they share is kept once.

mod compress;
mod cut;
mod known;
mod list;
mod pack;
mod reader;
mod writer;

pub(super) use known::KnownChunks;
pub(super) use list::ChunkList;
pub(super) use reader::ChunkReader;
pub(super) use writer::{ChunkWriter, LARGE, SMALL, StagedChunks};
