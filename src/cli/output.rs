use std::io::{IsTerminal, Write};

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use super::args::OutputFormat;
use super::board::Board;
use crate::model::{Event, Outcome, Stage, TargetName};
use crate::report;

/// A way to show events as they happen.
pub(super) trait View: Send {
    /// Shows an event.
    fn show(&mut self, event: &Event);

    /// No more events come.
    fn end(&mut self) {}
}

/// Shows events as the user wants them, until whoever sends them has ended.
pub(super) fn show(format: OutputFormat) -> (UnboundedSender<Event>, JoinHandle<()>) {
    let terminal =
        std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
    let mut view: Box<dyn View> = match format {
        OutputFormat::Json => Box::new(JsonLines),
        OutputFormat::Auto if terminal => Box::new(Board::new()),
        _ => Box::new(PlainLines),
    };
    let (send, mut receive) = unbounded_channel();
    let shown = tokio::spawn(async move {
        while let Some(event) = receive.recv().await {
            view.show(&event);
        }
        view.end();
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
            print_line(&text);
        }
    }
}

/// Plain lines on standard output, for logs of CI.
pub(super) struct PlainLines;

impl View for PlainLines {
    fn show(&mut self, event: &Event) {
        if let Some(line) = plain(event) {
            print_line(&line);
        }
    }
}

/// A line that does not stop the work if nobody reads it any more.
fn print_line(line: &str) {
    let mut out = std::io::stdout().lock();
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
        Event::StageStarted { .. } => return None,
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
