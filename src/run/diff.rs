//! What differs between two archived runs.

use super::changes::{Inside, of_target};
use super::input_changes::{changed_fields, changed_sources, fields_of};
use super::inputs::Inputs;
use super::{Folders, RunError};
use crate::archive::Archive;
use crate::model::{RunRecord, Stage, TargetName, TargetRecord};
use crate::report::changes::{FieldChange, TargetChanges};
use crate::report::{Diff, Side, StageTime, StageTimes, TargetDiff};

/// What differs between two runs: an id each, the beginning of one, or `latest`. What the archive does not have of them is told as
/// unknown.
pub fn diff(archive: &Archive, folders: &Folders, old: &str, new: &str) -> Result<Diff, RunError> {
    let scratch = folders.scratch()?;
    let (old, new) = (archive.run(old)?, archive.run(new)?);
    let open = |run| Inputs::open_or_why(archive, run, scratch.path());
    let (then, now) = (open(&old), open(&new));
    let source = match (&then, &now) {
        (Ok(then), Ok(now)) => Some(changed_sources(then, now)?),
        _ => None,
    };
    let (old, new) = (&old.record, &new.record);
    let mut targets = Vec::new();
    for target in &new.targets {
        let before = old.targets.iter().find(|before| before.target == target.target);
        targets.push(both(archive, &target.target, (old, before, &then), (new, Some(target), &now)));
    }
    let only_old = |target: &&TargetRecord| !new.targets.iter().any(|now| now.target == target.target);
    for target in old.targets.iter().filter(only_old) {
        targets.push(both(archive, &target.target, (old, Some(target), &then), (new, None, &now)));
    }
    Ok(Diff { old: Side::of(old), new: Side::of(new), fields: of_runs(old, new), source, targets })
}

type End<'a> = (&'a RunRecord, Option<&'a TargetRecord>, &'a Result<Inputs, String>);

fn both(
    archive: &Archive,
    name: &TargetName,
    (old, then, then_inputs): End<'_>,
    (new, now, now_inputs): End<'_>,
) -> TargetDiff {
    let outcome = |target: Option<&TargetRecord>| target.map(|target| target.outcome.summary());
    let fields = |inputs: &Result<Inputs, String>, target: &TargetRecord| match inputs {
        Ok(inputs) => fields_of(inputs, target),
        Err(why) => Err(why.clone()),
    };
    let (mut inputs, mut inputs_unknown) = (Vec::new(), None);
    let mut made = TargetChanges { target: name.clone(), files: Vec::new(), images: Vec::new() };
    if let (Some(then), Some(now)) = (then, now) {
        match (fields(then_inputs, then), fields(now_inputs, now)) {
            (Ok(then), Ok(now)) => inputs = changed_fields(&then, &now),
            (Err(why), _) | (_, Err(why)) => inputs_unknown = Some(why),
        }
        made = of_target(archive, &Inside::new(), (old, then), (new, now));
    }
    TargetDiff {
        old: outcome(then),
        new: outcome(now),
        inputs,
        inputs_unknown,
        stages: times(then, now),
        made,
    }
}

fn times(then: Option<&TargetRecord>, now: Option<&TargetRecord>) -> Vec<StageTimes> {
    let time = |target: Option<&TargetRecord>, stage: Stage| {
        let stage = target?.stages.iter().find(|done| done.stage == stage)?;
        Some(StageTime { duration_ms: stage.duration_ms, reused: stage.reused.is_some() })
    };
    let mut stages: Vec<Stage> =
        then.into_iter().chain(now).flat_map(|target| &target.stages).map(|stage| stage.stage).collect();
    stages.sort_unstable();
    stages.dedup();
    let both = |stage| StageTimes { stage, old: time(then, stage), new: time(now, stage) };
    stages.into_iter().map(both).collect()
}

/// What differs of the runs themselves.
fn of_runs(old: &RunRecord, new: &RunRecord) -> Vec<FieldChange> {
    let pairs = |record: &RunRecord| {
        let engine = &record.engine;
        [
            ("package", Some(record.package.clone())),
            ("repository", Some(record.source.repository.clone())),
            ("pipeline", Some(format!("{} ({})", record.pipeline, record.pipeline_digest.short()))),
            ("lock", record.lock.as_ref().map(|lock| format!("{} ({})", lock.file, lock.digest.short()))),
            ("program", Some(format!("{} {}", record.tool.name, record.tool.version))),
            ("engine", Some(format!("{} {}", engine.kind, engine.version))),
            ("architecture", Some(engine.arch.clone())),
            ("kernel", engine.kernel.clone()),
            ("cores", engine.cores.map(|cores| cores.to_string())),
        ]
    };
    let differ = pairs(old).into_iter().zip(pairs(new)).filter(|((_, old), (_, new))| old != new);
    differ.map(|((what, old), (_, new))| FieldChange { what: what.to_owned(), old, new }).collect()
}
