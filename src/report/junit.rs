//! JUnit XML, in the form that Jenkins, GitLab and others read (its schema is Jenkins' `junit-10.xsd`).

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::Tails;
use crate::model::{Check, Outcome, RunRecord, StageRecord, TargetRecord};

/// How a test case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Well.
    Passed,
    /// It was not tried.
    Skipped {
        /// Why.
        why: String,
    },
    /// What is tested is at fault.
    Failed {
        /// Why, in a word or two.
        kind: String,
        /// The sentence that says what happened.
        message: String,
        /// Everything else.
        text: String,
    },
    /// It could not be found out.
    Error {
        /// Why, in a word or two.
        kind: String,
        /// The sentence that says what happened.
        message: String,
        /// Everything else.
        text: String,
    },
}

/// A test case: something that has passed or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// What it belongs to, with dots between the parts; readers group by it.
    pub class: String,
    /// What was tried.
    pub name: String,
    /// How long it took, where that is known.
    pub time: Option<Duration>,
    /// How it ended.
    pub verdict: Verdict,
    /// The end of what it printed.
    pub output: Option<String>,
}

/// A document of suites: each has a name and its cases.
pub fn document(name: &str, suites: impl IntoIterator<Item = (String, Vec<Case>)>) -> String {
    let mut report = Report::new(name);
    for (name, cases) in suites {
        let mut suite = TestSuite::new(name);
        suite.set_time(cases.iter().filter_map(|case| case.time).sum());
        suite.add_test_cases(cases.into_iter().map(test_case));
        report.add_test_suite(suite);
    }
    // Writing to memory does not fail.
    accepted(&report.to_string().unwrap_or_default())
}

/// A document as the schema has it: the count of skipped cases is told of each suite, and not of all together.
fn accepted(text: &str) -> String {
    let Some((before, root)) = text.split_once("<testsuites ") else { return text.to_owned() };
    let (root, rest) = root.split_once('>').unwrap_or((root, ""));
    let attributes = root.split_inclusive("\" ");
    let kept: String = attributes.filter(|attribute| !attribute.starts_with("skipped=")).collect();
    format!("{before}<testsuites {}>{rest}", kept.trim_end())
}

fn test_case(case: Case) -> TestCase {
    let bad = |kind, word: String, message: String, text: String| {
        let mut status = TestCaseStatus::non_success(kind);
        status.set_type(word).set_message(message).set_description(text);
        status
    };
    let status = match case.verdict {
        Verdict::Passed => TestCaseStatus::success(),
        Verdict::Skipped { why } => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(why);
            status
        }
        Verdict::Failed { kind, message, text } => bad(NonSuccessKind::Failure, kind, message, text),
        Verdict::Error { kind, message, text } => bad(NonSuccessKind::Error, kind, message, text),
    };
    let mut test_case = TestCase::new(case.name, status);
    test_case.set_classname(case.class);
    if let Some(time) = case.time {
        test_case.set_time(time);
    }
    if let Some(output) = case.output {
        test_case.set_system_out(output);
    }
    test_case
}

/// A run: a suite for what all targets share and one for each target, whose cases are its stages and the checks of verify.
/// `tails` holds the last lines of the logs of failed stages.
pub fn junit(record: &RunRecord, tails: &Tails) -> String {
    let shared =
        record.shared.iter().map(|stage| of_stage(&format!("{}.shared", record.package), stage, tails));
    let mut suites = vec![(format!("{} shared", record.package), shared.collect())];
    for target in &record.targets {
        suites.push((
            format!("{} {}", record.package, target.target),
            of_target(&record.package, target, tails),
        ));
    }
    document(&format!("{} {} ({})", record.package, record.source.version.describe, record.id), suites)
}

fn of_target(package: &str, target: &TargetRecord, tails: &Tails) -> Vec<Case> {
    // Readers take a dot for the end of a group's name.
    let class = format!("{package}.{}", target.target.to_string().replace('.', "_"));
    let told = |stage: &&StageRecord| {
        let by_checks = matches!(stage.outcome, Outcome::Failed { stage: crate::model::Stage::Verify, .. });
        !(by_checks && target.checks.iter().any(Check::fails))
    };
    let mut cases: Vec<Case> =
        target.stages.iter().filter(told).map(|stage| of_stage(&class, stage, tails)).collect();
    cases.extend(target.checks.iter().map(|check| of_check(&class, check)));
    // A target that was given up before its first stage.
    if target.stages.is_empty() && !target.outcome.passed() {
        cases.push(case(&class, "target", None, verdict(&target.outcome, &[])));
    }
    cases
}

fn of_stage(class: &str, stage: &StageRecord, tails: &Tails) -> Case {
    let tail = stage.log.as_ref().and_then(|log| tails.get(&log.name)).filter(|lines| !lines.is_empty());
    let time = Some(Duration::from_millis(stage.duration_ms));
    let case = case(class, &stage.stage.to_string(), time, verdict(&stage.outcome, &[]));
    Case { output: tail.map(|lines| lines.join("\n")), ..case }
}

fn of_check(class: &str, check: &Check) -> Case {
    let name = match &check.object {
        Some(object) if !check.outcome.passed() => format!("{}: {object}", check.check),
        _ => check.check.clone(),
    };
    let verdict = match &check.accepted {
        Some(reason) if !check.outcome.passed() => Verdict::Skipped {
            why: format!("{} (accepted: {reason})", check.outcome.message().unwrap_or_default()),
        },
        _ if check.warns() => Verdict::Skipped {
            why: format!(
                "warning: {}\n{}",
                check.outcome.message().unwrap_or_default(),
                check.evidence.join("\n")
            ),
        },
        _ => verdict(&check.outcome, &check.evidence),
    };
    case(&format!("{class}.{}", check.scenario), &name, None, verdict)
}

fn case(class: &str, name: &str, time: Option<Duration>, verdict: Verdict) -> Case {
    Case { class: class.to_owned(), name: name.to_owned(), time, verdict, output: None }
}

fn verdict(outcome: &Outcome, evidence: &[String]) -> Verdict {
    let message = outcome.message().unwrap_or_default().to_owned();
    let mut text = format!("{message}\n");
    for line in evidence {
        text += &format!("  | {line}\n");
    }
    if let Some(hint) = outcome.hint() {
        text += &format!("hint: {hint}\n");
    }
    match outcome {
        Outcome::Passed => Verdict::Passed,
        Outcome::Skipped { why } => Verdict::Skipped { why: why.clone() },
        Outcome::Failed { reason, .. } => Verdict::Failed { kind: reason.to_string(), message, text },
        Outcome::Broken { .. } => Verdict::Error { kind: "broken".to_owned(), message, text },
        Outcome::Infra { reason, .. } => Verdict::Error { kind: reason.to_string(), message, text },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipped_cases_are_counted_in_their_suites_alone() {
        let text =
            "<testsuites name=\"a\" tests=\"1\" skipped=\"1\" errors=\"0\">\n<testsuite skipped=\"1\">";
        let expected = "<testsuites name=\"a\" tests=\"1\" errors=\"0\">\n<testsuite skipped=\"1\">";
        assert_eq!(accepted(text), expected);
        let last = "<testsuites name=\"a\" skipped=\"1\">\n";
        assert_eq!(accepted(last), "<testsuites name=\"a\">\n");
    }
}
