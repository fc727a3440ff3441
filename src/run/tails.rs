//! The last lines of logs.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::archive::{Archive, ArchiveError};
use crate::model::{LogRef, RunRecord, StageRecord, StepRecord};
use crate::report;
use crate::support::terminal_text::{clip, neutralise};

/// Lines of a failed stage's log that are shown.
const TAIL_LINES: usize = 15;

/// Characters of a line that fits a screen.
const LINE_LENGTH: usize = 200;

/// Bytes of a log's end in which they are looked for.
const TAIL_BYTES: usize = 64 << 10;

/// The last lines of the logs of stages that did not pass.
pub fn tails<'a>(stages: impl Iterator<Item = &'a StageRecord>, folder: &Path) -> report::Tails {
    let failed = stages.filter(|stage| !stage.outcome.passed()).filter_map(|stage| stage.log.as_ref());
    failed.map(|log| (log.name.clone(), last_lines(&folder.join(&log.name)))).collect()
}

/// The same of a run whose logs are in the archive.
pub fn archived_tails(archive: &Archive, record: &RunRecord) -> report::Tails {
    let failed =
        record.stages().filter(|stage| !stage.outcome.passed()).filter_map(|stage| stage.log.as_ref());
    let tail = |log: &LogRef| {
        let mut end = End::default();
        let read = archive.open_blob(&log.digest).map(|mut reader| io::copy(&mut reader, &mut end));
        read.map(|_| lines(&end.bytes)).unwrap_or_default()
    };
    failed.map(|log| (log.name.clone(), tail(log))).collect()
}

/// The end of what a step of an archived run printed.
pub(super) fn step_tail(archive: &Archive, log: &LogRef, step: &StepRecord) -> Result<Vec<u8>, ArchiveError> {
    let mut reader = archive.open_blob(&log.digest)?;
    let mut end = End::default();
    let read = io::copy(&mut reader.by_ref().take(step.log_offset), &mut io::sink())
        .and_then(|_| io::copy(&mut reader.take(step.log_bytes), &mut end));
    read.map(|_| end.bytes).map_err(|error| ArchiveError::Damaged {
        what: format!("the log {}", log.name),
        reason: error.to_string(),
    })
}

/// Keeps the last bytes of what is written.
#[derive(Default)]
struct End {
    bytes: Vec<u8>,
}

impl Write for End {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL_BYTES)..]);
        let before = self.bytes.len().saturating_sub(TAIL_BYTES);
        self.bytes.drain(..before);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn last_lines(path: &Path) -> Vec<String> {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(path)?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(TAIL_BYTES as u64)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    lines(&read().unwrap_or_default())
}

/// The last lines of what was printed, made safe to show.
pub(super) fn lines(bytes: &[u8]) -> Vec<String> {
    let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    let last = lines.iter().skip(lines.len().saturating_sub(TAIL_LINES));
    last.map(|line| clip(&neutralise(line), LINE_LENGTH)).collect()
}
