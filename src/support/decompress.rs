//! Compressed streams of strangers: what they are by their first bytes, and unpacked with bounds.

use std::io::{self, Chain, Cursor, Read};

/// The most that one compressed byte may become: DEFLATE's own limit is 1032. What expands further is no file system but
/// an attempt to fill the disk.
const MAX_EXPANSION: u64 = 1100;

/// The memory that unpacking xz may take, bytes: enough for its strongest preset (xz(1): 65 MiB for -9).
const XZ_MEMORY: u64 = 128 << 20;

/// xz packs zeros to a seven-thousandth; what it unpacks is bounded by what holds it as well.
const MAX_XZ_EXPANSION: u64 = 8000;

/// How the content of a stream is packed, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    None,
    Gzip,
    Zstd,
    Xz,
    /// A compression that is not supported, by its name.
    Other(&'static str),
}

impl Packing {
    /// Tells the packing (RFC 1952, RFC 8878; xz and bzip2 by their file formats).
    pub(crate) fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, 8, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [b'B', b'Z', b'h', ..] => Self::Other("bzip2"),
            _ => Self::None,
        }
    }
}

/// A stream whose beginning was looked at and put back.
pub(crate) type Peeked<R> = Chain<Cursor<Vec<u8>>, R>;

/// Reads up to `wanted` bytes, fewer only at the end, and gives them back in front of the rest.
pub(crate) fn peek<R: Read>(mut input: R, wanted: usize) -> io::Result<(Vec<u8>, Peeked<R>)> {
    let mut start = Vec::with_capacity(wanted);
    (&mut input).take(wanted as u64).read_to_end(&mut start)?;
    Ok((start.clone(), Cursor::new(start).chain(input)))
}

/// The unpacked content of `input`. Memory stays bounded: zstd windows above 128 MiB are refused.
pub(crate) fn unpack<'a>(input: impl Read + 'a, packing: Packing) -> io::Result<Box<dyn Read + 'a>> {
    match packing {
        Packing::None => Ok(Box::new(input)),
        Packing::Gzip => {
            Ok(Box::new(Bounded::new(input, |input| Ok(flate2::read::MultiGzDecoder::new(input)))?))
        }
        Packing::Zstd => Ok(Box::new(Bounded::new(input, zstd::stream::read::Decoder::new)?)),
        Packing::Xz => {
            let mut unpacked = Bounded::new(input, |input| {
                let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, 0)?;
                Ok(liblzma::read::XzDecoder::new_stream(input, stream))
            })?;
            unpacked.limit = MAX_XZ_EXPANSION;
            Ok(Box::new(unpacked))
        }
        Packing::Other(name) => {
            Err(io::Error::new(io::ErrorKind::Unsupported, format!("{name} compression is not supported")))
        }
    }
}

/// A decoder that may not expand its input without end.
struct Bounded<D> {
    decoder: D,
    taken: std::rc::Rc<std::cell::Cell<u64>>,
    given: u64,
    limit: u64,
}

struct Counted<R> {
    inner: R,
    taken: std::rc::Rc<std::cell::Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.taken.set(self.taken.get() + read as u64);
        Ok(read)
    }
}

impl<D: Read> Bounded<D> {
    fn new<R: Read>(inner: R, decoder: impl FnOnce(Counted<R>) -> io::Result<D>) -> io::Result<Self> {
        let taken = std::rc::Rc::new(std::cell::Cell::new(0));
        let decoder = decoder(Counted { inner, taken: taken.clone() })?;
        Ok(Self { decoder, taken, given: 0, limit: MAX_EXPANSION })
    }
}

impl<D: Read> Read for Bounded<D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.decoder.read(buffer)?;
        self.given += read as u64;
        if self.given > self.taken.get().saturating_mul(self.limit) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it expands to far more than its size"));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn gzip_and_zstd_are_unpacked_and_the_rest_is_passed_on() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(b"content").unwrap();
        let zstd = zstd::encode_all(&b"content"[..], 3).unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(b"content").unwrap();
        for packed in [gzip.finish().unwrap(), zstd, xz.finish().unwrap(), b"content".to_vec()] {
            let (start, input) = peek(packed.as_slice(), 6).unwrap();
            let mut content = String::new();
            unpack(input, Packing::of(&start)).unwrap().read_to_string(&mut content).unwrap();
            assert_eq!(content, "content");
        }
        assert!(unpack(&b""[..], Packing::of(b"BZh9")).is_err());
    }

    #[test]
    fn a_stream_that_expands_without_end_is_refused() {
        let bomb = zstd::encode_all(io::repeat(0).take(64 << 20), 3).unwrap();
        assert!(bomb.len() < 32 << 10);
        let error =
            io::copy(&mut unpack(bomb.as_slice(), Packing::Zstd).unwrap(), &mut io::sink()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
