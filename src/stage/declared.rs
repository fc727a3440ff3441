//! What a spec file asks for. Its macros are programs of whoever wrote it, so it is read offline, by an ordinary user, in a container
//! that is thrown away; what comes out of there is a bounded list of plain text, and nothing else of it gets any further.

use std::time::Duration;

use super::environment::{PACKAGING, as_ordinary_user, container_limits, put_scripts, watch};
use super::image_store::{Wanted, ensure_loaded};
use super::{Recorder, StageResult, Workshop, infrastructure};
use crate::config::{Builder, StageLimits};
use crate::model::{ImageRecord, ImageRole, Outcome};
use crate::plan::{Declared, Dependencies, LONGEST_LIST, SpecFile};
use crate::sandbox::{Privileges, SandboxSpec, SmallFile, scope};

/// The builder's script that reads a spec file (builders/README.md).
pub(super) const SCRIPT: &str = "buildrequires.sh";

/// How long a spec file may take. It is text.
const TIME: Duration = Duration::from_secs(300);

/// The list of what the packaging declares, read in the builder image `from` unless it is known.
pub(super) async fn declared(
    shop: &Workshop,
    recorder: &mut Recorder,
    builder: &Builder,
    declared: &Declared,
    from: &ImageRecord,
) -> StageResult<Dependencies> {
    let spec = match declared {
        Declared::Listed(list) => return Ok(list.clone()),
        Declared::SpecFile(spec) => spec,
    };
    if let Some(known) = shop.declared_lists.get(from.id, builder, spec) {
        return Ok(known);
    }
    let wanted = Wanted { builder, role: ImageRole::Builder, key: from.key };
    ensure_loaded(shop, recorder, wanted, from).await?;
    let list = ask(shop, recorder, builder, spec, from).await?;
    shop.declared_lists.keep(from.id, builder, spec, &list);
    Ok(list)
}

async fn ask(
    shop: &Workshop,
    recorder: &mut Recorder,
    builder: &Builder,
    file: &SpecFile,
    from: &ImageRecord,
) -> StageResult<Dependencies> {
    if !builder.has(SCRIPT) {
        return Err(Outcome::Broken {
            message: format!("builder `{}` lacks {SCRIPT}, which reads spec files", builder.name),
            hint: "add the script, or `extends` a builder that has it".to_owned(),
        });
    }
    let limits =
        StageLimits { time: TIME, silence: TIME, output: LONGEST_LIST as u64, ..StageLimits::default() };
    let spec = SandboxSpec {
        root: from.id.into(),
        name: format!("{}-buildrequires", builder.name),
        privileges: Privileges::Build,
        limits: container_limits(&limits),
        run: shop.run.to_string(),
        hostname: None,
    };
    let stage = recorder.stage();
    let infra = |error| infrastructure(stage, &error);
    let path = format!("{PACKAGING}/{}", file.name);
    let command = as_ordinary_user(builder, SCRIPT, &[&path]);
    scope(&shop.engine, spec, &shop.cancel, |sandbox| async move {
        put_scripts(&sandbox, builder).await.map_err(infra)?;
        let folder = SmallFile::folder("packaging", 0);
        let content = SmallFile::script(format!("packaging/{}", file.name), &file.bytes);
        let files = [folder, SmallFile { mode: 0o644, ..content }];
        sandbox.put_files("/build", &files).await.map_err(infra)?;
        recorder.must(&sandbox, "read the spec file's build dependencies", &command, &watch(&limits)).await?;
        // No step prints more than is kept of it: LONGEST_LIST is the limit of its output.
        Dependencies::of_answer(recorder.tail()).map_err(|error| Outcome::Broken {
            message: format!("the spec file `{}`: {error}", file.name),
            hint: format!("{}; the whole log is {}", error.hint, recorder.log_path().display()),
        })
    })
    .await
    .map_err(infra)?
}

/// Ends the work on a target whose list is not the one that a lock was made for.
pub(super) fn as_locked(
    shop: &Workshop,
    request: super::DepsRequest<'_>,
    found: &Dependencies,
) -> StageResult<()> {
    let Some(plan) = request.plan else { return Ok(()) };
    shop.policy.same_dependencies(&plan.section.name, found.lines()).inspect_err(|_| shop.images.refuse())
}
