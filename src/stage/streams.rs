use std::fs::File;
use std::io::{self, Read, Write};

use tokio_util::io::SyncIoBridge;

use crate::engine::ByteStream;

/// Bytes in flight between a writer and a reader.
const BUFFER: usize = 1 << 20;

/// Turns a function that writes into a stream that can be read. An error of the function ends the stream with an
/// error, so that a reader never takes half of it for the whole.
pub(super) fn written(write: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static) -> ByteStream {
    let (near, far) = tokio::io::duplex(BUFFER);
    let task = tokio::task::spawn_blocking(move || {
        let mut bridge = SyncIoBridge::new(near);
        let result = write(&mut bridge);
        (result, bridge.into_inner())
    });
    Box::pin(Checked { inner: far, task: Some(task) })
}

/// Reads a stream in a function that reads, on a thread of its own.
pub(super) async fn read<T: Send + 'static>(
    stream: ByteStream,
    read: impl FnOnce(&mut dyn Read) -> T + Send + 'static,
) -> T {
    let mut bridge = SyncIoBridge::new(stream);
    match tokio::task::spawn_blocking(move || read(&mut bridge)).await {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// Runs a function that blocks.
pub(super) async fn blocking<T: Send + 'static>(function: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(function).await {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// The bytes of a pipe, followed by the writer's error if it had one.
struct Checked {
    inner: tokio::io::DuplexStream,
    task: Option<tokio::task::JoinHandle<(io::Result<()>, tokio::io::DuplexStream)>>,
}

impl tokio::io::AsyncRead for Checked {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        use std::task::Poll;
        // The writer's half of the pipe lives in the task: once the task has ended, everything is in the pipe.
        if let Some(task) = &mut self.task
            && let Poll::Ready(joined) = std::pin::Pin::new(task).poll(context)
        {
            self.task = None;
            // Dropping the writer's half ends the pipe; what is in it is still read below.
            let (result, _near) = joined.map_err(io::Error::other)?;
            result?;
        }
        std::pin::Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

/// A tar of a file whose entries get `owner` as owner and group. Only the numbers and the check sum of each header
/// change, so that names of every kind survive.
pub(super) fn owned_by(tar: File, owner: u64) -> ByteStream {
    written(move |out| {
        let mut tar = io::BufReader::with_capacity(BUFFER, tar);
        let mut block = [0; 512];
        loop {
            match tar.read_exact(&mut block) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(error),
            }
            let mut header = tar::Header::from_byte_slice(&block).clone();
            if block.iter().all(|byte| *byte == 0) {
                out.write_all(&block)?;
                continue;
            }
            header.set_uid(owner);
            header.set_gid(owner);
            header.set_cksum();
            out.write_all(header.as_bytes())?;
            let padded = header.entry_size()?.checked_next_multiple_of(512);
            let padded = padded.ok_or(io::ErrorKind::InvalidData)?;
            if io::copy(&mut tar.by_ref().take(padded), out)? != padded {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::io::Seek;

    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn a_failed_writer_is_never_taken_for_an_end() {
        let mut stream = written(|out| {
            out.write_all(b"half")?;
            Err(io::Error::other("no more"))
        });
        let mut bytes = Vec::new();
        let error = stream.read_to_end(&mut bytes).await.unwrap_err();
        assert_eq!(error.to_string(), "no more");
    }

    #[tokio::test]
    async fn everything_that_was_written_is_read() {
        let long = vec![7; 5 * BUFFER + 3];
        let expected = long.clone();
        let mut bytes = Vec::new();
        written(move |out| out.write_all(&long)).read_to_end(&mut bytes).await.unwrap();
        assert_eq!(bytes, expected);
    }

    #[tokio::test]
    async fn a_tar_with_an_entry_of_impossible_size_is_an_error() {
        let mut file = tempfile::tempfile().unwrap();
        let mut header = tar::Header::new_gnu();
        header.set_size(u64::MAX >> 1);
        header.as_old_mut().size = [0xff; 12];
        header.set_cksum();
        file.write_all(header.as_bytes()).unwrap();
        file.rewind().unwrap();
        assert!(owned_by(file, 1).read_to_end(&mut Vec::new()).await.is_err());
    }

    #[tokio::test]
    async fn owners_change_and_nothing_else() {
        let mut file = tempfile::tempfile().unwrap();
        let long_name = "d/".repeat(150) + "file";
        let mut builder = tar::Builder::new(&mut file);
        let mut header = tar::Header::new_gnu();
        header.set_size(3);
        header.set_mode(0o755);
        builder.append_data(&mut header, &long_name, &b"abc"[..]).unwrap();
        builder.finish().unwrap();
        drop(builder);
        file.rewind().unwrap();
        let mut bytes = Vec::new();
        owned_by(file, 10000).read_to_end(&mut bytes).await.unwrap();
        let mut archive = tar::Archive::new(&bytes[..]);
        let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(entry.path().unwrap().to_str().unwrap(), long_name);
        assert_eq!((entry.header().uid().unwrap(), entry.header().mode().unwrap()), (10000, 0o755));
        let mut content = String::new();
        entry.read_to_string(&mut content).unwrap();
        assert_eq!(content, "abc");
    }
}
