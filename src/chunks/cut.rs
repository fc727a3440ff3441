use bytes::{Bytes, BytesMut};
use fastcdc::v2020::FastCDC;

/// Bytes of a chunk: at least, on average, at most. Smaller ones are found again more often and compress worse.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(super) least: usize,
    pub(super) average: usize,
    pub(super) most: usize,
}

/// How many of the largest chunks are looked at together: what is left of them when they are cut is moved once.
const LOOKED_AT: usize = 2;

/// Cuts what comes in blocks into chunks, as FastCDC does in its form of 2020 (normalised to level 1). Chunks are parts of one buffer.
pub(super) struct Cutter<I> {
    blocks: I,
    cut: Cut,
    buffer: BytesMut,
    ended: bool,
}

impl<I: Iterator<Item: AsRef<[u8]>>> Cutter<I> {
    pub(super) fn new(blocks: I, cut: Cut) -> Self {
        Self { blocks, cut, buffer: BytesMut::new(), ended: false }
    }

    /// Takes blocks until there are enough, or no more come.
    fn fill(&mut self) {
        let enough = LOOKED_AT * self.cut.most;
        while self.buffer.len() < enough && !self.ended {
            match self.blocks.next() {
                Some(block) => {
                    let block = block.as_ref();
                    if self.buffer.capacity() < self.buffer.len() + block.len() {
                        // The last block may go beyond what is enough.
                        self.buffer.reserve(enough + block.len() - self.buffer.len());
                    }
                    self.buffer.extend_from_slice(block);
                }
                None => self.ended = true,
            }
        }
    }
}

impl<I: Iterator<Item: AsRef<[u8]>>> Iterator for Cutter<I> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let Cut { least, average, most } = self.cut;
        if self.buffer.len() < most {
            self.fill();
        }
        let (_, end) = FastCDC::new(&self.buffer, least, average, most).cut(0, self.buffer.len());
        (end > 0).then(|| self.buffer.split_to(end).freeze())
    }
}

#[cfg(test)]
mod tests {
    use fastcdc::v2020::StreamCDC;

    use super::*;

    const CUT: Cut = Cut { least: 2 << 10, average: 8 << 10, most: 32 << 10 };

    fn noise(bytes: usize) -> Vec<u8> {
        let mut state = 88_172_645_463_325_252_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        };
        (0..bytes).map(|_| next()).collect()
    }

    #[test]
    fn chunks_are_those_of_fastcdc_however_the_bytes_come() {
        for bytes in [0, 1, 2 << 10, 32 << 10, (128 << 10) + 1, 1 << 20] {
            for content in [noise(bytes), vec![0; bytes]] {
                let theirs: Vec<Vec<u8>> = StreamCDC::new(&content[..], CUT.least, CUT.average, CUT.most)
                    .map(|chunk| chunk.unwrap().data)
                    .collect();
                for block in [4099, 50_000, 300_000] {
                    let blocks = content.chunks(block).map(<[u8]>::to_vec);
                    let ours: Vec<Bytes> = Cutter::new(blocks, CUT).collect();
                    assert!(ours == theirs, "{bytes} bytes in blocks of {block}");
                }
            }
        }
    }
}
