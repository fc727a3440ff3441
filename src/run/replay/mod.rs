//! Builds an archived run again from the archive alone and compares.

mod again;
mod beside;

use std::path::PathBuf;
use std::sync::Arc;

use again::Again;
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use super::{Folders, RunError, engine_record, open_shop_for, platform};
use crate::archive::{Archive, ArchiveError};
use crate::compare::{Comparison, Difference};
use crate::engine::Engine;
use crate::model::{Architecture, ArtifactKind, Digest, Event, Outcome, RunId, TargetName};
use crate::stage::{BaseChoice, Reporter};

/// A replay that is asked for.
pub struct ReplayRequest {
    /// The archive that has everything. It is only read.
    pub archive: Archive,
    /// The run: an id, the beginning of one, or `latest`.
    pub run: String,
    /// Only these targets; all, if empty.
    pub targets: Vec<TargetName>,
    /// What runs the containers.
    pub engine: Arc<dyn Engine>,
    /// Where caches and logs are.
    pub folders: Folders,
    /// Where packages that differ are kept, beside those of the archive and what diffoscope says of them; nowhere, if `None`.
    pub keep: Option<PathBuf>,
}

/// What a replay found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Replay {
    /// The run.
    pub run: RunId,
    /// Its targets.
    pub targets: Vec<ReplayedTarget>,
    /// How this machine differs from the one that ran it: member `packhold`, `engine`, `kernel` …
    pub environment: Vec<Difference>,
}

/// What became of one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReplayedTarget {
    /// The target.
    pub target: TargetName,
    /// Whether it could be built again; that a file differs is no failure of the build.
    pub outcome: Outcome,
    /// Its files, in the order of their names.
    pub artifacts: Vec<ReplayedArtifact>,
    /// How the packages in its deps image differ from what was recorded: member `NAME:ARCH`. Looked at where a file differs or
    /// the build failed.
    pub packages: Option<Vec<Difference>>,
}

/// How a file compares with the archived one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReplayedArtifact {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: ArtifactKind,
    /// The digest of the archived file; `None` if it was not there then.
    pub archived: Option<Digest>,
    /// The digest of the file that was built now; `None` if it was not built.
    pub built: Option<Digest>,
    /// What differs; `None` if one of them is missing.
    pub comparison: Option<Comparison>,
}

impl ReplayedArtifact {
    /// True when nothing but a signature differs.
    pub fn is_same(&self) -> bool {
        matches!(self.comparison, Some(Comparison::Identical | Comparison::SignatureDiffers))
    }
}

impl Replay {
    /// True when every target was built and every file is the same, apart from signatures.
    pub fn is_same(&self) -> bool {
        self.targets.iter().all(|t| t.outcome.passed() && t.artifacts.iter().all(ReplayedArtifact::is_same))
    }

    /// True when something could not be tried at all.
    pub fn is_infrastructure(&self) -> bool {
        self.targets.iter().any(|target| matches!(target.outcome, Outcome::Infra { .. }))
    }
}

/// Builds a run again from what the archive has, with no network, and compares every file. Nothing is asked of a mirror, a
/// registry or a repository, and nothing is written to the archive.
pub async fn replay(
    request: ReplayRequest,
    events: UnboundedSender<Event>,
    cancel: CancellationToken,
) -> Result<Replay, RunError> {
    let info = request.engine.info().await?;
    let scratch = request.folders.scratch()?;
    let place = (Timestamp::now(), scratch.path());
    let (of_engine, archive) = (request.engine.clone(), request.archive.clone());
    let base = BaseChoice { registry: Some("none".to_owned()), ..BaseChoice::default() };
    let shop =
        open_shop_for(of_engine, archive, base, &request.folders, place, Reporter::new(events), cancel)?;
    let run = request.archive.run(&request.run)?;
    for target in &request.targets {
        if !run.record.targets.iter().any(|known| known.target == *target) {
            return Err(ArchiveError::UnknownTarget {
                run: run.record.id.clone(),
                target: target.to_string(),
                known: run.record.targets.iter().map(|target| target.target.to_string()).collect(),
            }
            .into());
        }
    }
    let wanted = |target: &TargetName| request.targets.is_empty() || request.targets.contains(target);
    // What names no architecture was for that of the engine which built it.
    let native = Architecture::of_oci(&run.record.engine.arch);
    let places = run.record.targets.iter().map(|target| &target.target).filter(|target| wanted(target));
    let places: Vec<TargetName> = places
        .map(|target| TargetName { architecture: target.architecture.or(native), ..target.clone() })
        .collect();
    platform::check(&info, &places)?;
    let engine = engine_record(info);
    let again = Again::open(&request.archive, run, scratch.path())?;
    let record = &again.inputs.run.record;
    let environment = beside::environment(record, &engine);
    let mut targets = Vec::new();
    let mut prepared = None;
    for target in &record.targets {
        // What had no packages then has nothing to compare.
        if wanted(&target.target) && !target.artifacts.is_empty() {
            targets.push(again.target(&shop, target, &mut prepared, request.keep.as_deref()).await);
        }
    }
    Ok(Replay { run: record.id.clone(), targets, environment })
}
