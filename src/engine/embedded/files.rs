use std::io;

use bytes::BytesMut;
use futures_util::stream::poll_fn;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::ChildStdin;
use tokio::sync::mpsc;
use tokio_util::io::StreamReader;

use super::helper::FOUND;
use super::request::{Files, Report, Request};
use super::{Embedded, io_error};
use crate::engine::{ByteStream, ContainerId, EngineError, Result};

/// How many bytes go through at a time, and how many such pieces may wait.
const PIECE: usize = 256 * 1024;
const WAITING: usize = 4;

impl Embedded {
    async fn files(&self, container: &ContainerId, path: &str) -> Result<Files> {
        let (folder, _) = self.existing(container)?;
        let first = folder.first_process();
        let overlay = match first {
            Some(_) => None,
            None => Some(self.overlay_of(&folder).await?),
        };
        Ok(Files { first, overlay, path: path.to_owned() })
    }

    pub(super) async fn upload(&self, container: &ContainerId, path: &str, tar: ByteStream) -> Result<()> {
        let action = format!("put files into {path}");
        let request = Request::Put(self.files(container, path).await?);
        let fail = |error| io_error(action.clone(), error);
        let (_output, input, ended) = self.program.start(&request).await.map_err(fail)?.ended();
        let sent = match input {
            Some(input) => send(tar, input).await,
            None => Ok(()),
        };
        let report = ended.await.map_err(fail)?;
        match (sent, report) {
            (Err(source), _) => Err(EngineError::Stream { action, source }),
            (Ok(()), Report::Done) => Ok(()),
            (Ok(()), report) => Err(report.into_error(action)),
        }
    }

    pub(super) async fn download(&self, container: &ContainerId, path: &str) -> Result<ByteStream> {
        let action = format!("get {path}");
        let request = Request::Get(self.files(container, path).await?);
        let fail = |error| io_error(action.clone(), error);
        let (mut output, _, ended) = self.program.start(&request).await.map_err(fail)?.ended();
        let mut first = [0];
        if output.read(&mut first).await.map_err(fail)? == 0 || first != [FOUND] {
            return Err(ended.await.map_err(fail)?.into_error(action));
        }
        let (pieces, mut received) = mpsc::channel::<io::Result<bytes::Bytes>>(WAITING);
        tokio::spawn(async move {
            loop {
                let mut piece = BytesMut::with_capacity(PIECE);
                let read = output.read_buf(&mut piece).await;
                let end = match read {
                    Ok(0) => break,
                    Ok(_) => pieces.send(Ok(piece.freeze())).await.is_err(),
                    Err(error) => pieces.send(Err(error)).await.is_ok(),
                };
                if end {
                    // Nobody reads any more: the helper's next write fails, and it ends.
                    return;
                }
            }
            let told = match ended.await {
                Ok(Report::Done) => return,
                Ok(report) => io::Error::other(report.into_error(action)),
                Err(error) => error,
            };
            _ = pieces.send(Err(told)).await;
        });
        Ok(Box::pin(StreamReader::new(poll_fn(move |context| received.poll_recv(context)))))
    }
}

/// Sends a tar to a helper. The error is that of the tar: a helper that stops reading tells why itself.
async fn send(mut tar: ByteStream, mut input: ChildStdin) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let length = tar.read(&mut piece).await?;
        if length == 0 || input.write_all(&piece[..length]).await.is_err() {
            return Ok(());
        }
    }
}
