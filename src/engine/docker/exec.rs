use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use bollard::errors::Error;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use futures_util::StreamExt;
use tokio::time::{Instant, sleep, timeout};

use super::Docker;
use super::error::status;
use super::limits::Reached;
use crate::engine::{Command, ContainerId, EngineError, ExecStatus, Result, Session, Sink};

/// How soon after its start, and at most how often, the engine is asked whether a command has ended.
const FIRST_LOOK: Duration = Duration::from_millis(100);
const LOOKS: Duration = Duration::from_secs(1);
/// When a command has ended and its output stays open, its last bytes are waited for no longer than this in all, and
/// this long in silence.
const LAST_BYTES: Duration = Duration::from_secs(2);
const QUIET: Duration = Duration::from_millis(200);
/// More than an engine and sockets buffer (Docker: 1 MiB and a pipe): what comes later was printed later.
const BUFFERED: usize = 4 << 20;
/// How long a container that was killed may seem to run on.
const STOPS: Duration = Duration::from_secs(2);
/// How much of the first output is kept to read the runtime's own complaint from.
const COMPLAINT: usize = 2048;

/// What the engine says about a command.
enum Look {
    Runs,
    Ended { code: i64, started: bool },
    Gone,
}

impl Docker {
    /// Engines add to the environment what the image and the container have, and the runtime adds HOME. Docker takes
    /// some of it away when asked, podman nothing, so the container's own `env` does it.
    pub(super) async fn run(
        &self,
        container: &ContainerId,
        command: &Command,
        session: Option<Session>,
        sink: &mut Sink<'_>,
    ) -> Result<ExecStatus> {
        let program = command.argv.first().map_or("nothing", String::as_str);
        let fail = |error| self.error(format!("run {program}"), format!("container {}", container.0), error);
        let mut argv = vec!["env".to_owned(), "-i".to_owned()];
        argv.extend(command.env.iter().map(|(name, value)| format!("{name}={value}")));
        argv.extend(command.argv.iter().cloned());
        let options = CreateExecOptions {
            attach_stdin: Some(session.is_some()),
            tty: Some(session.as_ref().is_some_and(|session| session.terminal.is_some())),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(argv),
            env: Some(vec!["PATH=/usr/bin:/bin".to_owned()]),
            user: Some(command.user.clone()),
            working_dir: Some(command.dir.clone()),
            ..Default::default()
        };
        let exec = match self.quick.create_exec(&container.0, options).await {
            Ok(exec) => exec.id,
            Err(error) => return self.not_started(container, fail(error), sink).await,
        };
        let tty = session.as_ref().is_some_and(|session| session.terminal.is_some());
        let start = StartExecOptions { tty, ..Default::default() };
        let (mut output, input) = match self.quick.start_exec(&exec, Some(start)).await {
            Ok(StartExecResults::Attached { output, input }) => (output, input),
            Ok(StartExecResults::Detached) => return Err(self.lost(program)),
            Err(error) => return self.not_started(container, fail(error), sink).await,
        };

        // They end with this call.
        let _passing = session.map(|session| self.pass_on(&exec, session, input));

        let mut complaint = Vec::new();
        let mut pass = |chunk: &[u8]| {
            if complaint.len() < COMPLAINT {
                complaint.extend_from_slice(&chunk[..chunk.len().min(COMPLAINT)]);
            }
            sink(chunk).is_break()
        };
        let mut open = true;
        let mut pause = FIRST_LOOK;
        let mut look: Pin<Box<dyn Future<Output = Result<Look>> + Send>> =
            Box::pin(self.look(&exec, container, pause, false));
        let (code, started) = loop {
            tokio::select! {
                chunk = output.next(), if open => match chunk {
                    Some(Ok(chunk)) => if pass(&chunk.into_bytes()) { return Ok(ExecStatus::Abandoned) },
                    // Whether the command ended, or the engine, is for the engine to say. A command that closed its
                    // output runs on.
                    Some(Err(_)) | None => {
                        open = false;
                        pause = Duration::from_millis(10);
                        look = Box::pin(self.look(&exec, container, Duration::ZERO, true));
                    }
                },
                looked = &mut look => match looked? {
                    Look::Runs => {
                        pause = (pause * 2).min(LOOKS);
                        look = Box::pin(self.look(&exec, container, pause, !open));
                    }
                    Look::Ended { code, started } => break (code, started),
                    Look::Gone => return self.gone_status(container).await,
                },
            }
        };
        // Something that the command started may hold its output open for ever, silent or not.
        let (ended, mut waited, mut late) = (Instant::now(), Duration::ZERO, 0);
        while open && waited < LAST_BYTES && (late < BUFFERED || ended.elapsed() < LAST_BYTES) {
            let asked = Instant::now();
            let next = timeout(QUIET, output.next()).await;
            waited += asked.elapsed();
            match next {
                Ok(Some(Ok(chunk))) => {
                    let chunk = chunk.into_bytes();
                    late += chunk.len();
                    if pass(&chunk) {
                        return Ok(ExecStatus::Abandoned);
                    }
                }
                Ok(Some(Err(_)) | None) | Err(_) => open = false,
            }
        }
        if code == 0 {
            return Ok(ExecStatus::Exited { code, oom: false, process_limit: false });
        }
        let code = if started { code } else { shell_code(&complaint).unwrap_or(code) };
        self.failed(container, code).await
    }

    async fn look(
        &self,
        exec: &str,
        container: &ContainerId,
        pause: Duration,
        output_ended: bool,
    ) -> Result<Look> {
        sleep(pause).await;
        match self.quick.inspect_exec(exec).await {
            Ok(told) if told.running != Some(true) && told.exit_code.is_some() => Ok(Look::Ended {
                code: told.exit_code.unwrap_or_default(),
                started: told.pid.is_none_or(|pid| pid != 0),
            }),
            Ok(_) if output_ended && !self.runs(container).await? => Ok(Look::Gone),
            Ok(_) => Ok(Look::Runs),
            Err(error) if status(&error) == Some(404) && self.runs(container).await? => {
                Err(self.lost("a command"))
            }
            Err(error) if matches!(status(&error), Some(404 | 409)) => Ok(Look::Gone),
            Err(error) => Err(self.error("ask whether a command has ended", "command", error)),
        }
    }

    /// A command failed: on its own, or because a limit was reached, or because its container was stopped.
    async fn failed(&self, container: &ContainerId, code: i64) -> Result<ExecStatus> {
        let deadline = Instant::now() + STOPS;
        let mut limits = self.reached_limits(container).await;
        // The processes that fill the container may be gone soon.
        let full = limits.is_none() && self.is_full_of_processes(container).await;
        loop {
            if !self.runs(container).await? {
                return self.gone_status(container).await;
            }
            if limits.is_some() || Instant::now() > deadline {
                let Reached { oom, process_limit } = limits.unwrap_or_default();
                return Ok(ExecStatus::Exited { code, oom, process_limit: process_limit || full });
            }
            // Nothing can be started in a full container, nor in one that is about to stop; and the engine says that
            // one runs until its last process is gone.
            sleep(FIRST_LOOK).await;
            limits = self.reached_limits(container).await;
        }
    }

    /// The engine did not start the command: the container stopped, or the runtime complained, which podman gives as an
    /// error and Docker prints.
    async fn not_started(
        &self,
        container: &ContainerId,
        error: EngineError,
        sink: &mut Sink<'_>,
    ) -> Result<ExecStatus> {
        let EngineError::Refused { message, .. } = &error else { return Err(error) };
        if !self.runs(container).await? {
            return self.gone_status(container).await;
        }
        let Some(code) = shell_code(message.as_bytes()) else { return Err(error) };
        match sink(format!("{message}\n").as_bytes()).is_break() {
            true => Ok(ExecStatus::Abandoned),
            false => self.failed(container, code).await,
        }
    }

    async fn runs(&self, container: &ContainerId) -> Result<bool> {
        Ok(self.state(container).await?.and_then(|state| state.running).unwrap_or(false))
    }

    async fn gone_status(&self, container: &ContainerId) -> Result<ExecStatus> {
        let state = self.state(container).await?;
        Ok(ExecStatus::ContainerGone { oom: state.and_then(|state| state.oom_killed).unwrap_or(false) })
    }

    /// `None` where the container does not exist any more.
    async fn state(&self, container: &ContainerId) -> Result<Option<bollard::models::ContainerState>> {
        match self.quick.inspect_container(&container.0, None).await {
            Ok(inspected) => Ok(inspected.state),
            Err(error) if status(&error) == Some(404) => Ok(None),
            // Podman's word for a container that has just ended, which Docker does not have.
            Err(Error::JsonDataError { message, .. }) if message.contains("variant `stopped`") => Ok(None),
            Err(error) => Err(self.error("look at a container", format!("container {}", container.0), error)),
        }
    }

    fn lost(&self, program: &str) -> EngineError {
        EngineError::Stream {
            action: format!("run {program}"),
            source: io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "the engine forgot the command: it was restarted",
            ),
        }
    }
}

/// The exit status that a shell would give for a program that did not start (POSIX, "Exit Status for Commands"),
/// from the runtime's words; engines give 126, 127, 128 or 255 for all of them.
fn shell_code(complaint: &[u8]) -> Option<i64> {
    let text = String::from_utf8_lossy(complaint);
    if text.contains("executable file not found")
        || (text.contains("no such file or directory") && !text.contains("chdir"))
    {
        return Some(127);
    }
    (text.contains("OCI ") || text.contains("chdir")).then_some(126)
}

#[cfg(test)]
mod tests {
    use super::shell_code;

    #[test]
    fn a_program_that_does_not_start_ends_as_a_shell_says() {
        assert_eq!(
            shell_code(b"OCI runtime exec failed: exec: \"x\": executable file not found in $PATH"),
            Some(127)
        );
        assert_eq!(
            shell_code(b"OCI runtime exec failed: exec: \"/x\": stat /x: no such file or directory"),
            Some(127)
        );
        assert_eq!(shell_code(b"OCI runtime exec failed: exec: \"/etc\": permission denied"), Some(126));
        assert_eq!(
            shell_code(b"OCI runtime exec failed: chdir to cwd (\"/x\"): no such file or directory"),
            Some(126)
        );
        assert_eq!(shell_code(b"make: *** [all] Error 2"), None);
    }
}
