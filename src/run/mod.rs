//! The scheduler: a pipeline and a commit become a run record.
//!
//! Targets run side by side in one task; what blocks goes to threads of its own. A target's failure stops no other target.
//! Whatever happens, what was started is removed before [`execute`] returns.

mod changes;
mod diff;
mod doctor;
mod doctor_keys;
mod eject;
mod error;
mod files;
mod folders;
mod generated;
mod images;
mod import;
mod input_changes;
mod inputs;
mod locked;
mod new_file;
mod pages;
mod platform;
mod prepared;
mod preview;
mod previous;
mod publish;
mod published;
mod release;
mod replay;
mod reproduce;
mod request;
mod shell;
mod source;
mod stage_why;
mod tails;
mod target;
mod update;
mod usual;
mod why;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

pub use diff::diff;
pub use doctor::{Finding, Health, Signing, examine};
pub use eject::{Ejected, eject};
pub use error::{RunError, exit_code_of};
pub use files::{VerifyFiles, verify_files};
pub use folders::{Folders, Swept, sweep};
pub use import::{ImportRequest, ImportedRepository, import};
pub use new_file::{create_text, write_text};
pub use pages::{WrittenSite, write_page, write_site};
pub use preview::{Preview, TargetPreview, preview};
pub use publish::{Destination, PublishRequest, PublishedRun, SigningKeys, publish, roll_back};
pub use published::{CheckPublished, PublishedRepository, RepositoryFiles, check_published};
pub use release::{ReleaseTag, guard, released, tag, untag};
pub use replay::{Replay, ReplayRequest, ReplayedArtifact, ReplayedTarget, replay};
pub use request::{CheckReproducible, Request};
pub use shell::{Left, ShellRequest, Standing, shell};
pub use tails::{archived_tails, tails};
pub use update::{Updated, sharing_builders, update};
pub use usual::{UsualDurations, usual_durations};
pub use why::{Asked, why};

use crate::archive::Archive;
use crate::engine::{Engine, EngineInfo};
use crate::model::{
    Architecture, EngineRecord, Event, InfraReason, LockRecord, Outcome, RunId, RunRecord, Stage, TargetName,
    TargetRecord, ToolRecord,
};
use crate::sandbox::reap;
use crate::stage::{
    BaseChoice, Contents, DeclaredLists, ImagePolicy, ImageStore, MirrorLists, PackageLists, Recorder,
    Reporter, Workshop, archive,
};

/// Runs a pipeline. The result says what happened, also when nothing was built; an error means that no run began.
pub async fn execute(
    mut request: Request,
    events: UnboundedSender<Event>,
    cancel: CancellationToken,
) -> Result<RunRecord, RunError> {
    let started = Timestamp::now();
    let start = Instant::now();
    let engine = request.engine.info().await?;
    platform::settle(&mut request, &engine)?;
    let scratch = request.folders.scratch()?;
    let mut shop = open_shop(&request, started, scratch.path(), Reporter::new(events), cancel)?;
    clean_up_after(&request.folders, &shop).await?;
    for shortcoming in &engine.shortcomings {
        shop.reporter.warn(format!("this engine: {}", shortcoming.why));
    }

    let source = source::source(&shop, &request).await?;
    let targets: Vec<_> = request.pipeline.targets.iter().map(|target| target.name.clone()).collect();
    shop.reporter.say(Event::RunStarted {
        run: shop.run.clone(),
        package: request.pipeline.name.clone(),
        commit: source.record.commit.clone(),
        version: source.record.version.describe.clone(),
        targets,
    });
    let mut recorder = Recorder::start(&shop, None, Stage::Source);
    if source.record.dirty {
        recorder.warn(format!(
            "{} has uncommitted changes; they are not built: only the commit {:.12} is",
            source.record.repository, source.record.commit
        ));
    }
    recorder.doing(&format!("export {:.12}", source.record.commit));
    let source_stage = recorder.finish(Outcome::Passed);

    let mut resolved = BTreeMap::new();
    if let Some(file) = &request.lock {
        match locked::check(&shop, &request, &source, &file.lock).await {
            Ok(images) => shop.policy = ImagePolicy::Locked(images),
            Err(wrong) => resolved = locked::refuse(&request, &wrong),
        }
    }
    let prepared = prepared::SharedPrepare::new(&shop, &request, &source.tree)?;
    if matches!(shop.policy, ImagePolicy::Locked(_)) {
        resolved = locked::resolve_all(&shop, &request, &source, &prepared).await;
    }
    let permits = tokio::sync::Semaphore::new(request.jobs.max(1));
    let runs = request.pipeline.targets.iter().map(|section| {
        let resolved = resolved.get(&section.name).cloned();
        target::run(&shop, &request, &source, section, &prepared, &permits, resolved)
    });
    let finished = futures_util::future::join_all(runs).await;

    let mut shared = vec![source_stage];
    shared.extend(prepared.finish().await);
    let mut targets = Vec::new();
    let mut artifacts = BTreeMap::new();
    for (record, folder) in finished {
        if let Some(folder) = folder {
            artifacts.insert(record.target.clone(), folder);
        }
        targets.push(record);
    }
    let outcome =
        Outcome::of_all(shared.iter().map(|s| &s.outcome).chain(targets.iter().map(|t| &t.outcome)));
    let mut record = RunRecord {
        schema: 1,
        id: shop.run.clone(),
        package: request.pipeline.name.clone(),
        pipeline: request.file.path.display().to_string(),
        pipeline_digest: crate::model::Digest::of(&request.file.text),
        lock: request.lock.as_ref().map(|lock| LockRecord {
            file: lock.path.display().to_string(),
            digest: crate::model::Digest::of(&lock.text),
        }),
        source: source.record.clone(),
        tool: ToolRecord { name: "packhold".into(), version: env!("CARGO_PKG_VERSION").into() },
        engine: engine_record(engine),
        started,
        duration_ms: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
        shared,
        targets,
        images: shop.images.used(),
        warnings: source.warnings.clone(),
        outcome,
    };
    store(&shop, &request, &source, &mut record, artifacts).await;
    shop.reporter.say(Event::RunFinished { record: Box::new(record.clone()) });
    Ok(record)
}

fn open_shop(
    request: &Request,
    now: Timestamp,
    scratch: &std::path::Path,
    reporter: Reporter,
    cancel: CancellationToken,
) -> Result<Workshop, RunError> {
    let (engine, archive) = (request.engine.clone(), request.archive.clone());
    let (base, place) = (request.base.clone(), (now, scratch));
    let shop = open_shop_for(engine, archive, base, &request.folders, place, reporter, cancel)?;
    Ok(Workshop { init: request.init, ..shop })
}

fn open_shop_for(
    engine: Arc<dyn Engine>,
    archive: Archive,
    base: BaseChoice,
    folders: &Folders,
    (now, scratch): (Timestamp, &std::path::Path),
    reporter: Reporter,
    cancel: CancellationToken,
) -> Result<Workshop, RunError> {
    let random = u32::try_from(ulid::Ulid::generate().random() & 0xffff_ffff).unwrap_or_default();
    let run = RunId::new(now, random);
    let logs = folders.logs(&run)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(Workshop {
        run,
        engine,
        archive,
        images: ImageStore::default(),
        policy: ImagePolicy::default(),
        lists: MirrorLists::default(),
        package_lists: PackageLists::in_folder(folders.package_lists()),
        declared_lists: DeclaredLists::in_folder(folders.declared_lists()),
        base,
        reporter,
        cancel,
        scratch: scratch.to_owned(),
        logs,
        // Every target gets all cores: the kernel shares them better than a guess would.
        build_jobs: cores,
        init: true,
    })
}

/// Removes what dead runs left, so that nothing piles up where nobody calls `packhold clean`.
async fn clean_up_after(folders: &Folders, shop: &Workshop) -> Result<(), RunError> {
    let reaped = reap(shop.engine.as_ref()).await?;
    let swept = sweep(folders, &shop.archive)?;
    if reaped.containers + reaped.snapshots + swept.folders > 0 {
        shop.reporter.warn(format!(
            "removed what dead runs left: {} containers, {} snapshots, {} temporary folders",
            reaped.containers, reaped.snapshots, swept.folders
        ));
    }
    Ok(())
}

fn engine_record(engine: EngineInfo) -> EngineRecord {
    let EngineInfo { kind, version, arch, kernel, cores, .. } = engine;
    EngineRecord { kind, version, arch, kernel, cores }
}

/// The archive stage. It is not among the record's stages, because the record is what it stores; if it fails, the
/// record's outcome says so.
async fn store(
    shop: &Workshop,
    request: &Request,
    source: &source::Source,
    record: &mut RunRecord,
    artifacts: BTreeMap<TargetName, std::path::PathBuf>,
) {
    let stopped = |reason: InfraReason| {
        let outcomes = record.targets.iter().map(|t: &TargetRecord| &t.outcome).chain([&record.outcome]);
        outcomes.into_iter().any(|o| matches!(o, Outcome::Infra { reason: r, .. } if *r == reason))
    };
    if stopped(InfraReason::Interrupted) {
        shop.reporter.warn("the run was interrupted and is not archived");
        return;
    }
    let images = request.pipeline.archive_images && !stopped(InfraReason::EngineLost);
    let mut builders = BTreeMap::new();
    let names = request.pipeline.targets.iter().map(|t| &t.name.builder);
    for name in names.chain(request.pipeline.prepare.iter().map(|prepare| &prepare.builder)) {
        if let Ok(builder) = request.builders.load(name) {
            builders.extend(builder.files.into_iter().map(|(file, bytes)| (format!("{name}/{file}"), bytes)));
        }
    }
    let pipeline = ("pipeline.toml".to_owned(), request.file.text.clone().into_bytes());
    let receipt_key = request.receipt_key.clone();
    let lock = request.lock.as_ref().map(|lock| lock.text.clone().into_bytes());
    let source = source.tree.tar.clone();
    let contents = Contents { source, pipeline, lock, builders, artifacts, images, receipt_key };
    let mut recorder = Recorder::start(shop, None, Stage::Archive);
    let outcome = match archive(shop, &mut recorder, record, contents).await {
        Ok(_) => Outcome::Passed,
        Err(outcome) => outcome,
    };
    recorder.finish(outcome.clone());
    record.outcome = Outcome::of_all([&record.outcome, &outcome]);
}

/// The builder of that name for an architecture (`None`: the engine's own), shared by the targets that use it.
fn builder_of(
    request: &Request,
    name: &str,
    architecture: Option<Architecture>,
) -> Result<Arc<crate::config::Builder>, RunError> {
    Ok(Arc::new(request.builders.load_for(name, architecture)?))
}

/// The builder of a target.
fn builder_for(request: &Request, target: &TargetName) -> Result<Arc<crate::config::Builder>, RunError> {
    builder_of(request, &target.builder, target.architecture)
}
