use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::output::{View, ending, subject};
use crate::model::{Event, Stage, TargetName};

/// The live board on a terminal: a line a stage that is at work, with its time and current step; a stage that ended
/// leaves one line above it.
pub(super) struct Board {
    lines: MultiProgress,
    running: BTreeMap<(Option<TargetName>, Stage), ProgressBar>,
}

impl Board {
    pub fn new() -> Self {
        Self { lines: MultiProgress::new(), running: BTreeMap::new() }
    }

    fn say(&self, text: &str) {
        // A terminal that is gone is no reason to stop.
        let _ = self.lines.println(text);
    }

    fn line(&mut self, target: Option<&TargetName>, stage: Stage) -> &ProgressBar {
        let lines = &self.lines;
        self.running.entry((target.cloned(), stage)).or_insert_with(|| {
            let style = ProgressStyle::with_template("{spinner} {prefix:32} {elapsed:>5} {wide_msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
            let bar = lines.add(ProgressBar::new_spinner().with_style(style));
            bar.set_prefix(subject(target, stage));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        })
    }
}

impl View for Board {
    fn show(&mut self, event: &Event) {
        match event {
            Event::RunStarted { run, package, commit, version, .. } => {
                self.say(&format!("{package} {version} ({commit:.12}) · run {run}"));
            }
            Event::StageStarted { target, stage } => {
                self.line(target.as_ref(), *stage);
            }
            Event::Step { target, stage, title } => {
                self.line(target.as_ref(), *stage).set_message(title.clone())
            }
            Event::Output { target, stage, line } => {
                if !line.trim().is_empty() {
                    self.line(target.as_ref(), *stage).set_message(line.clone());
                }
            }
            Event::StageFinished { target, stage, outcome, duration_ms, reused } => {
                if let Some(bar) = self.running.remove(&(target.clone(), *stage)) {
                    bar.finish_and_clear();
                }
                let mark = if outcome.passed() { "✓" } else { "✗" };
                let ending = ending(outcome, *duration_ms, reused.as_deref());
                self.say(&format!("{mark} {:32} {ending}", subject(target.as_ref(), *stage)));
            }
            Event::Warning { message } => self.say(&format!("! {message}")),
            Event::RunFinished { .. } | Event::FilesVerified { .. } => self.end(),
        }
    }

    fn end(&mut self) {
        for bar in std::mem::take(&mut self.running).into_values() {
            bar.finish_and_clear();
        }
    }
}
