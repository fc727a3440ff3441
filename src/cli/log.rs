use std::io::{BufRead, BufReader, Write};

use super::args::{Common, LogArguments};
use super::context;
use super::error::CliError;
use crate::archive::FileRole;
use crate::support::fs::PathContext;
use crate::support::terminal_text::neutralise;

/// `packhold log`: bytes of hostile builds, made safe to show.
pub(super) fn log(common: &Common, arguments: &LogArguments) -> Result<u8, CliError> {
    let archive = context::existing_archive(common)?;
    let run = archive.run(&arguments.run)?;
    let stem = arguments.target.as_ref().map(|target| format!("{}.", target.file_stem()));
    let mut out = std::io::stdout().lock();
    let mut shown = 0;
    for file in run.files.iter().filter(|file| file.role == FileRole::Log) {
        if stem.as_ref().is_some_and(|stem| !file.name.starts_with(stem.as_str())) {
            continue;
        }
        shown += 1;
        let mut reader = BufReader::new(archive.open_blob(&file.digest)?);
        let mut print = || -> std::io::Result<()> {
            writeln!(out, "==> {} <==", file.name)?;
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line)? > 0 {
                writeln!(out, "{}", neutralise(&line))?;
                line.clear();
            }
            Ok(())
        };
        match print() {
            // Whoever read the output has seen enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(0),
            printed => printed.at("read the log", &file.name)?,
        }
    }
    if shown == 0 {
        return Err(CliError::Usage {
            message: format!("run {} has no such log", run.record.id),
            hint: format!("`packhold archive show {}` lists what is kept of it", run.record.id),
        });
    }
    Ok(0)
}
