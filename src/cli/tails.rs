use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::archive::Archive;
use crate::model::{LogRef, RunRecord, StageRecord};
use crate::report;
use crate::support::terminal_text::{clip, neutralise};

/// Lines of a failed stage's log that are shown.
const TAIL_LINES: usize = 15;

/// Characters of a line that fits a screen.
const LINE_LENGTH: usize = 200;

/// Bytes of a log's end in which they are looked for.
const TAIL_BYTES: usize = 16 << 10;

/// The last lines of the logs of stages that did not pass.
pub(super) fn tails<'a>(stages: impl Iterator<Item = &'a StageRecord>, folder: &Path) -> report::Tails {
    let failed = stages.filter(|stage| !stage.outcome.passed()).filter_map(|stage| stage.log.as_ref());
    failed.map(|log| (log.name.clone(), last_lines(&folder.join(&log.name)))).collect()
}

/// The same of a run whose logs are in the archive.
pub(super) fn archived_tails(archive: &Archive, record: &RunRecord) -> report::Tails {
    let failed =
        record.stages().filter(|stage| !stage.outcome.passed()).filter_map(|stage| stage.log.as_ref());
    let tail = |log: &LogRef| {
        let mut end = End::default();
        let read = archive.open_blob(&log.digest).map(|mut reader| std::io::copy(&mut reader, &mut end));
        read.map(|_| lines(&end.bytes)).unwrap_or_default()
    };
    failed.map(|log| (log.name.clone(), tail(log))).collect()
}

/// Keeps the last bytes of what is written.
#[derive(Default)]
struct End {
    bytes: Vec<u8>,
}

impl Write for End {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.bytes.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL_BYTES)..]);
        let before = self.bytes.len().saturating_sub(TAIL_BYTES);
        self.bytes.drain(..before);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn last_lines(path: &Path) -> Vec<String> {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(path)?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(TAIL_BYTES as u64)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    lines(&read().unwrap_or_default())
}

fn lines(bytes: &[u8]) -> Vec<String> {
    let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    let last = lines.iter().skip(lines.len().saturating_sub(TAIL_LINES));
    last.map(|line| clip(&neutralise(line), LINE_LENGTH)).collect()
}
