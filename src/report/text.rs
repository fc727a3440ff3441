use std::collections::BTreeMap;
use std::fmt::Write;

use crate::model::{
    ArtifactKind, Check, NotVaried, Outcome, Reproducibility, RunRecord, Scenario, Stage, StageRecord,
    TargetRecord, Unreproducible,
};

/// Lines of evidence that are shown of a failed check, the last ones; the record has all of them.
const EVIDENCE_LINES: usize = 8;

/// The last lines of logs by the log's name, made safe to show.
pub type Tails = BTreeMap<String, Vec<String>>;

/// `1 file`, `2 files`.
pub(super) fn counted(count: usize, what: &str) -> String {
    let more = if count == 1 { "" } else { "s" };
    format!("{count} {what}{more}")
}

/// A size for people.
pub fn bytes(size: u64) -> String {
    bytesize::ByteSize::b(size).display().iec().to_string()
}

/// A duration for people: `1m 02s`, `3.4s`.
pub fn duration(ms: u64) -> String {
    match ms {
        0..60_000 => format!("{}.{}s", ms / 1000, ms % 1000 / 100),
        _ => format!("{}m {:02}s", ms / 60_000, ms / 1000 % 60),
    }
}

/// What was built, verified and archived, and for what did not pass: where, why, and what to do. `tails` holds the
/// last lines of the logs of failed stages.
pub fn summary(record: &RunRecord, tails: &Tails) -> String {
    let mut out = String::new();
    let source = &record.source;
    let _ = writeln!(
        out,
        "{} {} ({:.12}) · run {} · {}",
        record.package,
        source.version.describe,
        source.commit,
        record.id,
        duration(record.duration_ms)
    );
    if let Some(lock) = &record.lock {
        let _ = writeln!(out, "locked by {} ({})", lock.file, lock.digest.short());
    }
    for stage in record.shared.iter().filter(|stage| !stage.outcome.passed()) {
        failure(&mut out, "shared", &stage.outcome, Some(stage), tails);
    }
    for target in &record.targets {
        target_summary(&mut out, target, tails);
    }
    for warning in &record.warnings {
        let _ = writeln!(out, "warning: {warning}");
    }
    let _ = writeln!(out, "\n{}", record.outcome.summary());
    out
}

/// What was found of files that were built elsewhere.
pub fn verified(record: &TargetRecord, tails: &Tails) -> String {
    let mut out = String::new();
    target_summary(&mut out, record, tails);
    out
}

fn target_summary(out: &mut String, target: &TargetRecord, tails: &Tails) {
    let _ = writeln!(out, "\n{}  {}  {}", target.target, target.package_version, target.outcome.summary());
    for stage in &target.stages {
        if let Some(reused) = &stage.reused {
            let _ = writeln!(out, "  {:<7} reused: {reused}", stage.stage);
        }
    }
    for artifact in &target.artifacts {
        let kind = match artifact.kind {
            ArtifactKind::Package => "built",
            ArtifactKind::Debug => "debug",
            ArtifactKind::Installer => "udeb",
            ArtifactKind::Source => "source",
            ArtifactKind::Description => "about",
        };
        let digest = artifact.digest.hex();
        let _ = writeln!(out, "  {kind:<7} {}  {}  sha256:{digest}", artifact.name, bytes(artifact.size));
    }
    verification(out, target);
    if let Some(found) = &target.reproducibility {
        reproducibility(out, found);
    }
    // The failed checks have said what happened, each with what shows it.
    let told = target.checks.iter().any(Check::fails)
        || matches!(target.outcome, Outcome::Failed { stage: Stage::Reproduce, .. });
    if matches!(target.outcome, Outcome::Failed { .. }) && told {
        hint(out, &target.outcome);
    } else if !target.outcome.passed() {
        let stage = target.stages.iter().find(|stage| !stage.outcome.passed());
        failure(out, &target.target.to_string(), &target.outcome, stage, tails);
    }
}

/// What was varied, what could not be, and everything that differs with its cause.
fn reproducibility(out: &mut String, found: &Reproducibility) {
    let varied: Vec<&str> = found.varied.iter().map(|condition| condition.word()).collect();
    let _ = writeln!(out, "  rebuilt {} times in all; varied: {}", found.builds, varied.join(", "));
    for NotVaried { condition, why } in &found.not_varied {
        let _ = writeln!(out, "  not varied: {}: {why}", condition.word());
    }
    for Unreproducible { file, member, what, cause } in &found.differences {
        let place = if file.is_empty() { member.clone() } else { format!("{file}: {member}") };
        let _ = writeln!(out, "  differs {place}: {cause}\n          | {what}");
    }
    if found.more > 0 {
        let _ = writeln!(out, "  differs {} more; the record of the run has the first ones only", found.more);
    }
}

/// How many checks of each scenario passed, and every one that did not.
fn verification(out: &mut String, target: &TargetRecord) {
    let counts: Vec<String> = Scenario::ALL
        .iter()
        .filter_map(|scenario| {
            let all = target.checks.iter().filter(|check| check.scenario == *scenario);
            let looked_at = all.filter(|check| !matches!(check.outcome, Outcome::Skipped { .. }));
            let (passed, count) = looked_at.fold((0, 0), |(passed, count), check| {
                (passed + usize::from(check.outcome.passed()), count + 1)
            });
            (count > 0).then(|| format!("{scenario} {passed}/{count}"))
        })
        .collect();
    if !counts.is_empty() {
        let _ = writeln!(out, "  verified {}", counts.join(", "));
    }
    for check in target.checks.iter().filter(|check| !check.outcome.passed()) {
        let message = check.outcome.message().unwrap_or_default();
        let _ = match (&check.outcome, &check.accepted) {
            (Outcome::Skipped { .. }, _) => {
                writeln!(out, "  skipped {}: {}: {message}", check.scenario, check.check)
            }
            (_, Some(reason)) => writeln!(out, "  accepted {}: {message} ({reason})", check.scenario),
            _ if check.warns() => writeln!(out, "  warning {}: {message}", check.scenario),
            _ => writeln!(out, "  failed  {}: {message}", check.scenario),
        };
        // What was accepted or skipped needs no proof here; the record has it.
        if check.fails() {
            let more = check.evidence.len().saturating_sub(EVIDENCE_LINES);
            for line in check.evidence.iter().skip(more).filter(|line| !message.contains(line.as_str())) {
                let _ = writeln!(out, "          | {line}");
            }
        }
    }
    for warning in &target.warnings {
        let _ = writeln!(out, "  warning {warning}");
    }
}

fn failure(out: &mut String, who: &str, outcome: &Outcome, stage: Option<&StageRecord>, tails: &Tails) {
    let tail = stage.and_then(|stage| stage.log.as_ref()).and_then(|log| tails.get(&log.name));
    if let Some(lines) = tail.filter(|lines| !lines.is_empty()) {
        for line in lines {
            let _ = writeln!(out, "  | {line}");
        }
    }
    if let Some(message) = outcome.message() {
        let _ = writeln!(
            out,
            "  {}: {message}",
            if matches!(outcome, Outcome::Skipped { .. }) { "skipped" } else { who }
        );
    }
    hint(out, outcome);
}

fn hint(out: &mut String, outcome: &Outcome) {
    if let Some(hint) = outcome.hint() {
        let _ = writeln!(out, "  hint: {hint}");
    }
}

/// Says what the archive holds of a run and how it is got back, or what to do about what failed.
pub fn archived_hint(record: &RunRecord, archive: &str) -> String {
    let failed = record.targets.iter().find(|target| matches!(target.outcome, Outcome::Failed { .. }));
    let next = match failed {
        Some(target) => format!(
            "look closer with: packhold why {}, packhold shell {} --run {}",
            record.id, target.target, record.id
        ),
        None => format!("restore with: packhold archive restore {} --to DIR", record.id),
    };
    format!("archived in {archive}\n{next}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_are_for_people() {
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(duration(3_450), "3.4s");
        assert_eq!(duration(62_000), "1m 02s");
    }
}
