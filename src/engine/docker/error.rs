use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bollard::errors::Error;
use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use tokio_util::io::{ReaderStream, StreamReader};

use super::Docker;
use crate::engine::{ByteStream, EngineError};

pub(super) fn unreachable(kind: &str, address: &str, source: Option<Error>) -> EngineError {
    EngineError::Unreachable {
        engine: kind.to_owned(),
        address: address.to_owned(),
        source: source.map(|error| error.into()),
    }
}

/// The HTTP status that the engine answered with.
pub(super) fn status(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// The engine's own words, or the error's.
pub(super) fn words(error: &Error) -> String {
    match error {
        Error::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        Error::DockerStreamError { error } => error.trim().to_owned(),
        other => other.to_string(),
    }
}

impl Docker {
    /// `action` completes "could not …"; `object` is what a status of 404 says is missing.
    pub(super) fn error(
        &self,
        action: impl Into<String>,
        object: impl Into<String>,
        error: Error,
    ) -> EngineError {
        if is_connection(&error) {
            return unreachable(&self.kind, &self.address, Some(error));
        }
        let message = words(&error);
        if is_full(&message) {
            return EngineError::NoSpace { action: action.into(), message };
        }
        match status(&error) {
            Some(404) => EngineError::NotFound(object.into()),
            _ => EngineError::Refused { action: action.into(), message },
        }
    }
}

fn is_connection(error: &Error) -> bool {
    matches!(
        error,
        Error::RequestTimeoutError
            | Error::HyperResponseError { .. }
            | Error::HyperLegacyError { .. }
            | Error::IOError { .. }
            | Error::SocketNotFoundError(_)
    )
}

fn is_full(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    message.contains("no space left on device") || message.contains("disk quota exceeded")
}

/// What the engine sends, to be read. An error in the middle, the engine's end among them, is an error of the reader.
pub(super) fn reader(stream: impl Stream<Item = Result<Bytes, Error>> + Send + 'static) -> ByteStream {
    let bytes = stream.map_err(|error| {
        let kind =
            if is_connection(&error) { io::ErrorKind::ConnectionAborted } else { io::ErrorKind::Other };
        io::Error::new(kind, error)
    });
    Box::pin(StreamReader::new(Box::pin(bytes)))
}

/// A tar on its way to the engine. It remembers why it broke, which the engine's answer cannot tell.
pub(super) struct Upload {
    broke: Arc<Mutex<Option<io::Error>>>,
}

impl Upload {
    /// The stream to send, and what to ask afterwards.
    pub(super) fn new(tar: ByteStream) -> (impl Stream<Item = io::Result<Bytes>> + Send + 'static, Self) {
        let broke = Arc::new(Mutex::new(None));
        let seen = Arc::clone(&broke);
        let stream = ReaderStream::with_capacity(tar, 64 * 1024).map_err(move |error| {
            let told = io::Error::new(error.kind(), error.to_string());
            *seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            told
        });
        (stream, Self { broke })
    }

    /// The error of the sender where there was one, otherwise what `error` of the connection or the engine means.
    pub(super) fn explain(
        &self,
        docker: &Docker,
        action: String,
        object: String,
        error: Error,
    ) -> EngineError {
        match self.broke.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(source) => EngineError::Stream { action, source },
            None => docker.error(action, object, error),
        }
    }
}
