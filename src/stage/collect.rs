use std::path::Path;

use super::outputs::{Refusal, take};
use super::streams::read;
use super::{Recorder, StageResult, diagnose, infrastructure};
use crate::engine::EngineError;
use crate::model::{Artifact, ArtifactKind, FailReason, TargetName};
use crate::sandbox::{Sandbox, SandboxError};
use crate::support::fs::PathContext;

/// Takes the artifacts of a build out of its sandbox into `folder`. They are hostile: only regular files with plain
/// names directly in the folder of artifacts are accepted, no links, no devices, and no more bytes than `limit`.
pub(super) async fn collect(
    recorder: &mut Recorder,
    sandbox: &Sandbox,
    out: &str,
    target: &TargetName,
    limit: u64,
    folder: &Path,
) -> StageResult<Vec<Artifact>> {
    recorder.doing("collect the artifacts");
    let stage = recorder.stage();
    let stream = match sandbox.get(out).await {
        Ok(stream) => stream,
        Err(SandboxError::Engine(EngineError::NotFound(_))) => {
            let message = format!("{target}: the build removed its folder of artifacts, {out}");
            let hint = "let build scripts write into PACKHOLD_OUT and leave the folder itself alone";
            return Err(diagnose::failed(recorder, FailReason::NoArtifacts, message, hint));
        }
        Err(error) => return Err(infrastructure(stage, &error)),
    };
    std::fs::create_dir_all(folder).at("create", folder).map_err(|e| infrastructure(stage, &e))?;
    let (format, dest) = (target.format, folder.to_owned());
    let taken = read(stream, move |tar| take(tar, format, limit, &dest)).await;
    let (artifacts, ignored) = match taken {
        Ok(taken) => taken,
        Err(Refusal::Bad(what)) => {
            let message = format!("{target}: the build left {what} among its artifacts");
            let hint = "leave only regular files with plain names in PACKHOLD_OUT";
            return Err(diagnose::failed(recorder, FailReason::BadArtifact, message, hint));
        }
        Err(Refusal::TooLarge) => {
            let message = format!("{target}: the artifacts are larger than {}", bytesize::ByteSize::b(limit));
            return Err(diagnose::failed(
                recorder,
                FailReason::ArtifactLimit,
                message,
                "make them smaller, or raise `artifacts` in [limits]",
            ));
        }
        Err(Refusal::Stream(source)) => {
            let error = EngineError::Stream { action: format!("read {out}"), source };
            return Err(infrastructure(stage, &error));
        }
        Err(Refusal::Disk(error)) => return Err(infrastructure(stage, &error)),
    };
    for name in ignored {
        recorder.warn(format!("{target}: `{name}` is no artifact of a {format} build and was left out"));
    }
    if !artifacts.iter().any(|artifact| artifact.kind == ArtifactKind::Package) {
        let message = format!("{target}: the build ended well but left no {format} package");
        let hint = "check that the packaging names binary packages for this architecture";
        return Err(diagnose::failed(recorder, FailReason::NoArtifacts, message, hint));
    }
    Ok(artifacts)
}
