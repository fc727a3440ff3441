use std::collections::BTreeMap;

use super::declared::{as_locked, declared};
use super::environment::{PACKAGING, script, watch};
use super::image_store::{Wanted, derive, ensure_loaded, look_up};
use super::userland::{base, builder_failed, builder_image};
use super::{Recorder, StageResult, Workshop, diagnose, infrastructure};
use crate::config::Builder;
use crate::engine::Command;
use crate::model::{FailReason, ImageRecord, ImageRole, InfraReason, Outcome, Stage};
use crate::plan::{Declared, Dependencies, TargetPlan, deps_key};
use crate::sandbox::{Sandbox, SmallFile};

/// How often a deps image is tried when the mirror cannot be reached.
const TRIES: u32 = 2;

/// What installing dependencies is called.
pub(super) const INSTALL: &str = "install build dependencies";

/// Exit statuses of `deps.sh` (builders/README.md).
const MISSING: i64 = 3;
const UNREACHABLE: i64 = 4;

/// What a deps image is asked for.
#[derive(Clone, Copy)]
pub struct DepsRequest<'a> {
    /// The builder.
    pub builder: &'a Builder,
    /// What the packaging declares.
    pub declared: &'a Declared,
    /// What the pipeline adds.
    pub own: &'a [String],
    /// The target, for a deps image of one.
    pub plan: Option<&'a TargetPlan>,
}

/// The three images of a target.
#[derive(Clone, Debug)]
pub struct TargetImages {
    /// Base image.
    pub base: ImageRecord,
    /// Builder image.
    pub builder: ImageRecord,
    /// Deps image.
    pub deps: ImageRecord,
}

/// Finds or makes the base, builder and deps images, and says what the packaging declares. None of the images is loaded into the
/// engine before it is needed.
pub async fn deps(
    shop: &Workshop,
    recorder: &mut Recorder,
    request: DepsRequest<'_>,
) -> StageResult<(TargetImages, Dependencies)> {
    let base = base(shop, recorder, request.builder).await?;
    let builder = builder_image(shop, recorder, request.builder, &base).await?;
    let declared = declared(shop, recorder, request.builder, request.declared, &builder).await?;
    as_locked(shop, request, &declared)?;
    let deps = deps_image(shop, recorder, request, &declared, &builder).await?;
    for record in [&base, &builder, &deps] {
        if record.obtained == "engine" || record.obtained == "archive" {
            recorder.reuse(format!("{} image from the {}", record.role, record.obtained));
        }
    }
    Ok((TargetImages { base, builder, deps }, declared))
}

/// Loads the deps image into the engine if it is only in the archive.
pub(super) async fn ensure_deps_loaded(
    shop: &Workshop,
    recorder: &mut Recorder,
    builder: &Builder,
    images: &TargetImages,
) -> StageResult<()> {
    let wanted = Wanted { builder, role: ImageRole::Deps, key: images.deps.key };
    ensure_loaded(shop, recorder, wanted, &images.deps).await
}

async fn deps_image(
    shop: &Workshop,
    recorder: &mut Recorder,
    request: DepsRequest<'_>,
    declared: &Dependencies,
    from: &ImageRecord,
) -> StageResult<ImageRecord> {
    let key = deps_key(request.builder, from.id, declared.lines(), request.own);
    let wanted = Wanted { builder: request.builder, role: ImageRole::Deps, key };
    let _held = shop.images.lock(key).await;
    if let Some(record) = look_up(shop, recorder, wanted).await? {
        return Ok(record);
    }
    let from_wanted = Wanted { builder: request.builder, role: ImageRole::Builder, key: from.key };
    ensure_loaded(shop, recorder, from_wanted, from).await?;
    let mut tries = 1;
    loop {
        let made = derive(shop, recorder, wanted, from, |recorder, sandbox| async move {
            let result = install(recorder, &sandbox, request, declared).await;
            (recorder, result)
        })
        .await;
        match made {
            Err(Outcome::Infra { reason: InfraReason::MirrorUnreachable, .. }) if tries < TRIES => {
                tries += 1;
                recorder.write_line("packhold: the mirror cannot be reached; trying once more")?;
            }
            made => return made,
        }
    }
}

/// Puts what the packaging declares into a sandbox.
pub(super) async fn put_lists(stage: Stage, sandbox: &Sandbox, declared: &Dependencies) -> StageResult<()> {
    let text = declared.text();
    let list = SmallFile { mode: 0o644, ..SmallFile::script("packaging/declared", text.as_bytes()) };
    let files = [SmallFile::folder("packaging", 0), list];
    sandbox.put_files("/build", &files).await.map_err(|e| infrastructure(stage, &e))
}

/// The command that installs dependencies.
pub(super) fn install_command(request: DepsRequest<'_>) -> Command {
    let env = BTreeMap::from([
        ("PACKHOLD_DECLARED".to_owned(), format!("{PACKAGING}/declared")),
        ("PACKHOLD_DEPS".to_owned(), request.own.join(" ")),
    ]);
    script(request.builder, "deps.sh", &[], env)
}

/// Installs the dependencies. What the container gets of the commit are the two lists in the image's key, and nothing else.
async fn install(
    recorder: &mut Recorder,
    sandbox: &Sandbox,
    request: DepsRequest<'_>,
    declared: &Dependencies,
) -> StageResult<()> {
    put_lists(recorder.stage(), sandbox, declared).await?;
    let command = install_command(request);
    let limits = request.builder.limits();
    let title = INSTALL;
    let result = recorder.step(sandbox, title, &command, &watch(&limits)).await?;
    if result.end.succeeded() {
        return Ok(());
    }
    let missing = diagnose::contract_lines(recorder.tail(), "missing-dependency");
    if result.end.code() == Some(MISSING) || !missing.is_empty() {
        return Err(diagnose::failed(
            recorder,
            FailReason::MissingDependency,
            format!(
                "build dependencies cannot be satisfied on `{}`: {}",
                request.builder.name,
                missing.join(", ")
            ),
            "correct the packaging's build dependencies, or add what provides them to `deps` of the target",
        ));
    }
    if result.end.code() == Some(UNREACHABLE) {
        return Err(builder_failed(recorder, request.builder, "deps.sh"));
    }
    Err(diagnose::step(recorder, title, &result, &watch(&limits)))
}
