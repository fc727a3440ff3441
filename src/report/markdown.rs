//! A summary in GitHub Flavored Markdown, for the page of a CI job.

use std::fmt::Write;

use super::finding::{Finding, Severity, findings};
use super::{bytes, duration};
use crate::model::{ArtifactKind, Outcome, RunRecord, Stage, StageRecord};

/// How many findings are told; GitHub takes no more than 1 MiB of a step.
const MOST: usize = 50;

/// How many lines of evidence are told of each.
const EVIDENCE_LINES: usize = 8;

/// What a run did: targets × stages, what was found, the packages, and how to get at more.
pub fn markdown(record: &RunRecord) -> String {
    let mut out = String::new();
    let (package, version) = (escape(&record.package), escape(&record.source.version.describe));
    // Writing to a string cannot fail.
    let _ =
        writeln!(out, "### {} {package} {version}: {}\n", mark(&record.outcome), record.outcome.summary());
    let _ = writeln!(
        out,
        "Commit `{:.12}` · run `{}` · {}\n",
        record.source.commit,
        record.id,
        duration(record.duration_ms)
    );
    matrix(&mut out, record);
    found(&mut out, record);
    packages(&mut out, record);
    let _ = writeln!(out, "`packhold report {}` shows the whole run.", record.id);
    out
}

/// The stages that any target of a run has, in their order.
pub(super) fn stages_of(record: &RunRecord) -> Vec<Stage> {
    let mut stages: Vec<Stage> =
        record.targets.iter().flat_map(|target| &target.stages).map(|stage| stage.stage).collect();
    stages.sort_unstable();
    stages.dedup();
    stages
}

fn matrix(out: &mut String, record: &RunRecord) {
    let stages = stages_of(record);
    let names: Vec<String> = stages.iter().map(ToString::to_string).collect();
    let _ = writeln!(out, "| target | version | {} |", names.join(" | "));
    let _ = writeln!(out, "|---|---{}|", "|---".repeat(stages.len()));
    for target in &record.targets {
        let cell = |stage: &Stage| match target.stages.iter().find(|done| done.stage == *stage) {
            Some(StageRecord { outcome, duration_ms, reused, .. }) => {
                let reused = if reused.is_some() { ", reused" } else { "" };
                format!("{} {}{reused}", mark(outcome), duration(*duration_ms))
            }
            None => "–".to_owned(),
        };
        let cells: Vec<String> = stages.iter().map(cell).collect();
        let version = escape(&target.package_version);
        let _ = writeln!(
            out,
            "| {} {} | {version} | {} |",
            mark(&target.outcome),
            target.target,
            cells.join(" | ")
        );
    }
    out.push('\n');
}

fn found(out: &mut String, record: &RunRecord) {
    let all = findings(record);
    let told: Vec<&Finding<'_>> =
        all.iter().filter(|finding| finding.severity > Severity::Accepted).collect();
    for finding in told.iter().take(MOST) {
        let word = if finding.severity == Severity::Error { "❌" } else { "⚠️" };
        let _ = writeln!(
            out,
            "- {word} **{} {}** {}",
            escape(&finding.subject),
            escape(&finding.place),
            escape(&finding.message)
        );
        for line in finding.evidence.iter().take(EVIDENCE_LINES) {
            let _ = writeln!(out, "  - {}", escape(line));
        }
        if let Some(hint) = finding.hint {
            let _ = writeln!(out, "  - 💡 {}", escape(hint));
        }
    }
    if told.len() > MOST {
        let _ = writeln!(out, "- and {} more", told.len() - MOST);
    }
    for warning in record.warnings.iter().take(MOST) {
        let _ = writeln!(out, "- ⚠️ {}", escape(warning));
    }
    if !(told.is_empty() && record.warnings.is_empty()) {
        out.push('\n');
    }
}

fn packages(out: &mut String, record: &RunRecord) {
    let of_interest = |kind| matches!(kind, ArtifactKind::Package | ArtifactKind::Source);
    let all =
        record.targets.iter().flat_map(|target| target.artifacts.iter().map(move |file| (target, file)));
    let all: Vec<_> = all.filter(|(_, file)| of_interest(file.kind)).collect();
    if all.is_empty() {
        return;
    }
    let _ = writeln!(out, "<details><summary>Packages</summary>\n");
    let _ = writeln!(out, "| target | file | size | sha256 |\n|---|---|---|---|");
    for (target, file) in all {
        let (name, digest) = (escape(&file.name), file.digest.hex());
        let _ = writeln!(out, "| {} | {name} | {} | `{digest}` |", target.target, bytes(file.size));
    }
    let _ = writeln!(out, "\n</details>\n");
}

fn mark(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "✅",
        Outcome::Skipped { .. } => "⏭️",
        Outcome::Failed { .. } | Outcome::Broken { .. } => "❌",
        Outcome::Infra { .. } => "💥",
    }
}

/// Text of strangers as text: nothing in it is markup, a link, a mention or the end of a line or cell (GFM, 2.4 and 6).
fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut safe, c| {
        match c {
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '&' => safe += "&amp;",
            // An entity is no sign of a mention or of an address (GFM, 6.9).
            '@' => safe += "&#64;",
            ':' => safe += "&#58;",
            c if c.is_control() => safe.push(' '),
            c if c.is_ascii_punctuation() && !",./'\"-=+".contains(c) => {
                safe.push('\\');
                safe.push(c);
            }
            c => safe.push(c),
        }
        safe
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_strangers_is_no_markup() {
        assert_eq!(escape("<img src=x>\n|a| `b` [c](d)"), "&lt;img src=x&gt; \\|a\\| \\`b\\` \\[c\\]\\(d\\)");
        assert_eq!(escape("@all https://x.example"), "&#64;all https&#58;//x.example");
    }
}
