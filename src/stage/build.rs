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
use crate::engine::Command;
use crate::model::{Artifact, Digest};
use crate::plan::TargetPlan;
use crate::sandbox::{Privileges, Sandbox, SandboxSpec, SmallFile, scope};
use crate::support::fs::PathContext;

/// What a target is built from.
#[derive(Clone, Copy)]
pub struct BuildOf<'a> {
    /// What is built.
    pub plan: &'a TargetPlan,
    /// The commit.
    pub tree: &'a SourceTree,
    /// Its images.
    pub images: &'a TargetImages,
    /// What the shared prepare stage made, if there is one.
    pub prepared: Option<&'a Prepared>,
}

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
    inputs: BuildOf<'_>,
    conditions: &Conditions,
) -> StageResult<Built> {
    let BuildOf { plan, images, .. } = inputs;
    ensure_deps_loaded(shop, recorder, &plan.builder, images).await?;
    let stage = recorder.stage();
    let target = &plan.section.name;
    let limits = &plan.section.limits;
    let spec = build_spec(shop, inputs, conditions);
    let folder = shop.scratch.join(format!("{}.{stage}", target.file_stem()));
    if folder.exists() {
        std::fs::remove_dir_all(&folder).at("remove", &folder).map_err(|e| infrastructure(stage, &e))?;
    }
    let dest = folder.clone();
    let artifacts = scope(&shop.engine, spec, &shop.cancel, |sandbox| async move {
        fill(recorder, &sandbox, inputs, conditions).await?;
        for (title, command) in build_steps(shop, inputs, conditions) {
            recorder.must(&sandbox, &title, &command, &watch(limits)).await?;
        }
        collect(recorder, &sandbox, &conditions.folder(OUT), target, limits.artifacts, &dest).await
    })
    .await
    .map_err(|e| infrastructure(stage, &e))??;
    Ok(Built { artifacts, folder: Some(folder) })
}

/// The sandbox in which a target is built.
pub(super) fn build_spec(shop: &Workshop, inputs: BuildOf<'_>, conditions: &Conditions) -> SandboxSpec {
    SandboxSpec {
        root: inputs.images.deps.id.into(),
        name: format!("{}-build", inputs.plan.section.name.file_stem()),
        privileges: Privileges::Build,
        limits: container_limits(&inputs.plan.section.limits),
        run: shop.run.to_string(),
        hostname: conditions.host_name(),
    }
}

/// Puts into a sandbox what a build needs: scripts, source tree, changelog entry, and what the shared stage made.
pub(super) async fn fill(
    recorder: &mut Recorder,
    sandbox: &Sandbox,
    BuildOf { plan, tree, prepared, .. }: BuildOf<'_>,
    conditions: &Conditions,
) -> StageResult<()> {
    let stage = recorder.stage();
    let infra = |error| infrastructure(stage, &error);
    put_scripts(sandbox, &plan.builder).await.map_err(infra)?;
    if let Some(kit) = conditions.kit() {
        kit.put(sandbox, stage).await?;
    }
    if let Some((number, home)) = conditions.new_user() {
        let command = script(&plan.builder, "vary.sh", &["user", &number, home], BTreeMap::new());
        recorder.must(sandbox, "add another user", &command, &watch(&plan.section.limits)).await?;
    }
    put_source(recorder, sandbox, tree, conditions).await?;
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
    Ok(())
}

/// The commands of a build in their order, each with its title.
pub(super) fn build_steps(
    shop: &Workshop,
    BuildOf { plan, tree, .. }: BuildOf<'_>,
    conditions: &Conditions,
) -> Vec<(String, Command)> {
    let env = build_env(shop, plan, tree, conditions);
    let step = |title: &str, words: &[&str]| {
        let argv = words.iter().map(|word| (*word).to_owned()).collect();
        (conditions.title(title), as_build_user(&plan.builder, argv, env.clone(), conditions))
    };
    let prepare = plan.section.prepare.as_deref();
    let prepare =
        prepare.map(|text| step("run the target's prepare script", &["/bin/sh", "-eu", "-c", text]));
    let build = step("build the packages", &["/bin/sh", "-eu", "/packhold/build.sh"]);
    prepare.into_iter().chain([build]).collect()
}
