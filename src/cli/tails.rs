use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use crate::model::StageRecord;
use crate::report;
use crate::support::terminal_text::neutralise;

/// Lines of a failed stage's log that are shown.
const TAIL_LINES: usize = 15;

/// The last lines of the logs of stages that did not pass.
pub(super) fn tails<'a>(stages: impl Iterator<Item = &'a StageRecord>, folder: &Path) -> report::Tails {
    let failed = stages.filter(|stage| !stage.outcome.passed()).filter_map(|stage| stage.log.as_ref());
    failed.map(|log| (log.name.clone(), last_lines(&folder.join(&log.name)))).collect()
}

fn last_lines(path: &Path) -> Vec<String> {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(path)?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(16 << 10)))?;
        let mut bytes = Vec::new();
        file.take(16 << 10).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    lines.iter().skip(lines.len().saturating_sub(TAIL_LINES)).map(|line| clip(&neutralise(line))).collect()
}

/// A line that fits a screen.
fn clip(line: &str) -> String {
    match line.char_indices().nth(200) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}
