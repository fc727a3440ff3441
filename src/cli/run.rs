use std::collections::BTreeMap;
use std::io::{IsTerminal, Read, Seek, SeekFrom};
use std::path::Path;

use tokio::sync::mpsc::unbounded_channel;

use super::args::{Common, OutputFormat, RunArguments};
use super::board::Board;
use super::context;
use super::error::CliError;
use super::output::{JsonLines, PlainLines, View};
use crate::model::{Outcome, RunRecord};
use crate::report;
use crate::support::terminal_text::neutralise;

/// Lines of a failed stage's log that are shown.
const TAIL_LINES: usize = 15;

/// `packhold run`
pub(super) async fn run(common: &Common, arguments: RunArguments) -> Result<u8, CliError> {
    let cancel = context::cancelled_by_signals();
    let request = context::request(common, arguments).await?;
    let (logs, archive) = (request.folders.state.join("runs"), request.archive.path().display().to_string());
    let (send, mut receive) = unbounded_channel();
    let terminal =
        std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
    let mut view: Box<dyn View> = match common.format {
        OutputFormat::Json => Box::new(JsonLines),
        OutputFormat::Auto if terminal => Box::new(Board::new()),
        _ => Box::new(PlainLines),
    };
    let show = tokio::spawn(async move {
        while let Some(event) = receive.recv().await {
            view.show(&event);
        }
        view.end();
    });
    let result = crate::run::execute(request, send, cancel).await;
    let _ = show.await;
    let record = result?;
    if common.format != OutputFormat::Json {
        let tails = tails(&record, &logs.join(record.id.as_str()));
        println!("\n{}", report::summary(&record, &tails).trim_end());
        if !matches!(record.outcome, Outcome::Infra { .. }) {
            println!("{}", report::archived_hint(&record, &archive));
        }
    }
    Ok(record.outcome.exit_code())
}

/// The last lines of the logs of stages that did not pass.
fn tails(record: &RunRecord, folder: &Path) -> BTreeMap<String, Vec<String>> {
    let stages = record.shared.iter().chain(record.targets.iter().flat_map(|target| &target.stages));
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
