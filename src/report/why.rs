//! Why a run did what it did, on one screen.

use std::fmt::Write;

use serde::Serialize;

use super::changes::Side;
use super::changes::{FieldChange, ImagePackages, NameChanges};
use super::diff::{fields, image_packages, names_changed, safe};
use super::text::{counted, duration};
use crate::model::{RunId, Stage, TargetName};
use crate::support::terminal_text::one_line;

/// Why a run did what it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Why {
    /// The package.
    pub package: String,
    /// The run.
    #[serde(flatten)]
    pub side: Side,
    /// What went wrong in a stage that all targets share.
    pub shared: Option<Failure>,
    /// The targets that are asked for.
    pub targets: Vec<TargetWhy>,
}

/// Why one target went as it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TargetWhy {
    /// The target.
    pub target: TargetName,
    /// The version of its packages.
    pub package_version: String,
    /// Its outcome in a word or two.
    pub outcome: String,
    /// The run before that had it.
    pub before: Option<Side>,
    /// The last run before in which it passed, if that is another one.
    pub passed: Option<Side>,
    /// What went wrong.
    pub failure: Option<Failure>,
    /// Its stages, in order.
    pub stages: Vec<StageWhy>,
    /// What it was built from that is another than in the run before.
    pub changes: InputChanges,
}

/// Why a stage ran, or did not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StageWhy {
    /// The stage.
    pub stage: Stage,
    /// Whether it did its work, instead of taking what was there.
    pub ran: bool,
    /// Why, in words.
    pub why: String,
    /// Why nothing was taken from an earlier run; `None` for what was, and for what is not looked up.
    pub cache: Option<String>,
}

/// What a target was built from that is another than before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct InputChanges {
    /// The fields of the build key.
    pub fields: Vec<FieldChange>,
    /// The files of the source tree.
    pub source: NameChanges,
    /// The packages in the images.
    pub images: Vec<ImagePackages>,
    /// The files of the builder, its scripts among them.
    pub builder: NameChanges,
    /// Why these cannot be told.
    pub unknown: Option<String>,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Where.
    pub stage: Option<Stage>,
    /// The outcome in a word or two: `failed(build, step-exit)`.
    pub outcome: String,
    /// What happened.
    pub message: String,
    /// What a person can do next.
    pub hint: Option<String>,
    /// The command that failed, if one did.
    pub step: Option<FailedStep>,
    /// The last lines of what it printed, made safe to show.
    pub tail: Vec<String>,
    /// What the table of known failures says of that, where the message does not say so already.
    pub known: Option<KnownFailure>,
    /// Checks of verify that failed, each with what shows it.
    pub checks: Vec<FailedCheck>,
}

/// A command that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailedStep {
    /// What it does, for people.
    pub title: String,
    /// The command, as a shell takes it.
    pub command: String,
    /// Exit status; `None` if a limit ended it.
    pub exit: Option<i64>,
    /// Milliseconds.
    pub duration_ms: u64,
}

/// A failure that is known by what tools print.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KnownFailure {
    /// What is wrong.
    pub says: String,
    /// What to do about it.
    pub hint: String,
}

/// A check that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailedCheck {
    /// What happened.
    pub message: String,
    /// What shows it.
    pub evidence: Vec<String>,
}

/// Lines of evidence of a check that are shown.
const EVIDENCE: usize = 4;

/// Why, for people.
pub fn why(why: &Why) -> String {
    let mut out = String::new();
    let Side { run, version, commit, outcome, duration_ms, .. } = &why.side;
    let (package, version) = (safe(&why.package), safe(version));
    let _ = writeln!(
        out,
        "{package} {version} ({commit:.12}) · run {run} · {outcome} after {}",
        duration(*duration_ms)
    );
    if let Some(failure) = &why.shared {
        out.push_str("\nshared by all targets\n");
        failed(&mut out, failure);
    }
    let detailed = why.targets.len() == 1 || why.targets.iter().any(|target| target.failure.is_some());
    for target in &why.targets {
        let _ = writeln!(
            out,
            "\n{}  {}  {}",
            target.target,
            safe(&target.package_version),
            safe(&target.outcome)
        );
        // Of several the ones that failed are what is asked for.
        if target.failure.is_some() || !detailed || why.targets.len() == 1 {
            target_why(&mut out, target);
        }
        next(&mut out, run, target);
    }
    out
}

fn target_why(out: &mut String, target: &TargetWhy) {
    if let Some(failure) = &target.failure {
        failed(out, failure);
    }
    for stage in &target.stages {
        let verb = if stage.ran { "ran" } else { "reused" };
        let _ = writeln!(out, "  {:<9} {verb}: {}", stage.stage, said(&stage.why));
        if stage.stage == Stage::Build && stage.ran {
            changes(out, &target.changes);
        }
        if let Some(cache) = &stage.cache {
            let _ = writeln!(out, "            cache: {}", said(cache));
        }
    }
}

fn changes(out: &mut String, changes: &InputChanges) {
    const INDENT: &str = "            ";
    const INNER: &str = "              ";
    if let Some(why) = &changes.unknown {
        let _ = writeln!(out, "{INDENT}what changed is unknown: {}", safe(why));
    }
    fields(out, INDENT, &changes.fields);
    if !changes.source.is_empty() {
        let _ = writeln!(out, "{INDENT}the source tree: {}", counted(changes.source.count(), "file"));
        names_changed(out, INNER, &changes.source);
    }
    for image in &changes.images {
        let _ =
            writeln!(out, "{INDENT}the {} image: {}", image.role, counted(image.packages.len(), "package"));
        image_packages(out, INNER, image);
    }
    if !changes.builder.is_empty() {
        let _ = writeln!(out, "{INDENT}the builder: {}", counted(changes.builder.count(), "file"));
        names_changed(out, INNER, &changes.builder);
    }
}

fn failed(out: &mut String, failure: &Failure) {
    for line in &failure.tail {
        let _ = writeln!(out, "  | {line}");
    }
    let _ = writeln!(out, "  why       {}", said(&failure.message));
    for check in failure.checks.iter().filter(|check| check.message != failure.message) {
        let _ = writeln!(out, "  and       {}", said(&check.message));
    }
    for line in failure.checks.iter().flat_map(|check| check.evidence.iter().take(EVIDENCE)) {
        let _ = writeln!(out, "  | {}", safe(line));
    }
    if let Some(step) = &failure.step {
        let end = match step.exit {
            Some(code) => format!("exit status {code}"),
            None => "ended by a limit".to_owned(),
        };
        let (title, time) = (safe(&step.title), duration(step.duration_ms));
        let _ = writeln!(out, "  step      {title}: {} ({end} after {time})", safe(&step.command));
    }
    if let Some(known) = &failure.known {
        let _ = writeln!(out, "  known     {}; {}", said(&known.says), said(&known.hint));
    }
    if let Some(hint) = &failure.hint {
        let _ = writeln!(out, "  hint      {}", said(hint));
    }
}

/// A sentence, which may name what strangers have named.
fn said(text: &str) -> String {
    one_line(text.as_bytes())
}

/// The commands that lead on.
fn next(out: &mut String, run: &RunId, target: &TargetWhy) {
    let name = &target.target;
    if target.failure.is_some() {
        let _ = writeln!(out, "  look      packhold shell {name} --run {run}");
        let _ = writeln!(out, "            packhold log {run} {name}");
    }
    if let Some(then) = target.passed.as_ref().or(target.before.as_ref()) {
        let _ = writeln!(out, "  compare   packhold diff {} {run}   ({})", then.run, then.outcome);
    }
}
