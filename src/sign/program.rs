//! Programs that sign: bytes on standard input, a signature on standard output.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::{Result, SignError};
use crate::support::terminal_text::neutralise;

/// No certificate and no signature is longer, in bytes.
const MOST_OUTPUT: u64 = 4 << 20;
/// How much of standard error is shown, in bytes.
const MOST_STDERR: usize = 2000;

/// Runs a program with `input` and gives its standard output. It is ended with all that it started when `time_out` has passed.
pub(crate) fn run(name: &str, mut command: Command, input: &[u8], time_out: Duration) -> Result<Vec<u8>> {
    let fail = |reason: String, stderr: &[u8]| SignError::Program {
        program: name.to_owned(),
        reason,
        stderr: tail(stderr),
    };
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(|error| fail(format!("it cannot be started: {error}"), b""))?;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let (mut stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let input = input.to_vec();
    thread::spawn(move || {
        // A program that does not want all of it says so by its exit status.
        let _ = stdin.take().map(|mut stdin| stdin.write_all(&input));
    });
    let (out, err) = (collect(stdout), collect(stderr));
    let end = Instant::now() + time_out;
    let status = wait(&mut child, end);
    if status.is_none() {
        let _ = group.map(|group| kill_process_group(group, Signal::KILL));
        let _ = child.wait();
    }
    // Something that it left running may hold its output open.
    let rest = || end.saturating_duration_since(Instant::now()).max(Duration::from_secs(1));
    let stderr = err.recv_timeout(rest()).unwrap_or_default();
    let Some(status) = status else {
        return Err(fail(format!("it is not done after {} seconds", time_out.as_secs()), &stderr));
    };
    let stdout = out.recv_timeout(rest());
    let _ = group.map(|group| kill_process_group(group, Signal::KILL));
    let stdout = stdout.map_err(|_| fail("its output does not end".to_owned(), &stderr))?;
    if !status.success() {
        return Err(fail(format!("it ends with {status}"), &stderr));
    }
    if stdout.len() as u64 > MOST_OUTPUT {
        return Err(fail(format!("it writes more than {MOST_OUTPUT} bytes"), &stderr));
    }
    Ok(stdout)
}

fn wait(child: &mut std::process::Child, end: Instant) -> Option<ExitStatus> {
    let mut pause = Duration::from_millis(2);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < end => thread::sleep(pause),
            _ => return None,
        }
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Reads a stream in a thread of its own: all that there is, so that its writer is not held up, and keeps what is not too much.
fn collect(stream: Option<impl Read + Send + 'static>) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            let _ = (&mut stream).take(MOST_OUTPUT + 1).read_to_end(&mut bytes);
            let _ = sender.send(bytes);
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
    });
    receiver
}

fn tail(stderr: &[u8]) -> String {
    let start = stderr.len().saturating_sub(MOST_STDERR);
    let lines = stderr[start..].split(|byte| *byte == b'\n').map(neutralise);
    lines.map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" | ")
}
