use std::collections::BTreeMap;
use std::path::PathBuf;

use super::collect::collect;
use super::deps::{TargetImages, ensure_deps_loaded};
use super::environment::{
    CHANGELOG, OUT, PREPARED, as_build_user, build_env, container_limits, put_scripts, script, watch,
};
use super::prepare::{Prepared, put_source};
use super::streams::{blocking, owned_by};
use super::{Conditions, Recorder, SourceTree, StageResult, Workshop, infrastructure};
use crate::model::{Artifact, Digest};
use crate::plan::TargetPlan;
use crate::sandbox::{Privileges, SandboxSpec, SmallFile, scope};
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

/// Builds a target's packages in its deps image: no network, an ordinary user, no capabilities. The artifacts go to a folder of
/// the stage's own; what an earlier build of that stage left in it is removed.
pub async fn build(
    shop: &Workshop,
    recorder: &mut Recorder,
    plan: &TargetPlan,
    tree: &SourceTree,
    images: &TargetImages,
    prepared: Option<&Prepared>,
    conditions: &Conditions,
) -> StageResult<Built> {
    ensure_deps_loaded(shop, recorder, &plan.builder, images).await?;
    let stage = recorder.stage();
    let target = &plan.section.name;
    let limits = &plan.section.limits;
    let spec = SandboxSpec {
        root: images.deps.id.into(),
        name: format!("{}-build", target.file_stem()),
        privileges: Privileges::Build,
        limits: container_limits(limits),
        run: shop.run.to_string(),
        hostname: conditions.host_name(),
    };
    let folder = shop.scratch.join(format!("{}.{stage}", target.file_stem()));
    if folder.exists() {
        std::fs::remove_dir_all(&folder).at("remove", &folder).map_err(|e| infrastructure(stage, &e))?;
    }
    let dest = folder.clone();
    let artifacts = scope(&shop.engine, spec, &shop.cancel, |sandbox| async move {
        let infra = |error| infrastructure(stage, &error);
        put_scripts(&sandbox, &plan.builder).await.map_err(infra)?;
        if let Some(kit) = conditions.kit() {
            kit.put(&sandbox, stage).await?;
        }
        if let Some((number, home)) = conditions.new_user() {
            let command = script(&plan.builder, "vary.sh", &["user", &number, home], BTreeMap::new());
            recorder.must(&sandbox, "add another user", &command, &watch(limits)).await?;
        }
        put_source(recorder, &sandbox, tree, conditions).await?;
        if let Some(entry) = &plan.changelog {
            let file = SmallFile::data(CHANGELOG, entry.as_bytes());
            sandbox.put_files(conditions.root(), &[file]).await.map_err(infra)?;
        }
        if let Some(prepared) = prepared {
            let tar = std::fs::File::open(&prepared.tar).at("read", &prepared.tar);
            let tar = tar.map_err(|e| infrastructure(stage, &e))?;
            let tar = owned_by(tar, conditions.owner());
            sandbox.put(&conditions.folder(PREPARED), tar).await.map_err(infra)?;
        }
        let env = build_env(shop, plan, tree, conditions);
        let run = |words: &[&str]| {
            let argv = words.iter().map(|word| (*word).to_owned()).collect();
            as_build_user(&plan.builder, argv, env.clone(), conditions)
        };
        if let Some(text) = &plan.section.prepare {
            let command = run(&["/bin/sh", "-eu", "-c", text]);
            let title = conditions.title("run the target's prepare script");
            recorder.must(&sandbox, &title, &command, &watch(limits)).await?;
        }
        let command = run(&["/bin/sh", "-eu", "/packhold/build.sh"]);
        let title = conditions.title("build the packages");
        recorder.must(&sandbox, &title, &command, &watch(limits)).await?;
        collect(recorder, &sandbox, &conditions.folder(OUT), target, limits.artifacts, &dest).await
    })
    .await
    .map_err(|e| infrastructure(stage, &e))??;
    Ok(Built { artifacts, folder: Some(folder) })
}
