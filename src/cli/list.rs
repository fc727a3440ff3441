use std::io::{ErrorKind, Write};
use std::sync::mpsc;

use super::args::{Common, ListArguments, OutputFormat};
use super::error::CliError;
use crate::archive::{Archive, RunFilter, RunSummary};
use crate::model::Digest;
use crate::support::fs::PathContext;

/// So many runs are handed over at once.
const BATCH: usize = 1024;

/// So many bytes are written at once.
const BLOCK: usize = 1 << 18;

/// `packhold archive list`.
pub(super) fn list(common: &Common, archive: &Archive, arguments: ListArguments) -> Result<u8, CliError> {
    let filter = RunFilter {
        file: arguments.artifact.as_deref().map(file_digest).transpose()?,
        package: arguments.package,
        version: arguments.version,
        commit: arguments.commit,
        target: arguments.target,
        outcome: arguments.outcome,
        since: arguments.since,
        until: arguments.until,
    };
    let limit = arguments.limit.unwrap_or(usize::MAX);
    // Who reads the output may take hours, and the catalogue is not kept so long: its runs wait here. They go back to where
    // they came from: an allocator makes threads wait for each other that give back what another took.
    let (send, receive) = mpsc::channel();
    let (give_back, used) = mpsc::channel();
    std::thread::scope(|scope| {
        let search = scope.spawn(|| search(archive, &filter, limit, send, used));
        let printed = print(common.format, receive, give_back);
        let listed = search.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let printed = printed.and_then(|()| {
            if listed > 0 || common.format == OutputFormat::Json {
                return Ok(());
            }
            let such = if filter == RunFilter::default() { "" } else { "such " };
            writeln!(std::io::stdout(), "no {such}runs in {}", archive.path().display())
        });
        match printed {
            // As of `archive list | head`.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(0),
            printed => Ok(printed.map(|()| 0).at("write", "standard output")?),
        }
    })
}

/// Finds runs; how many there are.
fn search(
    archive: &Archive,
    filter: &RunFilter,
    limit: usize,
    found: mpsc::Sender<Vec<RunSummary>>,
    used: mpsc::Receiver<Vec<RunSummary>>,
) -> Result<usize, CliError> {
    let mut count = 0;
    let mut batch = Vec::with_capacity(BATCH);
    archive.for_each_run(filter, limit, |run| {
        count += 1;
        batch.push(run);
        if batch.len() == BATCH {
            let mut next = used.try_recv().unwrap_or_else(|_| Vec::with_capacity(BATCH));
            next.clear();
            // Nobody may want more of them.
            let _ = found.send(std::mem::replace(&mut batch, next));
        }
    })?;
    let _ = found.send(batch);
    Ok(count)
}

fn print(
    format: OutputFormat,
    runs: mpsc::Receiver<Vec<RunSummary>>,
    used: mpsc::Sender<Vec<RunSummary>>,
) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let mut block = Vec::with_capacity(BLOCK);
    for batch in runs {
        for run in &batch {
            line(format, run, &mut block)?;
        }
        let _ = used.send(batch);
        out.write_all(&block)?;
        block.clear();
    }
    out.flush()
}

fn line(format: OutputFormat, run: &RunSummary, out: &mut Vec<u8>) -> std::io::Result<()> {
    if format == OutputFormat::Json {
        serde_json::to_writer(&mut *out, run)?;
        return writeln!(out);
    }
    write!(out, "{}  {} {}  {}  [", run.id, run.package, run.version, run.outcome)?;
    for (index, target) in run.targets.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        write!(out, "{comma}{} {}", target.target, target.outcome)?;
    }
    writeln!(out, "]")
}

/// The digest that is meant: that of a file, or one that is written.
fn file_digest(text: &str) -> Result<Digest, CliError> {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    if let Ok(digest) = Digest::from_hex(&hex.to_ascii_lowercase()) {
        return Ok(digest);
    }
    let mut file = std::fs::File::open(text).at("read", text)?;
    let mut hasher = crate::model::Hasher::new();
    std::io::copy(&mut file, &mut hasher).at("read", text)?;
    Ok(hasher.finish().0)
}
