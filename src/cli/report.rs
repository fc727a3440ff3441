use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;

use super::archive::json;
use super::args::{Common, OutputFormat};
use super::ci::{Ci, CiChoice};
use super::context;
use super::error::CliError;
use super::reports::{self, ReportFiles};
use crate::archive::Archive;
use crate::run::{archived_tails, write_page, write_site};
use crate::support::fs::PathContext;

#[derive(Args, Debug)]
pub(super) struct ReportArguments {
    /// A run's id, the beginning of one, or `latest` [default: latest]
    pub run: Option<String>,
    #[command(flatten)]
    pub files: ReportFiles,
    /// Show the page in a browser
    #[arg(long, conflicts_with = "reports")]
    pub open: bool,
    /// Write a page for each of the newest runs, and their list, into this folder; what is there already is not written again
    #[arg(long, value_name = "DIR", conflicts_with_all = ["run", "reports"])]
    pub site: Option<PathBuf>,
    /// With --site: at most so many runs
    #[arg(long, value_name = "N", requires = "site", default_value_t = 1000)]
    pub limit: usize,
}

/// `packhold report`
pub(super) fn report(common: &Common, arguments: ReportArguments) -> Result<u8, CliError> {
    let archive = context::existing_archive(common)?;
    if let Some(folder) = &arguments.site {
        return site(common, &archive, folder, &arguments);
    }
    let run = archive.run(arguments.run.as_deref().unwrap_or("latest"))?;
    let files = &arguments.files.reports;
    if !files.is_empty() {
        let tails = archived_tails(&archive, &run.record);
        let pipeline = Ci::of(CiChoice::Auto).pipeline(&run.record);
        reports::write(&reports::Views { record: &run.record, tails: &tails, pipeline }, &archive, files)?;
        return Ok(0);
    }
    let folder = context::folders().reports();
    std::fs::create_dir_all(&folder).at("create", &folder)?;
    let page = folder.join(format!("{}.html", run.record.id));
    write_page(&archive, &run, &page)?;
    say(common, &page);
    if arguments.open {
        open(&page)?;
    }
    Ok(0)
}

fn site(
    common: &Common,
    archive: &Archive,
    folder: &Path,
    arguments: &ReportArguments,
) -> Result<u8, CliError> {
    let written = write_site(archive, folder, arguments.limit)?;
    let index = folder.join("index.html");
    match common.format {
        OutputFormat::Json => json(&serde_json::json!({
            "page": index, "runs": written.runs, "written": written.pages,
            "damaged": written.damaged.iter().map(|(run, why)| serde_json::json!({ "run": run, "why": why })).collect::<Vec<_>>(),
        })),
        _ => {
            for (run, why) in &written.damaged {
                eprintln!("run {run} has no page: {why}");
            }
            println!("{}: {} runs, {} pages written", index.display(), written.runs, written.pages);
        }
    }
    if arguments.open {
        open(&index)?;
    }
    Ok(if written.damaged.is_empty() { 0 } else { 3 })
}

fn say(common: &Common, page: &Path) {
    match common.format {
        OutputFormat::Json => json(&serde_json::json!({ "page": page })),
        _ => println!("{}", page.display()),
    }
}

/// Shows a page with the program that the user has chosen for it (xdg-open(1)).
fn open(page: &Path) -> Result<(), CliError> {
    let failed = |why: String| CliError::Usage {
        message: format!("cannot show {}: {why}", page.display()),
        hint: "open it with a browser".to_owned(),
    };
    let started = Command::new("xdg-open").arg(page).stdin(Stdio::null()).stdout(Stdio::null()).status();
    let status = started.map_err(|error| failed(format!("xdg-open does not start: {error}")))?;
    match status.success() {
        true => Ok(()),
        false => Err(failed(format!("xdg-open ended with {status}"))),
    }
}
