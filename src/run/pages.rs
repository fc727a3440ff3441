//! Pages of archived runs, and the list of all of them, as files.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use super::RunError;
use super::changes::since;
use super::new_file::{persist, temporary, write_text};
use crate::archive::{Archive, FileRole, Run, RunFilter, RunSummary};
use crate::compare::{self, Contents};
use crate::model::{Artifact, ArtifactKind, Digest, RunRecord, Stage, StageRecord};
use crate::provenance::{RECEIPT, SIGNATURES};
use crate::report::html::{self, Listed, Page, Point, Receipt, Site, Trend};
use crate::report::log::Excerpt;
use crate::support::fs::PathContext;
use crate::support::percent::segment;

/// The largest package that is looked into for a page, bytes.
pub(super) const LARGEST_PACKAGE: u64 = 256 << 20;

/// The most runs in a plot.
const PLOTTED: usize = 60;

/// What writing a site gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WrittenSite {
    /// Runs in the list.
    pub runs: usize,
    /// Pages that were written; others were there already.
    pub pages: usize,
    /// Runs without a page, because the archive is damaged there, and what is wrong.
    pub damaged: Vec<(crate::model::RunId, String)>,
}

/// Writes the page of an archived run. Logs that are too long to be in it come beside it, into a folder that has its name and ends
/// in `.logs`. The page appears whole or not at all.
pub fn write_page(archive: &Archive, run: &Run, file: &Path) -> Result<(), RunError> {
    write_page_of(archive, run, file, None)
}

/// Writes a page for each of the newest runs, at most `limit`, and their list. A page that this version has written is left alone: what a run
/// did does not change.
pub fn write_site(archive: &Archive, folder: &Path, limit: usize) -> Result<WrittenSite, RunError> {
    let pages = folder.join("runs");
    fs::create_dir_all(&pages).at("create", &pages)?;
    let mut all: Vec<RunSummary> = archive.search(&RunFilter::default(), limit.saturating_add(1))?;
    let mut site = Site { archive: path_of(archive), more: all.len() > limit, ..Site::default() };
    all.truncate(limit);
    let mut written = WrittenSite { runs: all.len(), ..WrittenSite::default() };
    let mut trends: BTreeMap<(String, String), Trend> = BTreeMap::new();
    // The oldest first: a page leads to that of the run before.
    for summary in all.into_iter().rev() {
        let name = format!("{}.html", summary.id);
        let page = pages.join(&name);
        let mut one = || -> Result<Run, RunError> {
            let run = archive.run(summary.id.as_str())?;
            if !is_current(&page) {
                write_page_of(archive, &run, &page, Some("../index.html"))?;
                written.pages += 1;
            }
            Ok(run)
        };
        let found = match one() {
            Ok(run) => Some(run),
            // A folder that cannot be written is no matter of this run.
            Err(RunError::Fs(error)) => return Err(error.into()),
            Err(error) => {
                written.damaged.push((summary.id.clone(), error.to_string()));
                None
            }
        };
        if let Some(run) = &found {
            plot(&run.record, &mut trends);
        }
        site.runs.push(listed(summary, found.map(|_| format!("runs/{name}"))));
    }
    site.runs.reverse();
    site.trends = trends.into_values().collect();
    for points in site.trends.iter_mut().flat_map(|trend| [&mut trend.durations, &mut trend.sizes]) {
        points.drain(..points.len().saturating_sub(PLOTTED));
    }
    write_text(&folder.join("index.html"), &html::site(&site))?;
    Ok(written)
}

fn write_page_of(archive: &Archive, run: &Run, file: &Path, index: Option<&str>) -> Result<(), RunError> {
    let record = &run.record;
    let contents = contents(archive, record);
    let mut page = Page {
        record,
        archive: Some(path_of(archive)),
        receipt: receipt(run),
        logs: BTreeMap::new(),
        log_files: BTreeMap::new(),
        changes: since(archive, run, &contents, index.and(file.parent()))?,
        contents,
        index,
    };
    let folder = file.with_extension("logs");
    for stage in record.stages() {
        if let Some((name, excerpt)) = excerpt(archive, run, stage) {
            if !excerpt.whole {
                let address = keep_log(archive, run, &name, &folder)?;
                page.log_files.insert(name.clone(), address);
            }
            page.logs.insert(name, excerpt);
        }
    }
    write_text(file, &html::page(&page))
}

/// What is shown of a stage's log, if the archive has it and it can be read.
fn excerpt(archive: &Archive, run: &Run, stage: &StageRecord) -> Option<(String, Excerpt)> {
    let log = stage.log.as_ref()?;
    let kept = run.files.iter().any(|file| file.role == FileRole::Log && file.digest == log.digest);
    let reader = archive.open_blob(&log.digest).ok().filter(|_| kept)?;
    let excerpt = Excerpt::read(reader, log.size, &stage.steps).ok()?;
    Some((log.name.clone(), excerpt))
}

/// Writes a log beside the page, as text, and tells its address.
fn keep_log(archive: &Archive, run: &Run, name: &str, folder: &Path) -> Result<String, RunError> {
    fs::create_dir_all(folder).at("create", folder)?;
    // Names of logs are made of a target's name; another archive may say something else.
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect();
    let path = folder.join(format!("{plain}.txt"));
    let Some(file) = run.files.iter().find(|file| file.role == FileRole::Log && file.name == name) else {
        return Ok(String::new());
    };
    let mut out = temporary(&path)?;
    archive.copy_blob(&file.digest, &mut out)?;
    persist(out, &path)?;
    let folder = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(format!("{}/{plain}.txt", segment(&folder)))
}

/// The archive's folder, as it is called from everywhere.
fn path_of(archive: &Archive) -> String {
    std::path::absolute(archive.path()).unwrap_or_else(|_| archive.path().to_owned()).display().to_string()
}

fn receipt(run: &Run) -> Receipt {
    let has = |name: &str| run.files.iter().any(|file| file.role == FileRole::Receipt && file.name == name);
    match (has(RECEIPT), has(SIGNATURES)) {
        (false, _) => Receipt::None,
        (true, false) => Receipt::Unsigned,
        (true, true) => Receipt::Signed,
    }
}

/// What is in each package.
fn contents(archive: &Archive, record: &RunRecord) -> BTreeMap<Digest, Result<Contents, String>> {
    let all =
        record.targets.iter().flat_map(|target| &target.artifacts).filter(|artifact| is_package(artifact));
    let look = |artifact: &Artifact| {
        let bytes = read_package(archive, artifact)?;
        compare::contents(&artifact.name, &bytes).map_err(|error| error.to_string())
    };
    all.map(|artifact| (artifact.digest, look(artifact))).collect()
}

/// Whether a file is a deb or an rpm.
pub(super) fn is_package(artifact: &Artifact) -> bool {
    let extension = artifact.name.rsplit_once('.').map_or("", |(_, extension)| extension);
    artifact.kind != ArtifactKind::Description && matches!(extension, "deb" | "ddeb" | "udeb" | "rpm")
}

/// The bytes of a package, unless it is too large to be looked into or the archive does not have it.
pub(super) fn read_package(archive: &Archive, artifact: &Artifact) -> Result<Vec<u8>, String> {
    if artifact.size > LARGEST_PACKAGE {
        return Err("it is too large".to_owned());
    }
    let reader = archive.open_blob(&artifact.digest).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    let read: io::Result<usize> = reader.take(LARGEST_PACKAGE).read_to_end(&mut bytes);
    read.map_err(|error| error.to_string())?;
    Ok(bytes)
}

fn listed(run: RunSummary, page: Option<String>) -> Listed {
    let targets = run.targets.iter().map(|target| (target.target.to_string(), target.outcome.clone()));
    Listed {
        targets: targets.collect(),
        id: run.id,
        package: run.package,
        version: run.version,
        commit: run.commit,
        started: run.started,
        duration_ms: run.duration_ms,
        outcome: run.outcome,
        page,
    }
}

/// Adds a run to the plots of its targets.
fn plot(record: &RunRecord, trends: &mut BTreeMap<(String, String), Trend>) {
    for target in record.targets.iter().filter(|target| target.outcome.passed()) {
        let (package, name) = (record.package.clone(), target.target.to_string());
        let trend = trends.entry((package.clone(), name.clone())).or_insert_with(|| Trend {
            package,
            target: name,
            durations: Vec::new(),
            sizes: Vec::new(),
        });
        let label = format!("{}, {}", record.source.version.describe, record.started.strftime("%Y-%m-%d"));
        let packages = target.artifacts.iter().filter(|artifact| artifact.kind == ArtifactKind::Package);
        let size = packages.map(|artifact| artifact.size).sum();
        let duration = target.stages.iter().map(|stage| stage.duration_ms).sum();
        let point = |value| Point { label: label.clone(), value };
        trend.sizes.push(point(size));
        // What was not built again tells nothing of how long that takes.
        if target.stages.iter().all(|stage| stage.reused.is_none() || stage.stage == Stage::Deps) {
            trend.durations.push(point(duration));
        }
    }
}

/// Whether a page of this version is there.
fn is_current(page: &Path) -> bool {
    let mut start = Vec::new();
    let read = fs::File::open(page).and_then(|file| file.take(4096).read_to_end(&mut start));
    let mark = format!("<meta name=\"generator\" content=\"{}\">", html::GENERATOR);
    read.is_ok() && String::from_utf8_lossy(&start).contains(&mark)
}
