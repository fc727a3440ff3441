//! Why an archived run did what it did: gathered from its record, those of the runs before, and what they were built from.

use std::collections::BTreeMap;

use super::changes::images;
use super::input_changes::{changed_fields, changed_scripts, changed_sources, fields_of};
use super::inputs::Inputs;
use super::stage_why::stage_why;
use super::tails::{lines, step_tail};
use super::{Folders, RunError};
use crate::archive::{Archive, ArchiveError, Run, RunFilter};
use crate::model::{Outcome, RunRecord, Stage, StageRecord, TargetName, TargetRecord};
use crate::report::{FailedCheck, FailedStep, Failure, InputChanges, KnownFailure, Side, TargetWhy, Why};
use crate::stage::known_failure;

/// How many earlier runs of a target are looked at.
const LOOKED_AT: usize = 50;

/// How many runs may begin within a second.
const SAME_SECOND: usize = 10;

/// Which run is asked about, and which of its targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// All targets of a run: an id, the beginning of one, or `latest`.
    Run(String),
    /// The last run of a target.
    Target(TargetName),
}

/// Why a run did what it did.
pub fn why(archive: &Archive, folders: &Folders, asked: &Asked) -> Result<Why, RunError> {
    let scratch = folders.scratch()?;
    let (run, only) = match asked {
        Asked::Run(run) => (archive.run(run)?, None),
        Asked::Target(target) => (last_run_of(archive, target)?, Some(target)),
    };
    let record = &run.record;
    let open = |run: &Run| Inputs::open_or_why(archive, run, scratch.path());
    let now = open(&run);
    // Most targets were built in the same run before.
    let mut opened = BTreeMap::new();
    let wanted = record.targets.iter().filter(|target| only.is_none_or(|only| target.target == *only));
    let mut targets = Vec::new();
    for target in wanted {
        let earlier = earlier(archive, record, &target.target)?;
        let before = earlier.first();
        let changes = match before {
            Some(before) => {
                let then = opened.entry(before.record.id.clone()).or_insert_with(|| open(before));
                changes((&before.record, then), (record, target, &now))
            }
            None => InputChanges::default(),
        };
        let before = earlier.iter().filter_map(|run| {
            let then = run.record.targets.iter().find(|then| then.target == target.target)?;
            Some((&run.record, then))
        });
        let before: Vec<_> = before.collect();
        targets.push(explained((record, target), &before, changes, failure(archive, target)));
    }
    let shared = record.shared.iter().find(|stage| !stage.outcome.passed());
    let shared = shared.map(|stage| of_outcome(archive, &stage.outcome, Some(stage), Vec::new()));
    Ok(Why { package: record.package.clone(), side: Side::of(record), shared, targets })
}

/// The last archived run that has a target.
pub(super) fn last_run_of(archive: &Archive, target: &TargetName) -> Result<Run, RunError> {
    let filter = RunFilter { target: Some(target.clone()), ..RunFilter::default() };
    // Ids of one second are in no order.
    match archive.search(&filter, SAME_SECOND)?.iter().max_by_key(|summary| summary.started) {
        Some(summary) => Ok(archive.run(summary.id.as_str())?),
        None => Err(RunError::NoSuchTarget { target: Box::new(target.clone()), known: known(archive)? }),
    }
}

/// The targets of the newest run.
fn known(archive: &Archive) -> Result<Vec<TargetName>, ArchiveError> {
    let newest = archive.search(&RunFilter::default(), 1)?;
    Ok(newest.iter().flat_map(|run| run.targets.iter().map(|target| target.target.clone())).collect())
}

/// The runs of the same package that had the target before, newest first. What is damaged is skipped.
fn earlier(archive: &Archive, record: &RunRecord, target: &TargetName) -> Result<Vec<Run>, ArchiveError> {
    let filter = RunFilter {
        package: Some(record.package.clone()),
        target: Some(target.clone()),
        until: Some(record.started),
        ..RunFilter::default()
    };
    let found = archive.search(&filter, LOOKED_AT)?;
    let mut runs: Vec<_> = found.iter().filter(|summary| summary.id != record.id).collect();
    runs.sort_by_key(|summary| std::cmp::Reverse(summary.started));
    Ok(runs.into_iter().filter_map(|summary| archive.run(summary.id.as_str()).ok()).collect())
}

/// What the target is built from that is another than in the run before.
fn changes(
    (before, then): (&RunRecord, &Result<Inputs, String>),
    (record, target, now): (&RunRecord, &TargetRecord, &Result<Inputs, String>),
) -> InputChanges {
    let old = before.targets.iter().find(|then| then.target == target.target);
    let (then, now, old) = match (then, now, old) {
        (Ok(then), Ok(now), Some(old)) => (then, now, old),
        (Err(why), ..) | (_, Err(why), _) => {
            return InputChanges { unknown: Some(why.clone()), ..InputChanges::default() };
        }
        (_, _, None) => return InputChanges::default(),
    };
    let mut changes = InputChanges {
        images: images((before, old), (record, target)),
        builder: changed_scripts(then, now, &target.target),
        ..InputChanges::default()
    };
    match (fields_of(then, old), fields_of(now, target)) {
        (Ok(old), Ok(new)) => changes.fields = changed_fields(&old, &new),
        (Err(why), _) | (_, Err(why)) => changes.unknown = Some(why),
    }
    match changed_sources(then, now) {
        Ok(names) => changes.source = names,
        Err(error) => changes.unknown = Some(error.to_string()),
    }
    changes
}

/// Puts together what is known of a target; `earlier` are its earlier runs, newest first.
fn explained(
    (record, target): (&RunRecord, &TargetRecord),
    earlier: &[(&RunRecord, &TargetRecord)],
    changes: InputChanges,
    failure: Option<Failure>,
) -> TargetWhy {
    let before = earlier.first();
    let passed = earlier.iter().find(|(_, then)| then.outcome.passed());
    let stages = target.stages.iter().map(|stage| stage_why((record, target), stage, earlier));
    TargetWhy {
        target: target.target.clone(),
        package_version: target.package_version.clone(),
        outcome: target.outcome.summary(),
        failure,
        stages: stages.collect(),
        changes,
        passed: passed.map(|(run, _)| Side::of(run)),
        before: before.map(|(run, _)| Side::of(run)),
    }
}

/// What went wrong with a target, if something did.
fn failure(archive: &Archive, target: &TargetRecord) -> Option<Failure> {
    if target.outcome.passed() {
        return None;
    }
    let stage = target.stages.iter().find(|stage| !stage.outcome.passed());
    let checks = target.checks.iter().filter(|check| check.fails()).map(|check| FailedCheck {
        message: format!("{}: {}", check.scenario, check.outcome.message().unwrap_or(&check.check)),
        evidence: check.evidence.clone(),
    });
    Some(of_outcome(archive, &target.outcome, stage, checks.collect()))
}

fn of_outcome(
    archive: &Archive,
    outcome: &Outcome,
    stage: Option<&StageRecord>,
    checks: Vec<FailedCheck>,
) -> Failure {
    // Of verify the checks say more than its last command, which may well have done what it should.
    let of_verify = stage.is_some_and(|stage| stage.stage == Stage::Verify) && !checks.is_empty();
    let step = stage.filter(|_| !of_verify).and_then(|stage| {
        let last = stage.steps.last().filter(|step| step.exit != Some(0))?;
        Some((stage, last))
    });
    let printed = step.and_then(|(stage, step)| Some(step_tail(archive, stage.log.as_ref()?, step)));
    let (printed, lost) = match printed {
        Some(Ok(printed)) => (printed, None),
        Some(Err(error)) => (Vec::new(), Some(format!("(the log is not to be had: {error})"))),
        None => (Vec::new(), None),
    };
    let message = outcome.message().unwrap_or_default().to_owned();
    let known = known_failure(&printed).filter(|(says, _)| !message.contains(says.as_str()));
    Failure {
        stage: stage.map(|stage| stage.stage),
        outcome: outcome.summary(),
        hint: outcome.hint().map(str::to_owned),
        step: step.map(|(_, step)| FailedStep {
            title: step.title.clone(),
            command: shell_words::join(&step.argv),
            exit: step.exit,
            duration_ms: step.duration_ms,
        }),
        tail: lines(&printed).into_iter().chain(lost).collect(),
        known: known.map(|(says, hint)| KnownFailure { says, hint }),
        message,
        checks,
    }
}
