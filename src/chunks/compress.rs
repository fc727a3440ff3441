use std::collections::VecDeque;
use std::io;
use std::num::NonZero;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, Scope, available_parallelism};

use bytes::Bytes;

use super::known::KnownChunks;
use super::list::Extent;
use crate::model::Digest;

/// Of Zstandard. Its own default, 3, saves some 4 % of the bytes for half as much time again; what makes an archive small are the
/// chunks that it has already.
const LEVEL: i32 = 2;

/// The most threads, and the most chunks that one of them may have at a time: both bound the memory.
const MOST_THREADS: usize = 8;
const WAITING: usize = 3;

/// A chunk that was looked up and, if it is new, compressed.
pub(super) struct Compressed {
    /// The digest of its bytes.
    pub(super) digest: Digest,
    /// Bytes of the chunk.
    pub(super) size: usize,
    pub(super) found: Found,
}

pub(super) enum Found {
    /// It is in the archive already.
    Known(Extent),
    /// Its frame.
    New(Vec<u8>),
}

/// Digests and compresses chunks on all cores. They come back in the order in which they were given.
pub(super) struct Compressors {
    workers: Vec<Worker>,
    /// Who has the chunks that have not come back, the oldest first.
    busy: VecDeque<usize>,
    next: usize,
}

struct Worker {
    chunks: SyncSender<Bytes>,
    done: Receiver<io::Result<Compressed>>,
}

impl Compressors {
    /// The threads end with this value, at the latest with `scope`.
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        known: &'scope KnownChunks,
    ) -> io::Result<Self> {
        let threads = available_parallelism().map_or(1, NonZero::get).min(MOST_THREADS);
        let workers = (0..threads).map(|_| {
            let (chunks, incoming) = sync_channel::<Bytes>(WAITING);
            let (outgoing, done) = sync_channel(WAITING);
            let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
            let work = move || {
                for chunk in incoming {
                    if outgoing.send(compress(&chunk, known, &mut compressor)).is_err() {
                        break;
                    }
                }
            };
            Builder::new().name("compress".to_owned()).spawn_scoped(scope, work)?;
            Ok(Worker { chunks, done })
        });
        Ok(Self { workers: workers.collect::<io::Result<_>>()?, busy: VecDeque::new(), next: 0 })
    }

    /// True when one must be taken before another can be given.
    pub(super) fn are_full(&self) -> bool {
        self.busy.len() >= self.workers.len() * WAITING
    }

    /// Takes a chunk. Those who are full would wait.
    pub(super) fn give(&mut self, chunk: Bytes) -> io::Result<()> {
        self.workers[self.next].chunks.send(chunk).map_err(|_| gone())?;
        self.busy.push_back(self.next);
        self.next = (self.next + 1) % self.workers.len();
        Ok(())
    }

    /// Waits for the oldest chunk; `None` if all have come back.
    pub(super) fn take(&mut self) -> io::Result<Option<Compressed>> {
        let Some(worker) = self.busy.pop_front() else { return Ok(None) };
        self.workers[worker].done.recv().map_err(|_| gone())?.map(Some)
    }
}

/// A thread ends early only by a panic, which its scope passes on.
fn gone() -> io::Error {
    io::Error::from(io::ErrorKind::BrokenPipe)
}

fn compress(
    chunk: &[u8],
    known: &KnownChunks,
    compressor: &mut zstd::bulk::Compressor<'_>,
) -> io::Result<Compressed> {
    let digest = Digest::of(chunk);
    let found = match known.get(&digest) {
        Some(extent) => Found::Known(extent),
        None => Found::New(compressor.compress(chunk)?),
    };
    Ok(Compressed { digest, size: chunk.len(), found })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_come_back_in_the_order_in_which_they_were_given() {
        let known = KnownChunks::none();
        // Large ones take longer than the small ones behind them.
        let chunk = |n: usize| vec![n as u8; if n.is_multiple_of(3) { 1 << 20 } else { n }];
        std::thread::scope(|scope| {
            let mut compressors = Compressors::start(scope, &known).unwrap();
            let (mut given, mut taken) = (0, 0);
            while taken < 200 {
                while given < 200 && !compressors.are_full() {
                    compressors.give(chunk(given).into()).unwrap();
                    given += 1;
                }
                let done = compressors.take().unwrap().unwrap();
                let Found::New(frame) = done.found else { panic!("nothing is known") };
                assert_eq!(done.digest, Digest::of(chunk(taken)));
                assert_eq!(zstd::bulk::decompress(&frame, done.size).unwrap(), chunk(taken));
                taken += 1;
            }
            assert!(compressors.take().unwrap().is_none());
        });
    }
}
