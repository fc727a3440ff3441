//! The terminal of the person: its size, and handing it to a program in a container.

use std::io::{Read, stderr, stdin, stdout};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::engine::{ByteStream, WindowSize};

/// Input that was read and not taken yet, in pieces.
const AHEAD: usize = 16;

/// The bytes of a piece.
const PIECE: usize = 4096;

/// What kind of terminal it is (term(7)).
pub(super) fn kind() -> String {
    std::env::var("TERM").ok().filter(|term| !term.is_empty()).unwrap_or_else(|| "dumb".to_owned())
}

/// The size of the terminal that is standard error, now; zeros if it has none.
pub(super) fn size() -> WindowSize {
    let size = tcgetwinsize(stderr()).map(|size| WindowSize { rows: size.ws_row, columns: size.ws_col });
    size.unwrap_or(WindowSize { rows: 0, columns: 0 })
}

/// The size of the terminal, with every change of it; `None` if it has none.
pub(super) fn sizes() -> Option<watch::Receiver<WindowSize>> {
    let size = || {
        let size = tcgetwinsize(stdout()).ok()?;
        Some(WindowSize { rows: size.ws_row, columns: size.ws_col })
    };
    let (send, receive) = watch::channel(size()?);
    let mut changes = signal(SignalKind::window_change()).ok()?;
    tokio::spawn(async move {
        while changes.recv().await.is_some() {
            if let Some(size) = size()
                && send.send(size).is_err()
            {
                break;
            }
        }
    });
    Some(receive)
}

/// Standard input. A thread reads it: one that waits for a key must not hold up the end of the program.
pub(super) fn input() -> ByteStream {
    let (send, mut pieces) = mpsc::channel::<std::io::Result<bytes::Bytes>>(AHEAD);
    std::thread::spawn(move || {
        let mut piece = vec![0; PIECE];
        loop {
            let read = stdin().lock().read(&mut piece);
            let more = matches!(read, Ok(1..));
            if let Ok(0) = read {
                break;
            }
            let sent = send.blocking_send(read.map(|length| bytes::Bytes::copy_from_slice(&piece[..length])));
            if sent.is_err() || !more {
                break;
            }
        }
    });
    let stream = futures_util::stream::poll_fn(move |context| pieces.poll_recv(context));
    Box::pin(tokio_util::io::StreamReader::new(stream))
}

/// While it lives, keys go to the program in the container as they are typed, ctrl-c among them (termios(3), cfmakeraw).
pub(super) struct Raw(Termios);

impl Raw {
    /// Hands the terminal over; `None` if that is not possible.
    pub fn begin() -> Option<Self> {
        let before = tcgetattr(stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Drain, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone wants nothing back.
        let _ = tcsetattr(stdin(), OptionalActions::Drain, &self.0);
    }
}
