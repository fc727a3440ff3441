use std::collections::BTreeMap;
use std::io::Stderr;
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use unicode_width::UnicodeWidthStr;

use super::output::{STOPPING, View, ending, subject};
use super::painter::{Painter, room};
use super::terminal;
use crate::archive::Archive;
use crate::model::{Event, Stage, TargetName};
use crate::report;
use crate::run::{UsualDurations, usual_durations};

/// What moves while something is at work.
const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// A terminal narrower than this has no room for what a step prints.
const NARROW: usize = 50;

/// The live board on a terminal: a line a stage that is at work, with its time, how long it usually takes, and its current step; a
/// stage that ended leaves one line above it.
pub(super) struct Board {
    painter: Painter<Stderr>,
    colours: bool,
    /// The archive that knows how long things take.
    archive: Option<Archive>,
    usual: UsualDurations,
    running: BTreeMap<(Option<TargetName>, Stage), Line>,
    ticks: usize,
    stopping: bool,
}

/// A stage that is at work.
struct Line {
    since: Instant,
    /// The current step, or the last line that it printed.
    doing: String,
    /// Bytes that were moved, and of how many, where that is known.
    progress: Option<(u64, Option<u64>)>,
}

impl Line {
    fn new() -> Self {
        Self { since: Instant::now(), doing: String::new(), progress: None }
    }

    fn says(&self) -> String {
        match self.progress {
            None => self.doing.clone(),
            Some((done, None)) => format!("{}: {}", self.doing, report::bytes(done)),
            Some((done, Some(total))) => {
                format!("{}: {} of {}", self.doing, report::bytes(done), report::bytes(total.max(done)))
            }
        }
    }
}

impl Board {
    /// A board on standard error. `archive` is asked how long the stages of the package usually take.
    pub fn new(archive: Option<Archive>) -> Self {
        let colours = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
        Self {
            painter: Painter::new(std::io::stderr()),
            colours,
            archive,
            usual: UsualDurations::new(),
            running: BTreeMap::new(),
            ticks: 0,
            stopping: false,
        }
    }

    fn line(&mut self, target: Option<&TargetName>, stage: Stage) -> &mut Line {
        self.running.entry((target.cloned(), stage)).or_insert_with(Line::new)
    }

    /// Draws the board anew, and a line above it that stays.
    fn draw(&mut self, above: Option<String>) {
        let size = terminal::size();
        let (columns, _) = room(size);
        let spinner = SPINNER[self.ticks % SPINNER.len()];
        let mut lines = lines(&self.running, &self.usual, Instant::now(), spinner, columns);
        if self.stopping {
            lines.push(STOPPING.to_owned());
        }
        // A terminal that is gone is no reason to stop.
        let _ = self.painter.paint(above.as_slice(), &lines, size);
    }

    fn mark(&self, passed: bool) -> String {
        let (mark, colour) = if passed { ("✓", AnsiColor::Green) } else { ("✗", AnsiColor::Red) };
        match self.colours {
            true => {
                let style = Style::new().fg_color(Some(colour.into())).bold();
                format!("{style}{mark}{style:#}")
            }
            false => mark.to_owned(),
        }
    }
}

impl View for Board {
    fn show(&mut self, event: &Event) {
        match event {
            Event::RunStarted { run, package, commit, version, .. } => {
                self.usual = self.archive.as_ref().map(|it| usual_durations(it, package)).unwrap_or_default();
                self.draw(Some(format!("{package} {version} ({commit:.12}) · run {run}")));
            }
            Event::StageStarted { target, stage } => {
                self.line(target.as_ref(), *stage);
            }
            Event::Step { target, stage, title } => {
                let line = self.line(target.as_ref(), *stage);
                (line.doing, line.progress) = (title.clone(), None);
            }
            Event::Output { target, stage, line: printed } => {
                if !printed.trim().is_empty() {
                    let line = self.line(target.as_ref(), *stage);
                    (line.doing, line.progress) = (printed.clone(), None);
                }
            }
            Event::Progress { target, stage, done, total } => {
                self.line(target.as_ref(), *stage).progress = Some((*done, *total));
            }
            Event::StageFinished { target, stage, outcome, duration_ms, reused } => {
                self.running.remove(&(target.clone(), *stage));
                let ending = ending(outcome, *duration_ms, reused.as_deref());
                let (mark, subject) = (self.mark(outcome.passed()), subject(target.as_ref(), *stage));
                self.draw(Some(format!("{mark} {subject:32} {ending}")));
            }
            Event::Warning { message } => self.draw(Some(format!("! {message}"))),
            Event::RunFinished { .. } | Event::FilesVerified { .. } => self.end(),
        }
    }

    fn period(&self) -> Option<Duration> {
        Some(Duration::from_millis(150))
    }

    fn tick(&mut self) {
        self.ticks += 1;
        if !self.running.is_empty() || self.stopping {
            self.draw(None);
        }
    }

    fn stopping(&mut self) {
        self.stopping = true;
        self.draw(None);
    }

    fn end(&mut self) {
        self.running.clear();
        self.stopping = false;
        self.draw(None);
    }
}

/// A line for each stage at work, for a terminal that is so wide.
fn lines(
    running: &BTreeMap<(Option<TargetName>, Stage), Line>,
    usual: &UsualDurations,
    now: Instant,
    spinner: &str,
    columns: usize,
) -> Vec<String> {
    let subjects: Vec<String> =
        running.keys().map(|(target, stage)| subject(target.as_ref(), *stage)).collect();
    let widest = subjects.iter().map(|subject| subject.width()).max().unwrap_or_default();
    let one = |((what, line), subject): ((&(Option<TargetName>, Stage), &Line), &String)| {
        let elapsed = now.saturating_duration_since(line.since).as_secs();
        let time = match usual.get(what) {
            // Less than a second is no time to wait for.
            Some(usual @ 1000..) => format!("{} of ~{}", seconds(elapsed), seconds(usual.div_ceil(1000))),
            _ => seconds(elapsed),
        };
        match columns < NARROW {
            true => format!("{spinner} {subject} {time}"),
            false => format!("{spinner} {subject:widest$} {time:>14}  {}", line.says()),
        }
    };
    running.iter().zip(&subjects).map(one).collect()
}

/// `5s`, `2m 05s`.
fn seconds(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        _ => format!("{}m {:02}s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_tells_its_time_how_long_it_usually_takes_and_what_it_does() {
        let target: TargetName = "debian-12/deb".parse().unwrap();
        let now = Instant::now();
        let line = |ago, doing: &str, progress| Line {
            since: now - Duration::from_secs(ago),
            doing: doing.to_owned(),
            progress,
        };
        let running = BTreeMap::from([
            ((None, Stage::Prepare), line(5, "make", None)),
            ((Some(target.clone()), Stage::Deps), line(70, "load", Some((1 << 20, Some(4 << 20))))),
        ]);
        let usual =
            UsualDurations::from([((Some(target), Stage::Deps), 95_000), ((None, Stage::Prepare), 3)]);
        assert_eq!(
            lines(&running, &usual, now, "*", 100),
            [
                "* prepare                        5s  make",
                "* debian-12/deb deps 1m 10s of ~1m 35s  load: 1.0 MiB of 4.0 MiB"
            ]
        );
        assert_eq!(lines(&running, &usual, now, "*", 40)[1], "* debian-12/deb deps 1m 10s of ~1m 35s");
    }
}
