use maud::{Markup, html};

use super::{badge, logs, safe, scrolled};
use crate::model::{Outcome, RunRecord, Stage, StageRecord};
use crate::report::finding::{Finding, Severity, findings};
use crate::report::markdown::stages_of;
use crate::report::text::{counted, duration};

/// What was found, and target × stage.
pub(super) fn overview(record: &RunRecord) -> Markup {
    html! {
        (found(record))
        (matrix(record))
        @if !record.warnings.is_empty() {
            h3 { "Warnings" }
            ul.warnings { @for warning in &record.warnings { li { (safe(warning)) } } }
        }
    }
}

fn found(record: &RunRecord) -> Markup {
    let all = findings(record);
    let told: Vec<&Finding<'_>> =
        all.iter().filter(|finding| finding.severity > Severity::Accepted).collect();
    let errors = told.iter().filter(|finding| finding.severity == Severity::Error).count();
    html! {
        @if told.is_empty() {
            p.good { "Nothing was found against these packages." }
        } @else {
            h3 { (counted(errors, "error")) ", " (counted(told.len() - errors, "warning")) }
            @for finding in told { (article(finding)) }
        }
    }
}

/// A finding with what shows it.
pub(super) fn article(finding: &Finding<'_>) -> Markup {
    let (class, word) = match finding.severity {
        Severity::Error => ("finding error", "error"),
        Severity::Warning => ("finding warning", "warning"),
        Severity::Accepted => ("finding accepted", "accepted"),
    };
    let new = |line: &&&str| !finding.message.contains(**line);
    let evidence: Vec<&&str> = finding.evidence.iter().filter(new).collect();
    html! {
        article class=(class) {
            p.what {
                strong { (word) } " " span.where { (safe(&finding.subject)) " · " (safe(&finding.place)) } " "
                code.rule { (safe(&finding.rule)) }
            }
            p.message { @for line in finding.message.lines() { (safe(line)) br; } }
            @if let Some(meaning) = finding.meaning { p.meaning { (meaning) } }
            @if let Some(reason) = finding.accepted { p.meaning { "Accepted: " (safe(reason)) } }
            @if !evidence.is_empty() {
                pre.evidence tabindex="0" aria-label="Evidence" { @for line in evidence { (safe(line)) "\n" } }
            }
            @if let Some(hint) = finding.hint { p.hint { strong { "Hint: " } (safe(hint)) } }
        }
    }
}

fn matrix(record: &RunRecord) -> Markup {
    let stages = stages_of(record);
    let table = html! {
        table.matrix {
            caption { "Targets and stages; a stage leads to its log" }
            thead {
                tr {
                    th scope="col" { "Target" }
                    th scope="col" { "Outcome" }
                    @for stage in &stages { th scope="col" { (stage) } }
                }
            }
            tbody {
                tr {
                    th scope="row" { "shared" }
                    td { (badge(&Outcome::of_all(record.shared.iter().map(|stage| &stage.outcome)))) }
                    td.shared colspan=(stages.len().max(1)) {
                        @for stage in &record.shared { span { (stage.stage) ": " (cell(None, stage)) } " " }
                    }
                }
                @for target in &record.targets {
                    @let name = target.target.to_string();
                    tr {
                        th scope="row" { (safe(&name)) br; span.version { (safe(&target.package_version)) } }
                        td { (badge(&target.outcome)) }
                        @for stage in &stages { td { (of_stage(&name, &target.stages, *stage)) } }
                    }
                }
            }
        }
    };
    html! { (scrolled("Targets and stages", &table)) }
}

fn of_stage(target: &str, done: &[StageRecord], stage: Stage) -> Markup {
    match done.iter().find(|done| done.stage == stage) {
        Some(stage) => cell(Some(target), stage),
        None => html! { span.none { "not reached" } },
    }
}

fn cell(target: Option<&str>, stage: &StageRecord) -> Markup {
    let (class, mark, word) = match stage.outcome {
        Outcome::Passed => ("mark passed", "✓", "passed"),
        Outcome::Skipped { .. } => ("mark skipped", "–", "skipped"),
        Outcome::Infra { .. } => ("mark infra", "!", "infrastructure failed"),
        Outcome::Failed { .. } | Outcome::Broken { .. } => ("mark failed", "✗", "failed"),
    };
    let inner = html! {
        span class=(class) { span aria-hidden="true" { (mark) } span.hidden { (word) } }
        " " (duration(stage.duration_ms))
    };
    html! {
        @match &stage.log {
            Some(log) => { a href={ "#" (logs::id(&log.name)) } title={ "Log of " (target.unwrap_or("shared")) " " (stage.stage) } { (inner) } }
            None => { (inner) }
        }
        @if let Some(reused) = &stage.reused { br; span.reused title=(safe(reused)) { "reused" } }
    }
}
