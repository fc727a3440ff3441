//! Starting the helper process.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::OnceCell;

use super::request::{Report, Request};

/// The word that makes the program a helper: [`helper::main`](super::helper::main).
pub const HELPER_COMMAND: &str = "engine-helper";

/// How much of what a helper says of itself is read.
const WORDS: u64 = 64 * 1024;

/// The helper program, which runs from a sealed copy in memory.
///
/// A process that enters a container can be made to run itself again, or to be looked at, by what is in there, and then its
/// `/proc/PID/exe` names the program. The copy cannot be written by anybody: the program on disk stays as it is.
#[derive(Clone, Debug)]
pub(super) struct Program {
    path: PathBuf,
    /// Made when it is first needed: not all that opens an engine starts a container.
    copy: Arc<OnceCell<OwnedFd>>,
}

impl Program {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, copy: Arc::default() }
    }

    async fn sealed(&self) -> io::Result<&OwnedFd> {
        let path = self.path.clone();
        let make =
            async || tokio::task::spawn_blocking(move || seal(&path)).await.map_err(io::Error::other)?;
        self.copy.get_or_try_init(make).await
    }

    /// Starts a helper with a request. Dropping what is given does not end it at once: one that waits for a command has
    /// to take its end from the kernel, and any other ends when it finds its input or output closed.
    pub(super) async fn start(&self, request: &Request) -> io::Result<Helper> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        let copy = self.sealed().await?.as_raw_fd();
        let mut child = Command::new(format!("/proc/self/fd/{copy}"))
            .arg(HELPER_COMMAND)
            // Whose helper it is: where no control group says so, this does.
            .args(request.container())
            // Its memory is for a moment that of a process in the container: nothing of ours is in it.
            .env_clear()
            .current_dir("/")
            // A terminal's ctrl-C is for the program, which ends what it has begun.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let missing = || io::Error::other("a pipe of the helper process is missing");
        let mut input = child.stdin.take().ok_or_else(missing)?;
        let output = child.stdout.take().ok_or_else(missing)?;
        let words = child.stderr.take().ok_or_else(missing)?;
        match input.write_all(&line).await {
            // It ended early, and says why.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            other => other?,
        }
        Ok(Helper { child, input: Some(input), output, words })
    }
}

fn seal(program: &Path) -> io::Result<OwnedFd> {
    let memory =
        rustix::fs::memfd_create("packhold-helper", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut memory = File::from(memory);
    io::copy(&mut File::open(program)?, &mut memory)?;
    rustix::fs::fcntl_add_seals(
        &memory,
        SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL,
    )?;
    // A file that somebody has open for writing cannot be run: execve(2), ETXTBSY.
    let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// A helper at work.
pub(super) struct Helper {
    child: Child,
    pub(super) input: Option<ChildStdin>,
    pub(super) output: ChildStdout,
    words: ChildStderr,
}

impl Helper {
    /// Waits for the end, and tells how it was. What it still prints must be read by somebody else meanwhile.
    pub(super) fn ended(
        self,
    ) -> (ChildStdout, Option<ChildStdin>, impl Future<Output = io::Result<Report>> + Send) {
        let Self { mut child, input, output, words } = self;
        let ended = async move {
            let mut said = Vec::new();
            let mut words = words.take(WORDS);
            words.read_to_end(&mut said).await?;
            child.wait().await?;
            Ok(Report::parse(&String::from_utf8_lossy(&said)))
        };
        (output, input, ended)
    }

    /// Closes the input and waits for the end of a helper that prints nothing.
    pub(super) async fn report(self) -> io::Result<Report> {
        let (output, input, ended) = self.ended();
        drop(input);
        let report = ended.await;
        drop(output);
        report
    }
}
