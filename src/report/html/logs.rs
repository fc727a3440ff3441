use maud::{Markup, html};

use super::{Page, badge, safe};
use crate::model::{Outcome, StageRecord, StepRecord};
use crate::report::log::{Excerpt, Part, Section};
use crate::report::text::{bytes, counted, duration};
use crate::support::terminal_text::{Style, Styled};

/// The anchor of a log.
pub(super) fn id(log: &str) -> String {
    let safe: String = log.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    format!("log-{safe}")
}

/// Every log, folded by stages and steps.
pub(super) fn logs(page: &Page<'_>) -> Markup {
    let shared = page.record.shared.iter().map(|stage| ("shared".to_owned(), stage));
    let targets = page.record.targets.iter();
    let of_targets =
        targets.flat_map(|target| target.stages.iter().map(|stage| (target.target.to_string(), stage)));
    html! {
        form.search role="search" hidden {
            label for="search" { "Search the logs" }
            input id="search" type="search" autocomplete="off" spellcheck="false";
            label.only { input id="errors" type="checkbox"; " Only lines that look like errors" }
            output id="hits" aria-live="polite" for="search" {}
            span.buttons {
                button type="button" id="previous" { "Previous" }
                button type="button" id="next" { "Next" }
                button type="button" id="fold" { "Open all" }
            }
        }
        @for (owner, stage) in shared.chain(of_targets) { (of_stage(page, &owner, stage)) }
    }
}

fn of_stage(page: &Page<'_>, owner: &str, stage: &StageRecord) -> Markup {
    let Some(log) = &stage.log else { return html! {} };
    let excerpt = page.logs.get(&log.name);
    let failed = !matches!(stage.outcome, Outcome::Passed | Outcome::Skipped { .. });
    html! {
        details.stage id=(id(&log.name)) open[failed] {
            summary {
                (safe(owner)) " " (stage.stage) " " (badge(&stage.outcome)) " "
                span.aside { (counted(stage.steps.len(), "step")) ", " (duration(stage.duration_ms)) ", " (bytes(log.size)) }
            }
            @match excerpt {
                None => { p { "The log is not there any more." } }
                Some(excerpt) => {
                    @if !excerpt.whole {
                        p.gap {
                            "Of this log the beginning and the end of each step are shown, and lines that look like errors. "
                            @if let Some(file) = page.log_files.get(&log.name) { a href=(file) { "The whole log (" (bytes(log.size)) ")" } }
                        }
                    }
                    (sections(excerpt, stage, failed))
                }
            }
        }
    }
}

fn sections(excerpt: &Excerpt, stage: &StageRecord, failed: bool) -> Markup {
    // What is wrong is in the last step that ended badly.
    let bad = |step: &StepRecord| step.exit != Some(0);
    let culprit = stage.steps.iter().rposition(bad).filter(|_| failed);
    html! {
        @for section in &excerpt.sections {
            @match section.step.and_then(|index| Some((index, stage.steps.get(index)?))) {
                Some((index, step)) => {
                    details.step open[Some(index) == culprit] {
                        summary {
                            (safe(&step.title)) " "
                            span.aside {
                                @match step.exit {
                                    Some(0) => { "exit 0" }
                                    Some(exit) => { strong.bad { "exit " (exit) } }
                                    None => { strong.bad { "ended by a limit" } }
                                }
                                ", " (duration(step.duration_ms)) ", " (bytes(step.log_bytes))
                            }
                        }
                        p.argv { code { (safe(&shell_words::join(&step.argv))) } }
                        @if section.parts.is_empty() { p.aside { "It printed nothing." } } @else { (lines(section, &step.title)) }
                    }
                }
                None => { (lines(section, "notes")) }
            }
        }
    }
}

fn lines(section: &Section, label: &str) -> Markup {
    html! {
        pre.log tabindex="0" role="region" aria-label={ "Log: " (safe(label)) } {
            @for part in &section.parts {
                @match part {
                    Part::Gap(lines) => { span.left-out { "… " (lines) " lines are left out …\n" } }
                    Part::Line { number, text, cut, error } => {
                        span.line.error[*error] data-n=(number) {
                            @for part in text { (styled(part)) }
                            @if *cut > 0 { span.left-out { "… " (cut) " bytes are left out" } }
                            "\n"
                        }
                    }
                }
            }
        }
    }
}

/// Text in the colours that a terminal would give it, as classes: a policy that forbids foreign styles forbids attributes, too.
fn styled(part: &Styled) -> Markup {
    let classes = classes(&part.style);
    html! {
        @if classes.is_empty() { (part.text) } @else { span class=(classes) { (part.text) } }
    }
}

fn classes(style: &Style) -> String {
    let mut classes: Vec<String> = Vec::new();
    classes.extend(style.foreground.map(|colour| format!("f{colour}")));
    classes.extend(style.background.map(|colour| format!("g{colour}")));
    let kinds = [(style.bold, "b"), (style.faint, "d"), (style.italic, "i"), (style.underlined, "u")];
    classes.extend(kinds.iter().filter(|(is, _)| *is).map(|(_, class)| (*class).to_owned()));
    classes.join(" ")
}
