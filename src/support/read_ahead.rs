//! Reading in a thread of its own: what is read is ready when it is wanted.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

/// Bytes that are read at a time, and how many such blocks may wait.
const BLOCK: usize = 2 << 20;
const WAITING: usize = 3;

/// Gives what another reader gives.
pub struct ReadAhead {
    blocks: Receiver<io::Result<Vec<u8>>>,
    block: Vec<u8>,
    at: usize,
}

impl ReadAhead {
    /// Begins to read. The thread ends with `inner`, or soon after this value.
    pub fn new(mut inner: impl Read + Send + 'static) -> io::Result<Self> {
        let (outgoing, blocks) = sync_channel(WAITING);
        let work = move || {
            loop {
                let mut block = vec![0; BLOCK];
                let (read, error) = fill(&mut inner, &mut block);
                block.truncate(read);
                let ended = read < BLOCK;
                // What was read before an error comes before it.
                if !block.is_empty() && outgoing.send(Ok(block)).is_err() {
                    return;
                }
                if let Some(error) = error {
                    let _ = outgoing.send(Err(error));
                }
                if ended {
                    return;
                }
            }
        };
        thread::Builder::new().name("read ahead".to_owned()).spawn(work)?;
        Ok(Self { blocks, block: Vec::new(), at: 0 })
    }
}

/// Fills `block` as far as bytes come; how many came, and why no more did. A reader may give much at a time, if it is asked for much.
fn fill(inner: &mut impl Read, block: &mut [u8]) -> (usize, Option<io::Error>) {
    let mut filled = 0;
    while filled < block.len() {
        match inner.read(&mut block[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (filled, Some(error)),
        }
    }
    (filled, None)
}

impl Read for ReadAhead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.block.len() {
            match self.blocks.recv() {
                Ok(block) => (self.block, self.at) = (block?, 0),
                // The thread has ended with its reader; a panic of it would have been told there.
                Err(_) => return Ok(0),
            }
        }
        let read = buffer.len().min(self.block.len() - self.at);
        buffer[..read].copy_from_slice(&self.block[self.at..self.at + read]);
        self.at += read;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_comes_in_order_and_an_error_after_what_was_read_before_it() {
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("broken"))
            }
        }
        let content: Vec<u8> = (0..5 * BLOCK / 2).map(|n| (n % 251) as u8).collect();
        let mut whole = Vec::new();
        ReadAhead::new(io::Cursor::new(content.clone())).unwrap().read_to_end(&mut whole).unwrap();
        assert!(whole == content);
        let mut before = Vec::new();
        let mut failing = ReadAhead::new(io::Cursor::new(content.clone()).chain(Failing)).unwrap();
        assert_eq!(failing.read_to_end(&mut before).unwrap_err().to_string(), "broken");
        assert!(before == content);
    }
}
