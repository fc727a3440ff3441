//! What the tar of a layer may hold. An engine unpacks it as root; what leaves the root file system, or makes it grow without
//! bytes, is refused when it comes in and when it goes out.

use std::io::{self, Read};

use super::error::{ArchiveError, Result};
use crate::support::layer_rules::{Judge, MOST_ENTRIES};
use crate::support::tar_reader::{TarError, TarReader};

/// Bytes that are read and passed on at a time.
const BLOCK: usize = 256 << 10;

/// Copies a layer to `sink` and looks at its entries on the way: what is passed on has been looked at. When this fails, `sink` has got
/// a part of it.
///
/// That its bytes are the right ones, and all of them, is for the caller to find out by their digest: a tar that ends early is no
/// error here.
pub(super) fn copy(input: impl Read, sink: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut tee = Tee { input, sink, block: vec![0; BLOCK], filled: 0, at: 0, failed: None, is_empty: true };
    let checked = match check(&mut tee) {
        Ok(false) if !tee.is_empty => Err(refused("it is no tar")),
        checked => checked.map(|_| ()),
    };
    let rest = match &checked {
        Ok(()) => tee.rest(),
        Err(_) => Ok(()),
    };
    if let Some(failed) = tee.failed {
        return Err(failed);
    }
    checked?;
    rest.map_err(ArchiveError::Input)
}

/// Passes on what has been read.
struct Tee<R, S> {
    input: R,
    sink: S,
    block: Vec<u8>,
    /// Bytes of the block that came from the input, and those of them that were read.
    filled: usize,
    at: usize,
    failed: Option<ArchiveError>,
    is_empty: bool,
}

impl<R: Read, S: FnMut(&[u8]) -> Result<()>> Tee<R, S> {
    /// Passes on the block, all of which has been read, and gets the next one.
    fn next_block(&mut self) -> io::Result<()> {
        if self.filled > 0
            && let Err(error) = (self.sink)(&self.block[..self.filled])
        {
            self.failed = Some(error);
            return Err(io::Error::other("what is read cannot be passed on"));
        }
        (self.filled, self.at) = (0, 0);
        self.filled = self.input.read(&mut self.block)?;
        self.is_empty &= self.filled == 0;
        Ok(())
    }

    /// Passes on what is left.
    fn rest(&mut self) -> io::Result<()> {
        loop {
            match self.next_block() {
                Ok(()) if self.filled == 0 => return Ok(()),
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
        }
    }
}

impl<R: Read, S: FnMut(&[u8]) -> Result<()>> Read for Tee<R, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.filled {
            self.next_block()?;
        }
        let read = (&self.block[self.at..self.filled]).read(buffer)?;
        self.at += read;
        Ok(read)
    }
}

/// True when there was an entry or an end marker: anything of a tar.
fn check(tar: impl Read) -> Result<bool> {
    let mut reader = TarReader::new(tar);
    let mut judge = Judge::default();
    for entries in 0..MOST_ENTRIES {
        match reader.next_raw() {
            Ok(None) => return Ok(true),
            Err(TarError::Truncated) => return Ok(entries > 0),
            Ok(Some(entry)) => judge.allow(&entry).map(drop).map_err(|reason| refused(&reason))?,
            Err(TarError::Io(error)) => return Err(ArchiveError::Input(error)),
            Err(error) => return Err(refused(&error.to_string())),
        }
    }
    Err(refused(&format!("it has more than {MOST_ENTRIES} entries")))
}

fn refused(reason: &str) -> ArchiveError {
    ArchiveError::BadImage { reason: format!("a layer of it is not accepted: {reason}") }
}

#[cfg(test)]
mod tests {
    use tar::EntryType as T;

    use super::super::testing::{append, end, tar_of};
    use super::*;

    fn copied(tar: &[u8]) -> std::result::Result<Vec<u8>, String> {
        let mut out = Vec::new();
        let sink = |bytes: &[u8]| {
            out.extend_from_slice(bytes);
            Ok(())
        };
        copy(tar, sink).map(|()| out).map_err(|error| error.to_string())
    }

    fn layer(entries: &[(&str, T, &str)]) -> Vec<u8> {
        let mut tar = Vec::new();
        for (name, kind, link) in entries {
            append(&mut tar, name, *kind, link, b"");
        }
        end(tar)
    }

    #[test]
    fn what_leaves_the_root_file_system_is_refused() {
        for (entries, why) in [
            (&[("../etc/passwd", T::Regular, "")][..], "leaves the root"),
            (&[("usr/../../x", T::Regular, "")], "leaves the root"),
            (&[("/etc/passwd", T::Regular, "")], "leaves the root"),
            (&[("x", T::Link, "../../etc/shadow")], "leads out"),
            (&[("x", T::Symlink, "/etc"), ("x/passwd", T::Regular, "")], "goes through a symbolic link"),
            (&[("a/x", T::Symlink, "/"), ("./a/x/b/c", T::Directory, "")], "goes through a symbolic link"),
            (&[("x", T::Symlink, "/"), ("y", T::Link, "x/etc/shadow")], "leads out"),
            (&[("x", T::Symlink, "/etc"), ("y", T::Link, "x"), ("y/z", T::Regular, "")], "goes through"),
            (&[("x", T::Block, "")], "block device"),
            (&[("dev/sda", T::Block, "")], "block device"),
            (&[("home/null", T::Char, "")], "outside of /dev"),
            (&[("x", T::GNUSparse, "")], "sparse"),
        ] {
            let refused = copied(&layer(entries)).unwrap_err();
            assert!(refused.contains(why), "{entries:?}: {refused}");
        }
    }

    #[test]
    fn what_real_layers_hold_is_passed_on_byte_for_byte() {
        let tar = layer(&[
            ("./", T::Directory, ""),
            ("bin", T::Symlink, "usr/bin"),
            ("etc/mtab", T::Symlink, "../proc/self/mounts"),
            ("usr/bin/a", T::Regular, ""),
            ("usr/bin/b", T::Link, "usr/bin/a"),
            ("usr/bin/c", T::Link, "/usr/bin/a"),
            ("dev/null", T::Char, ""),
            ("run/pipe", T::Fifo, ""),
            ("var/.wh.gone", T::Regular, ""),
            ("x", T::Symlink, "elsewhere"),
            ("x", T::Directory, ""),
            ("x/y", T::Regular, ""),
        ]);
        let with_more = [tar.as_slice(), &[7; 700]].concat();
        for tar in [tar.clone(), with_more, end(Vec::new()), tar[..tar.len() - 1024].to_vec(), tar_of(&[])] {
            assert!(copied(&tar).unwrap() == tar);
        }
    }

    #[test]
    fn what_is_no_tar_is_refused_whatever_its_length() {
        for bytes in [&[0x1f, 0x8b, 8][..], &[7; 511], &[7; 513]] {
            assert!(copied(bytes).is_err(), "{} bytes", bytes.len());
        }
        assert!(copied(b"").is_ok());
    }

    #[test]
    fn a_sink_that_fails_tells_why() {
        let error = copy(tar_of(&[("a", b"b")]).as_slice(), |_| {
            Err(ArchiveError::BadImage { reason: "full".into() })
        });
        assert!(error.unwrap_err().to_string().contains("full"));
    }
}
