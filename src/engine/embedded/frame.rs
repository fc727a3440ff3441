//! What a helper that runs a command with an input is told meanwhile.
//!
//! A frame is a byte for its kind, its length as four bytes, the least significant first, and so many bytes.

use std::io;

use crate::engine::WindowSize;

/// The most bytes of input in a frame.
pub(super) const MOST: usize = 32 << 10;

const INPUT: u8 = 0;
const SIZE: u8 = 1;

/// Something that a helper is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// Input for the command.
    Input(Vec<u8>),
    /// Its terminal has this size from now on.
    Size(WindowSize),
}

impl Frame {
    /// The frame as bytes; of input at most [`MOST`].
    pub(super) fn bytes(&self) -> Vec<u8> {
        let (kind, body) = match self {
            Self::Input(bytes) => (INPUT, bytes.clone()),
            Self::Size(size) => (SIZE, [size.rows.to_le_bytes(), size.columns.to_le_bytes()].concat()),
        };
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
        [&[kind][..], &length, &body].concat()
    }
}

/// Bytes from which frames are read as they come.
#[derive(Default)]
pub(super) struct Frames(Vec<u8>);

impl Frames {
    /// More bytes have come.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The next frame, if all of it has come.
    pub(super) fn next(&mut self) -> io::Result<Option<Frame>> {
        let Some((&[kind, a, b, c, d], rest)) = self.0.split_first_chunk() else { return Ok(None) };
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        if length > MOST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let frame = match (kind, body) {
            (INPUT, body) => Frame::Input(body.to_vec()),
            (SIZE, &[a, b, c, d]) => Frame::Size(WindowSize {
                rows: u16::from_le_bytes([a, b]),
                columns: u16::from_le_bytes([c, d]),
            }),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        };
        self.0.drain(..5 + length);
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_as_they_were_written_however_they_come() {
        let size = WindowSize { rows: 24, columns: 300 };
        let sent = [Frame::Input(b"ls\n".to_vec()), Frame::Size(size), Frame::Input(Vec::new())];
        let bytes: Vec<u8> = sent.iter().flat_map(Frame::bytes).collect();
        for piece in [1, 4, bytes.len()] {
            let (mut frames, mut read) = (Frames::default(), Vec::new());
            for bytes in bytes.chunks(piece) {
                frames.take(bytes);
                while let Some(frame) = frames.next().unwrap() {
                    read.push(frame);
                }
            }
            assert_eq!(read, sent, "in pieces of {piece}");
        }
        for wrong in [&[7, 0, 0, 0, 0][..], &[0, 255, 255, 255, 255], &[1, 1, 0, 0, 0, 0]] {
            let mut frames = Frames::default();
            frames.take(wrong);
            assert!(frames.next().is_err(), "{wrong:?}");
        }
    }
}
