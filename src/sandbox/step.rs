use std::ops::ControlFlow;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::SandboxError;
use crate::engine::{Command, ContainerId, Engine, ExecStatus};

/// When a step is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// How long it may take.
    pub time: Duration,
    /// How long it may print nothing.
    pub silence: Duration,
    /// Bytes that it may print.
    pub output: u64,
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepEnd {
    /// The command ended.
    Exited {
        /// Exit status; 128 + signal for a signal.
        code: i64,
        /// Something in the container was killed because the memory limit was reached.
        oom: bool,
        /// The container is at its limit of processes.
        process_limit: bool,
    },
    /// [`Watch::time`] was reached.
    TimeOut,
    /// [`Watch::silence`] was reached.
    Silent,
    /// [`Watch::output`] was reached.
    OutputLimit,
    /// The container stopped or vanished.
    ContainerGone {
        /// Because its memory limit was reached.
        oom: bool,
    },
}

impl StepEnd {
    /// True for exit status 0.
    pub fn succeeded(&self) -> bool {
        matches!(self, Self::Exited { code: 0, .. })
    }

    /// The exit status, if the command ended.
    pub fn code(&self) -> Option<i64> {
        match self {
            Self::Exited { code, .. } => Some(*code),
            _ => None,
        }
    }
}

/// A step that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepResult {
    /// How.
    pub end: StepEnd,
    /// After how long.
    pub duration: Duration,
    /// Bytes that it printed.
    pub bytes: u64,
}

/// What the sink tells the watcher.
struct Progress {
    last: Instant,
    bytes: u64,
    over: bool,
    failed: Option<std::io::Error>,
}

pub(super) async fn run(
    engine: &dyn Engine,
    container: &ContainerId,
    command: &Command,
    watch: &Watch,
    output: &mut (dyn FnMut(&[u8]) -> std::io::Result<()> + Send),
) -> Result<StepResult, SandboxError> {
    let start = Instant::now();
    let progress = Mutex::new(Progress { last: start, bytes: 0, over: false, failed: None });
    let state = || progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut sink = |chunk: &[u8]| {
        let mut state = state();
        state.last = Instant::now();
        let room = usize::try_from(watch.output - state.bytes).unwrap_or(usize::MAX);
        let kept = &chunk[..chunk.len().min(room)];
        state.bytes += kept.len() as u64;
        state.over = kept.len() < chunk.len();
        state.failed = output(kept).err();
        if state.over || state.failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let exec = engine.exec(container, command, &mut sink);
    tokio::pin!(exec);
    let ended = loop {
        let (silent_at, over_at) = (state().last + watch.silence, start + watch.time);
        tokio::select! {
            biased;
            status = &mut exec => break Ok(status?),
            () = tokio::time::sleep_until(silent_at.min(over_at)) => {
                let now = Instant::now();
                if now >= over_at {
                    break Err(StepEnd::TimeOut);
                }
                if now >= state().last + watch.silence {
                    break Err(StepEnd::Silent);
                }
            }
        }
    };
    let mut state = state();
    if let Some(error) = state.failed.take() {
        return Err(SandboxError::Log(error));
    }
    let end = match ended {
        _ if state.over => StepEnd::OutputLimit,
        Ok(ExecStatus::Exited { code, oom, process_limit }) => StepEnd::Exited { code, oom, process_limit },
        Ok(ExecStatus::ContainerGone { oom }) => StepEnd::ContainerGone { oom },
        // Only this sink breaks, and only for the two reasons above.
        Ok(ExecStatus::Abandoned) => StepEnd::OutputLimit,
        Err(limit) => limit,
    };
    Ok(StepResult { end, duration: start.elapsed(), bytes: state.bytes })
}
