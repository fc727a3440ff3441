use maud::{Markup, html};

use super::{overview, safe, scrolled};
use crate::model::{Check, NotVaried, Outcome, Reproducibility, RunRecord, Scenario, TargetRecord};
use crate::report::finding::of_check;

/// What verify looked at, and what building again gave.
pub(super) fn checks(record: &RunRecord) -> Markup {
    let some = || {
        record.targets.iter().filter(|target| !target.checks.is_empty() || target.reproducibility.is_some())
    };
    html! {
        @if some().next().is_none() { p { "Nothing was verified." } }
        @for target in some() {
            h3 { (safe(&target.target.to_string())) }
            (of_target(target))
            @if let Some(found) = &target.reproducibility { (reproducibility(found)) }
        }
    }
}

fn of_target(target: &TargetRecord) -> Markup {
    let scenarios = Scenario::ALL.iter().filter_map(|scenario| {
        let all: Vec<&Check> = target.checks.iter().filter(|check| check.scenario == *scenario).collect();
        (!all.is_empty()).then_some((scenario, all))
    });
    html! {
        @for (scenario, all) in scenarios {
            @let passed = all.iter().filter(|check| check.outcome.passed()).count();
            @let skipped = all.iter().filter(|check| matches!(check.outcome, Outcome::Skipped { .. })).count();
            @let fails = all.iter().any(|check| check.fails());
            details open[fails] {
                summary {
                    @if fails { span.mark.failed { "✗ " } } @else if passed > 0 { span.mark.passed { "✓ " } } @else { span.mark.skipped { "– " } }
                    (scenario) ": " (passed) " of " (all.len() - skipped) " passed"
                    @if skipped > 0 { ", " (skipped) " skipped" }
                }
                @for finding in all.iter().filter_map(|check| of_check(target, check)) { (overview::article(&finding)) }
                ul.checks {
                    @for check in all {
                        @match &check.outcome {
                            Outcome::Passed => { li.passed { span aria-hidden="true" { "✓ " } (safe(&check.check)) } }
                            Outcome::Skipped { why } => { li.skipped { "skipped: " (safe(&check.check)) ": " (safe(why)) } }
                            _ => {}
                        }
                    }
                }
            }
        }
        @for warning in &target.warnings { p.warning { "Warning: " (safe(warning)) } }
    }
}

fn reproducibility(found: &Reproducibility) -> Markup {
    let varied: Vec<&str> = found.varied.iter().map(|condition| condition.word()).collect();
    let table = html! {
        table {
            thead { tr { th scope="col" { "File" } th scope="col" { "Member" } th scope="col" { "How it differs" } th scope="col" { "Cause" } } }
            tbody {
                @for difference in &found.differences {
                    tr {
                        td.name { (safe(&difference.file)) }
                        td.name { (safe(&difference.member)) }
                        td { (safe(&difference.what)) }
                        td { (difference.cause) }
                    }
                }
            }
        }
    };
    html! {
        h4 { "Built again" }
        p { "Built " (found.builds) " times in all; varied: " (varied.join(", ")) "." }
        @if !found.not_varied.is_empty() {
            ul { @for NotVaried { condition, why } in &found.not_varied { li { "not varied: " (condition.word()) ": " (safe(why)) } } }
        }
        @if found.differences.is_empty() { p.good { "Every build gave the same bytes." } }
        @else { (scrolled("What differs", &table)) }
        @if found.more > 0 { p { "and " (found.more) " more" } }
    }
}
