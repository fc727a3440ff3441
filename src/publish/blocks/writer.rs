use std::io::{self, Read};

use super::{Block, Forms, Packed, xz};

/// Puts index files together, block by block.
pub(super) struct Writer {
    forms: Forms,
    packed: Packed,
    /// An xz file ends with what is said of each block: bytes without padding, and when unpacked.
    xz: Vec<(u64, u64)>,
}

impl Writer {
    pub(super) fn new(forms: Forms) -> Self {
        let mut packed = Packed::default();
        if forms == Forms::All {
            packed.xz.extend_from_slice(&xz::HEADER);
        }
        Self { forms, packed, xz: Vec::new() }
    }

    /// Adds a block that was there, by its text, which gzip alone does not need, and its parts of the gzip, the xz and the zstd file.
    pub(super) fn keep(&mut self, block: &Block, text: &str, [gz, xz, zst]: [&[u8]; 3]) {
        self.packed.gz.extend_from_slice(gz);
        self.text(text);
        if let (Forms::All, Some((_, unpadded))) = (self.forms, block.xz) {
            self.packed.xz.extend_from_slice(xz);
            self.packed.zst.extend_from_slice(zst);
            self.xz.push((unpadded, block.plain));
        }
        self.packed.table.push(block.clone());
    }

    /// Adds a new block.
    pub(super) fn compress(&mut self, text: &str) -> io::Result<()> {
        let plain = text.len() as u64;
        let gz = self.gzip(text)?;
        let (mut xz_size, mut zst_size) = (None, None);
        if self.forms == Forms::All {
            let block = xz::block(text.as_bytes())?;
            self.packed.xz.extend_from_slice(&block.bytes);
            self.xz.push((block.unpadded, block.plain));
            xz_size = Some((block.bytes.len() as u64, block.unpadded));
            zst_size = Some(self.zstd(text)?);
        }
        self.text(text);
        self.packed.table.push(Block { plain, gz, xz: xz_size, zst: zst_size });
        Ok(())
    }

    fn text(&mut self, text: &str) {
        if self.forms != Forms::Gzip {
            self.packed.plain.push_str(text);
        }
    }

    fn gzip(&mut self, text: &str) -> io::Result<u64> {
        let mut member = flate2::GzBuilder::new().mtime(0).read(text.as_bytes(), flate2::Compression::new(9));
        Ok(member.read_to_end(&mut self.packed.gz)? as u64)
    }

    fn zstd(&mut self, text: &str) -> io::Result<u64> {
        let frame = zstd::bulk::compress(text.as_bytes(), 12)?;
        self.packed.zst.extend_from_slice(&frame);
        Ok(frame.len() as u64)
    }

    pub(super) fn finish(mut self) -> io::Result<Packed> {
        // An empty file in a compressed form is one that holds nothing.
        if self.packed.table.is_empty() {
            self.gzip("")?;
            if self.forms == Forms::All {
                self.zstd("")?;
            }
        }
        if self.forms == Forms::All {
            xz::finish(&mut self.packed.xz, &self.xz);
        }
        Ok(self.packed)
    }
}
