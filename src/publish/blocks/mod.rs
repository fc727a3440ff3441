//! Index files that are compressed block by block, so that adding a record costs what its block does.
//!
//! Records are cut into blocks by what they are and not by how many come before them: a new record changes its own
//! block and no other. A gzip file is its blocks as members (RFC 1952, 2.2), a zstd file its blocks as frames (RFC 8878, 3), an
//! xz file its blocks as those of one stream. How long the blocks are is kept in a table beside; a file without one is taken apart as a whole.

mod records;
mod writer;
mod xz;

use serde::{Deserialize, Serialize};

pub(super) use records::{Files, Record, Records, Split};
use writer::Writer;

/// One record in so many begins a new block.
const RECORDS: u8 = 32;

/// The most bytes of a block that is not a single record.
const MOST: usize = 1 << 20;

/// What a block takes in each form, bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Block {
    /// Bytes of its text.
    plain: u64,
    gz: u64,
    /// With its padding, and without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    xz: Option<(u64, u64)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zst: Option<u64>,
}

/// An index file in all its forms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Packed {
    pub(super) plain: String,
    pub(super) gz: Vec<u8>,
    pub(super) xz: Vec<u8>,
    pub(super) zst: Vec<u8>,
    pub(super) table: Vec<Block>,
}

/// The forms that are made; the others are empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forms {
    /// gzip alone.
    Gzip,
    /// gzip, and the text itself.
    GzipAndText,
    /// The text, gzip, xz and zstd.
    All,
}
