use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::diagnose;
use super::{Reporter, StageResult, Workshop};
use crate::engine::{Command, Progress};
use crate::model::{Event, Hasher, LogRef, Outcome, Stage, StageRecord, StepRecord, TargetName};
use crate::sandbox::{Sandbox, StepResult, Watch};
use crate::support::fs::PathContext;
use crate::support::terminal_text::neutralise;

/// Bytes of the end of a step's output that are kept at hand to find out why it failed, and to read a short answer.
const TAIL: usize = 64 << 10;
const _: () = assert!(TAIL >= crate::plan::LONGEST_LIST);

/// A line longer than this is shown in pieces.
const LONGEST_LINE: usize = 4 << 10;

/// What a step prints beyond so many lines or bytes is only in the log: whoever shows events must not need memory and
/// time for a flood.
const SHOWN_LINES: u64 = 50_000;
const SHOWN_BYTES: u64 = 16 << 20;

/// How often it is told how far something is.
const PROGRESS: Duration = Duration::from_millis(300);

/// Keeps the record and the log of one stage while it runs.
pub struct Recorder {
    reporter: Reporter,
    target: Option<TargetName>,
    stage: Stage,
    started: Timestamp,
    start: Instant,
    steps: Vec<StepRecord>,
    reused: Option<String>,
    log_path: PathBuf,
    /// Of a branch, the log that its own will be part of.
    joins: Option<PathBuf>,
    log: Option<Hasher<File>>,
    tail: Vec<u8>,
    line: Vec<u8>,
    shown: Shown,
}

/// How much of a step's output was shown.
#[derive(Default)]
struct Shown {
    lines: u64,
    bytes: u64,
}

impl Shown {
    fn is_enough(&self) -> bool {
        self.lines >= SHOWN_LINES || self.bytes >= SHOWN_BYTES
    }
}

impl Recorder {
    /// Begins a stage; without a target it is one that all targets share.
    pub fn start(shop: &Workshop, target: Option<&TargetName>, stage: Stage) -> Self {
        let owner = target.map_or_else(|| "run".to_owned(), TargetName::file_stem);
        shop.reporter.say(Event::StageStarted { target: target.cloned(), stage });
        Self {
            reporter: shop.reporter.clone(),
            target: target.cloned(),
            stage,
            started: Timestamp::now(),
            start: Instant::now(),
            steps: Vec::new(),
            reused: None,
            log_path: shop.logs.join(format!("{owner}.{stage}.log")),
            joins: None,
            log: None,
            tail: Vec::new(),
            line: Vec::new(),
            shown: Shown::default(),
        }
    }

    /// The stage.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// The path of the stage's log, which is whole when the stage has ended.
    pub fn log_path(&self) -> &std::path::Path {
        self.joins.as_deref().unwrap_or(&self.log_path)
    }

    /// The end of what the last step printed.
    pub fn tail(&self) -> &[u8] {
        &self.tail
    }

    /// Says what is being done, where that is no command in a container.
    pub fn doing(&mut self, title: &str) {
        self.reporter.say(Event::Step {
            target: self.target.clone(),
            stage: self.stage,
            title: title.to_owned(),
        });
    }

    /// What says how many bytes were moved, and of how many, as often as it is of use.
    pub fn progress(&self) -> Progress {
        let (reporter, target, stage) = (self.reporter.clone(), self.target.clone(), self.stage);
        let last = Mutex::new(Instant::now());
        Progress::to(move |done, total| {
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            if last.elapsed() >= PROGRESS {
                *last = Instant::now();
                reporter.say(Event::Progress { target: target.clone(), stage, done, total });
            }
        })
    }

    /// Says that something was reused instead of done.
    pub fn reuse(&mut self, what: impl Into<String>) {
        let what = what.into();
        self.reused = Some(match self.reused.take() {
            Some(before) => format!("{before}, {what}"),
            None => what,
        });
    }

    /// Says what a person should know.
    pub fn warn(&self, message: impl Into<String>) {
        self.reporter.warn(message);
    }

    /// Writes a line of our own to the log.
    pub fn write_line(&mut self, line: &str) -> StageResult<()> {
        self.write(format!("{line}\n").as_bytes()).map_err(|error| diagnose::log_failed(self, error))
    }

    /// Runs a command and records it as a step, however it ends.
    pub async fn step(
        &mut self,
        sandbox: &Sandbox,
        title: &str,
        command: &Command,
        watch: &Watch,
    ) -> StageResult<StepResult> {
        self.doing(title);
        self.tail.clear();
        self.shown = Shown::default();
        let offset = self.log.as_ref().map_or(0, Hasher::bytes);
        let result = {
            let mut sink = |chunk: &[u8]| self.write(chunk);
            sandbox.run(command, watch, &mut sink).await
        };
        self.flush_line();
        let result = result.map_err(|error| diagnose::infrastructure(self.stage, &error))?;
        self.steps.push(StepRecord {
            title: title.to_owned(),
            argv: command.argv.clone(),
            exit: result.end.code(),
            duration_ms: millis(result.duration),
            log_offset: offset,
            log_bytes: result.bytes,
        });
        Ok(result)
    }

    /// Runs a command that has to succeed.
    pub async fn must(
        &mut self,
        sandbox: &Sandbox,
        title: &str,
        command: &Command,
        watch: &Watch,
    ) -> StageResult<()> {
        let result = self.step(sandbox, title, command, watch).await?;
        if result.end.succeeded() { Ok(()) } else { Err(diagnose::step(self, title, &result, watch)) }
    }

    /// A recorder for work that runs beside others of the same stage. Its steps and its log come to this one with
    /// [`Recorder::join`], so that a stage's log is never mixed.
    pub fn branch(&self, name: &str) -> Self {
        Self {
            reporter: self.reporter.clone(),
            target: self.target.clone(),
            stage: self.stage,
            started: Timestamp::now(),
            start: Instant::now(),
            steps: Vec::new(),
            reused: None,
            log_path: self.log_path.with_extension(format!("{name}.log")),
            joins: Some(self.log_path().to_owned()),
            log: None,
            tail: Vec::new(),
            line: Vec::new(),
            shown: Shown::default(),
        }
    }

    /// Takes over the steps and the log of a branch that has ended.
    pub async fn join(&mut self, mut branch: Self) -> StageResult<()> {
        branch.flush_line();
        let offset = self.log.as_ref().map_or(0, Hasher::bytes);
        self.steps.extend(
            branch.steps.into_iter().map(|step| StepRecord { log_offset: step.log_offset + offset, ..step }),
        );
        if let Some(what) = branch.reused {
            self.reuse(what);
        }
        if branch.log.take().is_none() {
            return Ok(());
        }
        let taken = self.take_log(&branch.log_path);
        taken.map_err(|error| diagnose::log_failed(self, error))
    }

    /// Moves the bytes of another log to the end of this one.
    fn take_log(&mut self, path: &std::path::Path) -> std::io::Result<()> {
        let mut from = File::open(path)?;
        std::io::copy(&mut from, self.opened()?)?;
        std::fs::remove_file(path)
    }

    fn opened(&mut self) -> std::io::Result<&mut Hasher<File>> {
        if self.log.is_none() {
            let file =
                File::create(&self.log_path).at("create", &self.log_path).map_err(|error| error.source)?;
            self.log = Some(Hasher::around(file));
        }
        self.log.as_mut().ok_or_else(|| std::io::ErrorKind::NotFound.into())
    }

    /// Ends the stage.
    pub fn finish(mut self, outcome: Outcome) -> StageRecord {
        self.flush_line();
        let duration_ms = millis(self.start.elapsed());
        self.reporter.say(Event::StageFinished {
            target: self.target.clone(),
            stage: self.stage,
            outcome: outcome.clone(),
            duration_ms,
            reused: self.reused.clone(),
        });
        let name =
            self.log_path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let log = self.log.map(|log| {
            let (digest, size, _) = log.finish();
            LogRef { name, digest, size }
        });
        StageRecord {
            stage: self.stage,
            outcome,
            started: self.started,
            duration_ms,
            reused: self.reused,
            steps: self.steps,
            log,
        }
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.opened()?.write_all(bytes)?;
        self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL)..]);
        if self.tail.len() > 2 * TAIL {
            self.tail.drain(..self.tail.len() - TAIL);
        }
        if self.shown.is_enough() {
            return Ok(());
        }
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            for piece in part.chunks(LONGEST_LINE) {
                self.line.extend_from_slice(piece);
                if self.line.ends_with(b"\n") || self.line.len() >= LONGEST_LINE {
                    self.flush_line();
                }
            }
        }
        Ok(())
    }

    fn flush_line(&mut self) {
        if self.line.is_empty() || self.shown.is_enough() {
            self.line.clear();
            return;
        }
        self.shown.lines += 1;
        self.shown.bytes += self.line.len() as u64;
        let line = neutralise(&self.line);
        self.line.clear();
        self.reporter.say(Event::Output { target: self.target.clone(), stage: self.stage, line });
        if self.shown.is_enough() {
            let owner = self.target.as_ref().map(|target| format!("{target} ")).unwrap_or_default();
            let log = self.log_path.display();
            self.warn(format!("{owner}{}: it prints very much; the rest is only in {log}", self.stage));
        }
    }
}

/// Whole milliseconds.
pub(super) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
