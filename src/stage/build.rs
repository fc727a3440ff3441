use std::path::PathBuf;

use super::collect::collect;
use super::deps::{TargetImages, ensure_deps_loaded};
use super::environment::{
    BUILD_USER, PREPARED, as_build_user, build_env, container_limits, put_scripts, watch,
};
use super::prepare::{Prepared, put_source};
use super::streams::{blocking, owned_by};
use super::{Recorder, SourceTree, StageResult, Workshop, infrastructure};
use crate::model::{Artifact, Digest};
use crate::plan::TargetPlan;
use crate::sandbox::{Privileges, SandboxSpec, scope};
use crate::support::fs::PathContext;

/// What a build left.
#[derive(Clone, Debug)]
pub struct Built {
    /// The artifacts, sorted by name.
    pub artifacts: Vec<Artifact>,
    /// The folder that holds them; `None` where they are in the archive already.
    pub folder: Option<PathBuf>,
}

/// The packages of an earlier run with the same key, if all of them are still in the archive.
pub async fn reuse_build(
    shop: &Workshop,
    recorder: &mut Recorder,
    key: Digest,
) -> StageResult<Option<Built>> {
    let archive = shop.archive.clone();
    let found = blocking(move || {
        let Some((run, record)) = archive.find_build(&key)? else { return Ok(None) };
        let whole = archive.keep(record.artifacts.iter().map(|artifact| &artifact.digest))?;
        Ok(whole.then_some((run, record)))
    });
    let found =
        found.await.map_err(|e: crate::archive::ArchiveError| infrastructure(recorder.stage(), &e))?;
    Ok(found.map(|(run, record)| {
        recorder.reuse(format!("packages of run {run}"));
        Built { artifacts: record.artifacts, folder: None }
    }))
}

/// Builds a target's packages in its deps image: no network, an ordinary user, no capabilities.
pub async fn build(
    shop: &Workshop,
    recorder: &mut Recorder,
    plan: &TargetPlan,
    tree: &SourceTree,
    images: &TargetImages,
    prepared: Option<&Prepared>,
) -> StageResult<Built> {
    ensure_deps_loaded(shop, recorder, &plan.builder, images).await?;
    let stage = recorder.stage();
    let target = &plan.section.name;
    let limits = &plan.section.limits;
    let spec = SandboxSpec {
        image: images.deps.id,
        name: format!("{}-build", target.file_stem()),
        privileges: Privileges::Build,
        limits: container_limits(limits),
        run: shop.run.to_string(),
    };
    let folder = shop.scratch.join(target.file_stem());
    let dest = folder.clone();
    let artifacts = scope(&shop.engine, spec, &shop.cancel, |sandbox| async move {
        let infra = |error| infrastructure(stage, &error);
        put_scripts(&sandbox, &plan.builder).await.map_err(infra)?;
        put_source(recorder, &sandbox, tree).await?;
        if let Some(prepared) = prepared {
            let tar = std::fs::File::open(&prepared.tar).at("read", &prepared.tar);
            let tar = tar.map_err(|e| infrastructure(stage, &e))?;
            sandbox.put(PREPARED, owned_by(tar, BUILD_USER)).await.map_err(infra)?;
        }
        let env = build_env(shop, plan, tree);
        let run = |words: &[&str]| {
            let argv = words.iter().map(|word| (*word).to_owned()).collect();
            as_build_user(&plan.builder, argv, env.clone())
        };
        if let Some(text) = &plan.section.prepare {
            let command = run(&["/bin/sh", "-eu", "-c", text]);
            recorder.must(&sandbox, "run the target's prepare script", &command, &watch(limits)).await?;
        }
        let command = run(&["/bin/sh", "-eu", "/packhold/build.sh"]);
        recorder.must(&sandbox, "build the packages", &command, &watch(limits)).await?;
        collect(recorder, &sandbox, target, limits.artifacts, &dest).await
    })
    .await
    .map_err(|e| infrastructure(stage, &e))??;
    Ok(Built { artifacts, folder: Some(folder) })
}
