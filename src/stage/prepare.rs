use std::path::PathBuf;

use super::deps::{DepsRequest, TargetImages, deps, ensure_deps_loaded};
use super::environment::{BUILD_USER, OUT, PREPARED, SOURCE, as_build_user, container_limits, watch};
use super::outputs::repack;
use super::streams::{owned_by, read};
use super::{Conditions, Recorder, SourceTree, StageResult, Workshop, diagnose, infrastructure};
use crate::config::{Builder, PrepareStage};
use crate::engine::{Command, EngineError};
use crate::model::{Digest, FailReason};
use crate::plan::{Declared, Dependencies, PrepareInputs, prepare_key};
use crate::sandbox::{Privileges, Sandbox, SandboxError, SandboxSpec, SmallFile, scope};
use crate::support::fs::PathContext;

/// What the shared prepare stage made.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// A tar of the outputs, to be unpacked as `PACKHOLD_PREPARED`.
    pub tar: PathBuf,
}

/// Puts the source tree and the folders of the contract into a sandbox.
pub(super) async fn put_source(
    recorder: &mut Recorder,
    sandbox: &Sandbox,
    tree: &SourceTree,
    conditions: &Conditions,
) -> StageResult<()> {
    let stage = recorder.stage();
    let owner = conditions.owner();
    let own = conditions.own_folders();
    let own: Vec<_> = own.iter().map(|path| SmallFile::folder(path.trim_start_matches('/'), owner)).collect();
    if !own.is_empty() {
        sandbox.put_files("/", &own).await.map_err(|e| infrastructure(stage, &e))?;
    }
    let folders = [SOURCE, PREPARED, OUT].map(|name| SmallFile::folder(name, owner));
    sandbox.put_files(conditions.root(), &folders).await.map_err(|e| infrastructure(stage, &e))?;
    let tar = std::fs::File::open(&tree.tar).at("read", &tree.tar).map_err(|e| infrastructure(stage, &e))?;
    sandbox.put(&conditions.folder(SOURCE), owned_by(tar, owner)).await.map_err(|e| infrastructure(stage, &e))
}

/// The deps image and the key of the prepare stage: enough to know whether what it makes is needed at all.
pub async fn prepare_inputs(
    shop: &Workshop,
    recorder: &mut Recorder,
    stage: &PrepareStage,
    builder: &Builder,
    tree: &SourceTree,
) -> StageResult<(TargetImages, Digest)> {
    let nothing = Declared::Listed(Dependencies::default());
    let request = DepsRequest { builder, declared: &nothing, own: &stage.deps, plan: None };
    let (images, _) = deps(shop, recorder, request).await?;
    let key = prepare_key(PrepareInputs { stage, commit: &tree.commit, image: images.deps.id });
    Ok((images, key))
}

/// What running the prepare script is called.
pub(super) const PREPARE: &str = "run the prepare script";

/// The sandbox of the shared prepare stage.
pub(super) fn prepare_spec(
    shop: &Workshop,
    stage: &PrepareStage,
    builder: &Builder,
    images: &TargetImages,
) -> SandboxSpec {
    SandboxSpec {
        root: images.deps.id.into(),
        name: format!("{}-prepare", builder.name),
        privileges: Privileges::Build,
        limits: container_limits(&stage.limits),
        run: shop.run.to_string(),
        hostname: None,
    }
}

/// The command of the shared prepare stage.
pub(super) fn prepare_command(
    shop: &Workshop,
    stage: &PrepareStage,
    builder: &Builder,
    tree: &SourceTree,
) -> Command {
    let usual = Conditions::default();
    let mut env = stage.env.clone();
    env.extend([
        ("PACKHOLD_COMMIT".to_owned(), tree.commit.id.clone()),
        ("PACKHOLD_VERSION".to_owned(), tree.commit.version.deb.clone()),
        ("SOURCE_DATE_EPOCH".to_owned(), tree.commit.epoch.to_string()),
        ("PACKHOLD_SOURCE".to_owned(), usual.folder(SOURCE)),
        ("PACKHOLD_JOBS".to_owned(), shop.build_jobs.to_string()),
    ]);
    let argv = ["/bin/sh", "-eu", "-c", &stage.script].map(str::to_owned).to_vec();
    as_build_user(builder, argv, env, &usual)
}

/// Runs the shared prepare stage: its script in the source tree, with no network, as an ordinary user.
pub async fn prepare(
    shop: &Workshop,
    recorder: &mut Recorder,
    stage: &PrepareStage,
    builder: &Builder,
    tree: &SourceTree,
    images: &TargetImages,
) -> StageResult<Prepared> {
    ensure_deps_loaded(shop, recorder, builder, images).await?;
    let spec = prepare_spec(shop, stage, builder, images);
    let kind = recorder.stage();
    let tar = shop.scratch.join("prepared.tar");
    let usual = Conditions::default();
    let source = usual.folder(SOURCE);
    let command = prepare_command(shop, stage, builder, tree);
    let made = tar.clone();
    scope(&shop.engine, spec, &shop.cancel, |sandbox| async move {
        put_source(recorder, &sandbox, tree, &usual).await?;
        recorder.must(&sandbox, PREPARE, &command, &watch(&stage.limits)).await?;
        let mut outputs = tar::Builder::new(Vec::new());
        for path in &stage.outputs {
            let stream = match sandbox.get(&format!("{source}/{path}")).await {
                Ok(stream) => stream,
                Err(SandboxError::Engine(EngineError::NotFound(_))) => {
                    let message = format!("the prepare script did not make its output `{path}`");
                    let hint = "check `outputs` of [prepare]: paths are relative to the source tree";
                    return Err(diagnose::failed(recorder, FailReason::NoArtifacts, message, hint));
                }
                Err(error) => return Err(infrastructure(kind, &error)),
            };
            let parent = path.rsplit_once('/').map_or(String::new(), |(parent, _)| format!("{parent}/"));
            let (limit, shown) = (stage.limits.artifacts, path.clone());
            let copied = read(stream, move |stream| repack(stream, &parent, BUILD_USER, limit)).await;
            match copied {
                Ok(entries) => {
                    for (header, name, content) in entries {
                        let mut header = header;
                        outputs
                            .append_data(&mut header, name, &content[..])
                            .map_err(|e| infrastructure(kind, &SandboxError::Tar(e)))?;
                    }
                }
                Err(what) => {
                    let message = format!("the prepare script's output `{shown}` {what}");
                    let hint = "let outputs be regular files and folders of a sensible size";
                    return Err(diagnose::failed(recorder, FailReason::BadArtifact, message, hint));
                }
            }
        }
        let bytes = outputs.into_inner().map_err(|e| infrastructure(kind, &SandboxError::Tar(e)))?;
        std::fs::write(&made, bytes).at("write", &made).map_err(|e| infrastructure(kind, &e))
    })
    .await
    .map_err(|e| infrastructure(kind, &e))??;
    Ok(Prepared { tar })
}
