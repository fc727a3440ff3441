use std::os::fd::AsFd;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::cgroup::{Counters, Group};
use super::frame::{Frame, MOST};
use super::record::Folder;
use super::request::{Exec, Input, Report, Request};
use super::{Embedded, io_error};
use crate::engine::{Command, ContainerId, EngineError, ExecStatus, Result, Session, Sink, WindowSize};

/// What a pipe holds at most (pipe(7), F_GETPIPE_SZ), where the kernel does not tell.
const PIPE: usize = 1 << 16;

impl Embedded {
    pub(super) async fn run(
        &self,
        container: &ContainerId,
        command: &Command,
        session: Option<Session>,
        sink: &mut Sink<'_>,
    ) -> Result<ExecStatus> {
        let (folder, record) = self.existing(container)?;
        let program = command.argv.first().map_or("nothing", String::as_str);
        let action = format!("run {program} in the container {}", container.0);
        let fail = |error| io_error(action.clone(), error);
        let group = Group::of(&folder.id).map_err(fail)?;
        let before = group.counters();
        let Some(first) = folder.first_process() else {
            return Ok(ExecStatus::ContainerGone { oom: before.oom_kills > 0 });
        };
        let path = folder.path.clone();
        let capabilities = record.capabilities;
        let input = match &session {
            None => Input::Empty,
            Some(Session { terminal: None, .. }) => Input::Pipe,
            Some(Session { terminal: Some(size), .. }) => Input::Terminal(*size.borrow()),
        };
        let Some(request) = Exec::new(path, folder.id.clone(), first, capabilities, command, input) else {
            let message = format!("the user {} is not UID:GID as numbers", command.user);
            return Err(EngineError::Refused { action, message });
        };
        let helper = self.program.start(&Request::Exec(request)).await.map_err(fail)?;
        let (mut output, input, ended) = helper.ended();
        // It ends with this call.
        let _feeding = match (session, input) {
            (Some(session), Some(input)) => Some(AbortOnDropHandle::new(tokio::spawn(feed(session, input)))),
            _ => None,
        };
        let mut ended = Box::pin(ended);
        let mut chunk = vec![0; 64 * 1024];
        let mut open = true;
        let report = loop {
            // Neither first: what prints without end must not hide that the command has ended.
            tokio::select! {
                read = output.read(&mut chunk), if open => match read.map_err(fail)? {
                    0 => open = false,
                    length => if sink(&chunk[..length]).is_break() {
                        return Ok(abandon(ended));
                    },
                },
                report = &mut ended => break report.map_err(fail)?,
            }
        };
        // What the command printed is in the pipe. What it started may print for ever, and holds the pipe open.
        let mut left = if open { rustix::pipe::fcntl_getpipe_size(&output).unwrap_or(PIPE) } else { 0 };
        while left > 0 {
            match read_now(&output, &mut chunk) {
                0 => break,
                length => {
                    left = left.saturating_sub(length);
                    if sink(&chunk[..length]).is_break() {
                        return Ok(ExecStatus::Abandoned);
                    }
                }
            }
        }
        match report {
            Report::Exited(0) => Ok(ExecStatus::Exited { code: 0, oom: false, process_limit: false }),
            Report::Exited(code) => Ok(failed(&folder, code, before, group.counters())),
            // Its groups may be gone with it; the counters then are, too.
            Report::Gone => {
                Ok(ExecStatus::ContainerGone { oom: group.counters().oom_kills > before.oom_kills })
            }
            _ if folder.is_removed() => Ok(ExecStatus::ContainerGone { oom: false }),
            report => Err(report.into_error(action)),
        }
    }
}

/// Passes the input and the sizes of the terminal on, as the helper takes them.
async fn feed(session: Session, mut to: ChildStdin) -> std::io::Result<()> {
    let Session { mut input, terminal: mut sizes } = session;
    let mut chunk = vec![0; MOST];
    loop {
        let frame = tokio::select! {
            read = input.read(&mut chunk) => match read? {
                0 => return Ok(()),
                length => Frame::Input(chunk[..length].to_vec()),
            },
            size = changed(&mut sizes) => Frame::Size(size),
        };
        to.write_all(&frame.bytes()).await?;
    }
}

/// The next size of a terminal. Without a terminal there is none ever.
async fn changed(sizes: &mut Option<watch::Receiver<WindowSize>>) -> WindowSize {
    if let Some(sizes) = sizes
        && sizes.changed().await.is_ok()
    {
        return *sizes.borrow_and_update();
    }
    std::future::pending().await
}

/// A command failed: on its own, or because a limit was reached, or because its container was removed.
fn failed(folder: &Folder, code: i64, before: Counters, now: Counters) -> ExecStatus {
    if folder.is_removed() {
        return ExecStatus::ContainerGone { oom: false };
    }
    ExecStatus::Exited {
        code,
        oom: now.oom_kills > before.oom_kills,
        process_limit: now.refused_processes > before.refused_processes,
    }
}

/// The command runs on, and what it prints is read by nobody: the helper, which waits for it, is left alone until the
/// container goes.
fn abandon(ended: impl Future<Output = std::io::Result<Report>> + Send + 'static) -> ExecStatus {
    tokio::spawn(ended);
    ExecStatus::Abandoned
}

/// What can be read without waiting.
fn read_now(output: &ChildStdout, chunk: &mut [u8]) -> usize {
    rustix::io::read(output.as_fd(), chunk).unwrap_or(0)
}
