//! A shell where a step of an archived run failed.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use super::inputs::Inputs;
use super::previous::files;
use super::why::last_run_of;
use super::{Folders, RunError, open_shop_for, platform};
use crate::archive::{Archive, ArchiveError};
use crate::engine::{Command, Engine, ExecStatus, Session, Sink};
use crate::model::{Architecture, Event, Outcome, RunId, Stage, StageRecord, TargetName, TargetRecord};
use crate::sandbox::{Sandbox, SandboxError};
use crate::stage::{
    BaseChoice, BuildOf, DepsRequest, Opened, Place, Recorder, Reporter, ShellOf, StageResult, Workshop,
    infrastructure, shell as open,
};

/// Shells that a person likes better than `/bin/sh`.
const BETTER: &str = "/bin/bash";

/// A shell that is asked for.
pub struct ShellRequest {
    /// The archive that has the run.
    pub archive: Archive,
    /// What runs the container.
    pub engine: Arc<dyn Engine>,
    /// Where caches and logs are.
    pub folders: Folders,
    /// The target.
    pub target: TargetName,
    /// The run: an id, the beginning of one, or `latest`; `None` is the last that has the target.
    pub run: Option<String>,
    /// The stage; `None` is the one that did not pass, or the build.
    pub stage: Option<Stage>,
    /// Whether the failed step is run first.
    pub after: bool,
    /// Whether the container has a network.
    pub network: bool,
    /// The kind of the person's terminal, as `TERM` says it; `None` if commands are read from somewhere else.
    pub terminal: Option<String>,
}

/// A shell that is about to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The run.
    pub run: RunId,
    /// The target.
    pub target: TargetName,
    /// Where.
    pub opened: Opened,
}

/// How a shell ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// With this exit status.
    Exited(i64),
    /// The container was gone: a limit of memory was reached, or somebody removed it.
    Gone,
    /// It could not be opened.
    NotOpened(Outcome),
}

/// Opens a shell in the environment of a step of an archived run: the same image, files, user, folder, variables and limits, made
/// anew. `begin` is told what was opened, and gives what the shell reads; `sink` takes what it prints. The container is
/// removed before this returns.
pub async fn shell(
    request: ShellRequest,
    events: UnboundedSender<Event>,
    cancel: CancellationToken,
    begin: impl FnOnce(&Standing) -> Session,
    sink: &mut Sink<'_>,
) -> Result<Left, RunError> {
    let info = request.engine.info().await?;
    let scratch = request.folders.scratch()?;
    let place = (Timestamp::now(), scratch.path());
    let base = BaseChoice { registry: Some("none".to_owned()), ..BaseChoice::default() };
    let (engine, archive) = (request.engine.clone(), request.archive.clone());
    let shop = open_shop_for(engine, archive, base, &request.folders, place, Reporter::new(events), cancel)?;
    let run = match &request.run {
        Some(run) => request.archive.run(run)?,
        None => last_run_of(&request.archive, &request.target)?,
    };
    let record = &run.record;
    let target = record.targets.iter().find(|target| target.target == request.target).cloned();
    let target = target.ok_or_else(|| ArchiveError::UnknownTarget {
        run: record.id.clone(),
        target: request.target.to_string(),
        known: record.targets.iter().map(|target| target.target.to_string()).collect(),
    })?;
    // What names no architecture was for that of the engine which built it.
    let native = Architecture::of_oci(&record.engine.arch);
    let architecture = target.target.architecture.or(native);
    platform::check(&info, &[TargetName { architecture, ..target.target.clone() }])?;
    let shared = record.shared.clone();
    let inputs = Inputs::open(&request.archive, run, scratch.path())?;
    let stood = stand(&shop, &request, &inputs, &target, &shared, begin, sink).await;
    if stood.is_ok() {
        // Of a shell nobody reads the logs later. Why there was none may be in them.
        let _ = std::fs::remove_dir_all(&shop.logs);
    }
    Ok(stood.unwrap_or_else(Left::NotOpened))
}

async fn stand(
    shop: &Workshop,
    request: &ShellRequest,
    inputs: &Inputs,
    target: &TargetRecord,
    shared: &[StageRecord],
    begin: impl FnOnce(&Standing) -> Session,
    sink: &mut Sink<'_>,
) -> StageResult<Left> {
    let failed = failed_stage(target, shared);
    let stage = request.stage.or(failed.map(|stage| stage.stage)).unwrap_or(Stage::Build);
    let record = shared.iter().chain(&target.stages).find(|record| record.stage == stage);
    let before = record.and_then(stands_before);
    let (after, network) = (request.after, request.network);
    let enter = async |sandbox: Sandbox, opened: Opened| {
        let standing = Standing { run: inputs.run.record.id.clone(), target: request.target.clone(), opened };
        attach(&sandbox, request, standing, begin, sink).await
    };
    let recorder = |stage: Stage| {
        let of = (stage != Stage::Prepare).then_some(&target.target);
        Recorder::start(shop, of, stage)
    };
    let of = |place| ShellOf { place, before: before.as_deref(), after, network };
    let plan = || inputs.plan(&target.target);
    let tree = &inputs.tree;
    let ended = match stage {
        Stage::Prepare => {
            let (Some(prepare), Some(images)) = (&inputs.pipeline.prepare, inputs.prepare_images()?) else {
                return Err(nothing(stage, "its pipeline has no such stage"));
            };
            let builder = inputs.builder(&prepare.builder, None)?;
            let place = Place::Prepare { stage: prepare, builder: &builder, tree, images: &images };
            open(shop, recorder(stage), of(place), enter).await?
        }
        Stage::Deps => {
            let plan = plan()?;
            let from = inputs.builder_image(&target.target)?;
            let (declared, own) = (&plan.declared, &plan.section.deps[..]);
            let request = DepsRequest { builder: &plan.builder, declared, own, plan: Some(&plan) };
            open(shop, recorder(stage), of(Place::Deps { request, from: &from }), enter).await?
        }
        Stage::Build | Stage::Reproduce => {
            let plan = plan()?;
            let images = inputs.images(&target.target.builder, &target.images)?;
            let prepared = inputs.prepare(shop, |_| Ok(())).await?;
            let build = BuildOf { plan: &plan, tree, images: &images, prepared: prepared.as_ref() };
            open(shop, recorder(Stage::Build), of(Place::Build(build)), enter).await?
        }
        Stage::Verify => {
            let plan = plan()?;
            let images = inputs.images(&target.target.builder, &target.images)?;
            let packages = files(&target.artifacts, None);
            let section = inputs.pipeline.verify.for_target(&target.target);
            let (base, limits) = (&images.base, &section.limits);
            let place = Place::Verify { plan: &plan, tree, base, packages: &packages, limits };
            open(shop, recorder(stage), of(place), enter).await?
        }
        Stage::Source | Stage::Archive | Stage::Publish => {
            return Err(nothing(stage, "it runs no container"));
        }
    };
    match ended {
        Ok(ExecStatus::Exited { code, .. }) => Ok(Left::Exited(code)),
        Ok(ExecStatus::ContainerGone { .. } | ExecStatus::Abandoned) => Ok(Left::Gone),
        Err(error) => Err(infrastructure(stage, &error)),
    }
}

fn nothing(stage: Stage, why: &str) -> Outcome {
    Outcome::Broken {
        message: format!("there is nothing to open of the stage {stage}: {why}"),
        hint: "choose prepare, deps, build or verify with --stage".to_owned(),
    }
}

/// The stage that failed: of the target, or the shared one that kept it from being built.
fn failed_stage<'a>(target: &'a TargetRecord, shared: &'a [StageRecord]) -> Option<&'a StageRecord> {
    let own = target.stages.iter().find(|stage| !stage.outcome.passed());
    let skipped = matches!(target.outcome, Outcome::Skipped { .. });
    let of_all = shared.iter().find(|stage| skipped && !stage.outcome.passed());
    of_all.or(own)
}

/// The title of the step that failed, or of the last one; `None` where the stage failed after all its steps.
fn stands_before(stage: &StageRecord) -> Option<String> {
    let failed = stage.steps.iter().find(|step| step.exit != Some(0));
    let last = stage.steps.last().filter(|_| stage.outcome.passed());
    failed.or(last).map(|step| step.title.clone())
}

/// Starts the shell.
async fn attach(
    sandbox: &Sandbox,
    request: &ShellRequest,
    standing: Standing,
    begin: impl FnOnce(&Standing) -> Session,
    sink: &mut Sink<'_>,
) -> Result<ExecStatus, SandboxError> {
    let mut command = standing.opened.here.clone();
    command.argv = vec!["/bin/sh".to_owned()];
    if let Some(term) = &request.terminal {
        let prompt = format!("[{} {}]", request.target, standing.opened.stage);
        command.env.insert("TERM".to_owned(), term.clone());
        command.env.insert("PS1".to_owned(), format!("{prompt} $ "));
        if has(sandbox, BETTER, &command).await? {
            command.argv = [BETTER, "--noprofile", "--norc", "-i"].map(str::to_owned).to_vec();
            command.env.insert("PS1".to_owned(), format!("{prompt} \\w\\$ "));
        }
    }
    let session = begin(&standing);
    sandbox.attach(&command, session, sink).await
}

/// Whether a program is there.
async fn has(sandbox: &Sandbox, program: &str, like: &Command) -> Result<bool, SandboxError> {
    let argv = ["/bin/sh", "-c", "test -x \"$0\"", program].map(str::to_owned).to_vec();
    let command = Command { argv, ..like.clone() };
    let (mut unread, nothing) = (|_: &[u8]| std::ops::ControlFlow::Continue(()), tokio::io::empty());
    let session = Session { input: Box::pin(nothing), terminal: None };
    let status = sandbox.attach(&command, session, &mut unread).await?;
    Ok(matches!(status, ExecStatus::Exited { code: 0, .. }))
}
