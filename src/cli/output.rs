use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::args::OutputFormat;
use super::board::Board;
use crate::archive::Archive;
use crate::model::{Event, Outcome, Stage, TargetName};
use crate::report;

/// What is said when somebody wants the work to stop.
pub(super) const STOPPING: &str = "stopping: removing containers (once more to stop at once)";

/// A way to show events as they happen.
pub(super) trait View: Send {
    /// Shows an event.
    fn show(&mut self, event: &Event);

    /// How often [`View::tick`] wants to be called.
    fn period(&self) -> Option<Duration> {
        None
    }

    /// Some time has gone by.
    fn tick(&mut self) {}

    /// Somebody wants the work to stop.
    fn stopping(&mut self) {
        eprintln!("{STOPPING}");
    }

    /// No more events come.
    fn end(&mut self) {}
}

/// Whether there is a terminal on which lines can be drawn again.
fn has_board() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Shows events as the user wants them, until whoever sends them has ended, and says that work stops which is cancelled. An `archive` is asked
/// how long it will take.
pub(super) fn show(
    format: OutputFormat,
    cancel: &CancellationToken,
    archive: Option<Archive>,
) -> (UnboundedSender<Event>, JoinHandle<()>) {
    let view: Box<dyn View> = match format {
        OutputFormat::Json => Box::new(JsonLines),
        OutputFormat::Auto if has_board() => Box::new(Board::new(archive)),
        _ => Box::new(PlainLines::on(std::io::stdout())),
    };
    shown_by(view, cancel)
}

/// As [`show`], on standard error alone: standard output is for something else.
pub(super) fn show_beside(
    format: OutputFormat,
    cancel: &CancellationToken,
) -> (UnboundedSender<Event>, JoinHandle<()>) {
    match (format, has_board()) {
        (OutputFormat::Auto, true) => shown_by(Box::new(Board::new(None)), cancel),
        _ => shown_by(Box::new(PlainLines::on(std::io::stderr())), cancel),
    }
}

/// Whether events are shown now, and with them that work stops.
static SHOWN: AtomicBool = AtomicBool::new(false);

/// Whether somebody who shows events says that work stops.
pub(super) fn is_shown() -> bool {
    SHOWN.load(Ordering::Relaxed)
}

fn shown_by(mut view: Box<dyn View>, cancel: &CancellationToken) -> (UnboundedSender<Event>, JoinHandle<()>) {
    let (send, mut receive) = unbounded_channel();
    let cancel = cancel.clone();
    SHOWN.store(true, Ordering::Relaxed);
    let shown = tokio::spawn(async move {
        let period = view.period();
        let mut ticks = tokio::time::interval(period.unwrap_or(Duration::from_secs(3600)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stopping = false;
        loop {
            tokio::select! {
                event = receive.recv() => match event {
                    Some(event) => view.show(&event),
                    None => break,
                },
                _ = ticks.tick(), if period.is_some() => view.tick(),
                () = cancel.cancelled(), if !stopping => {
                    stopping = true;
                    view.stopping();
                }
            }
        }
        view.end();
        SHOWN.store(false, Ordering::Relaxed);
    });
    (send, shown)
}

/// One JSON document a line, on standard output. The last line is the record of what was done.
pub(super) struct JsonLines;

impl View for JsonLines {
    fn show(&mut self, event: &Event) {
        let text = match event {
            Event::RunFinished { record } => serde_json::to_string(record),
            Event::FilesVerified { record } => serde_json::to_string(record),
            event => serde_json::to_string(event),
        };
        if let Ok(text) = text {
            print_line(&mut std::io::stdout(), &text);
        }
    }
}

/// Plain lines, for logs of CI.
pub(super) struct PlainLines {
    out: Box<dyn Write + Send>,
}

impl PlainLines {
    fn on(out: impl Write + Send + 'static) -> Self {
        Self { out: Box::new(out) }
    }
}

impl View for PlainLines {
    fn show(&mut self, event: &Event) {
        if let Some(line) = plain(event) {
            print_line(&mut self.out, &line);
        }
    }
}

/// A line that does not stop the work if nobody reads it any more.
fn print_line(out: &mut impl Write, line: &str) {
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

/// Who an event is about: `debian-12/deb build`.
pub(super) fn subject(target: Option<&TargetName>, stage: Stage) -> String {
    match target {
        Some(target) => format!("{target} {stage}"),
        None => stage.to_string(),
    }
}

/// How a stage ended, in a few words.
pub(super) fn ending(outcome: &Outcome, duration_ms: u64, reused: Option<&str>) -> String {
    let time = report::duration(duration_ms);
    match (outcome, reused) {
        (Outcome::Passed, Some(reused)) => format!("done in {time} (reused: {reused})"),
        (Outcome::Passed, None) => format!("done in {time}"),
        (other, _) => format!("{} after {time}", other.summary()),
    }
}

/// An event as a line, if it is worth one.
fn plain(event: &Event) -> Option<String> {
    Some(match event {
        Event::RunStarted { run, package, commit, version, targets } => {
            let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
            format!("run {run}: {package} {version} ({commit:.12}) for {}", targets.join(", "))
        }
        Event::StageStarted { .. } | Event::Progress { .. } => return None,
        Event::Step { target, stage, title } => format!("[{}] {title}", subject(target.as_ref(), *stage)),
        Event::Output { target, stage, line } => format!("[{}] | {line}", subject(target.as_ref(), *stage)),
        Event::StageFinished { target, stage, outcome, duration_ms, reused } => {
            let ending = ending(outcome, *duration_ms, reused.as_deref());
            format!("[{}] {ending}", subject(target.as_ref(), *stage))
        }
        Event::Warning { message } => format!("warning: {message}"),
        Event::RunFinished { .. } | Event::FilesVerified { .. } => return None,
    })
}
