use crate::model::{Check, FailReason, Outcome, RunRecord, Stage, TargetRecord, Unreproducible};

/// How much a finding counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The pipeline accepts it, with a reason.
    Accepted,
    /// Somebody should look at it.
    Warning,
    /// The run does not pass because of it.
    Error,
}

/// Something that a run has against a package, or that kept it from being made: what every view for a code host is drawn from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding<'a> {
    /// How much it counts.
    pub severity: Severity,
    /// A stable word: a reason (`file-left-behind`), `lint/TAG` for a tag of the distro's lint, `broken`, or `infra/REASON`.
    pub rule: String,
    /// What its reason means in general, where there is one.
    pub meaning: Option<&'static str>,
    /// The target, or `shared` for what all targets share.
    pub subject: String,
    /// Where it was found: a stage, or a scenario of verify.
    pub place: String,
    /// What happened, naming the object.
    pub message: String,
    /// What a person can do next.
    pub hint: Option<&'a str>,
    /// The path, unit, user or tag that it is about.
    pub object: Option<&'a str>,
    /// Why the pipeline accepts it.
    pub accepted: Option<&'a str>,
    /// What shows it, line by line.
    pub evidence: Vec<&'a str>,
}

impl Finding<'_> {
    /// What stays the same from run to run while nobody mends it.
    pub fn identity(&self) -> crate::model::Digest {
        let object = self.object.unwrap_or(&self.message);
        crate::model::Digest::of([self.rule.as_str(), &self.subject, &self.place, object].join("\0"))
    }

    /// True if Packhold or what it stands on is at fault, and no package.
    pub fn is_infrastructure(&self) -> bool {
        self.rule.starts_with("infra/")
    }
}

/// Everything that a run found, in the order in which it happened.
pub fn findings(record: &RunRecord) -> Vec<Finding<'_>> {
    let mut all: Vec<Finding<'_>> = record
        .shared
        .iter()
        .filter_map(|stage| of_outcome(&stage.outcome, "shared".to_owned(), stage.stage))
        .collect();
    for target in &record.targets {
        of_target(target, &mut all);
    }
    all
}

fn of_target<'a>(target: &'a TargetRecord, all: &mut Vec<Finding<'a>>) {
    all.extend(target.checks.iter().filter_map(|check| of_check(target, check)));
    let differences = target.reproducibility.iter().flat_map(|found| &found.differences);
    all.extend(differences.map(|difference| of_difference(target, difference)));
    // What failed for its checks or differences is told by them.
    let told = match &target.outcome {
        Outcome::Failed { stage: Stage::Verify, .. } => target.checks.iter().any(Check::fails),
        Outcome::Failed { stage: Stage::Reproduce, .. } => {
            target.reproducibility.as_ref().is_some_and(|found| !found.differences.is_empty())
        }
        _ => false,
    };
    if !told {
        let at = target.stages.iter().find(|stage| !stage.outcome.passed());
        let stage = at.map_or(Stage::Deps, |stage| stage.stage);
        all.extend(of_outcome(&target.outcome, target.target.to_string(), stage));
    }
}

fn of_outcome(outcome: &Outcome, subject: String, stage: Stage) -> Option<Finding<'_>> {
    let (rule, meaning, place) = match outcome {
        Outcome::Passed | Outcome::Skipped { .. } => return None,
        Outcome::Failed { stage, reason, .. } => (reason.to_string(), Some(reason.meaning()), *stage),
        Outcome::Broken { .. } => (
            "broken".to_owned(),
            Some("The pipeline asks for something that the commit does not have."),
            stage,
        ),
        Outcome::Infra { stage, reason, .. } => (format!("infra/{reason}"), Some(reason.meaning()), *stage),
    };
    Some(Finding {
        severity: Severity::Error,
        rule,
        meaning,
        subject,
        place: place.to_string(),
        message: outcome.message().unwrap_or_default().to_owned(),
        hint: outcome.hint(),
        object: None,
        accepted: None,
        evidence: Vec::new(),
    })
}

/// What a check found, unless it passed or was skipped.
pub(super) fn of_check<'a>(target: &TargetRecord, check: &'a Check) -> Option<Finding<'a>> {
    let severity = match (&check.outcome, &check.accepted) {
        (Outcome::Passed | Outcome::Skipped { .. }, _) => return None,
        (_, Some(_)) => Severity::Accepted,
        _ if check.warns() => Severity::Warning,
        _ => Severity::Error,
    };
    let mut finding = of_outcome(&check.outcome, target.target.to_string(), Stage::Verify)?;
    if let (Some(FailReason::Lint), Some(tag)) = (check.reason(), &check.object) {
        // The words of the distro's lint are known to more people than ours.
        finding.rule = format!("lint/{tag}");
        finding.meaning = None;
    }
    Some(Finding {
        severity,
        place: format!("verify: {}", check.scenario),
        object: check.object.as_deref(),
        accepted: check.accepted.as_deref(),
        evidence: check.evidence.iter().map(String::as_str).collect(),
        ..finding
    })
}

fn of_difference<'a>(target: &TargetRecord, difference: &'a Unreproducible) -> Finding<'a> {
    let Unreproducible { file, member, what, cause } = difference;
    let place = if file.is_empty() { member.clone() } else { format!("{file}: {member}") };
    Finding {
        severity: Severity::Error,
        rule: FailReason::NotReproducible.to_string(),
        meaning: Some(FailReason::NotReproducible.meaning()),
        subject: target.target.to_string(),
        place: Stage::Reproduce.to_string(),
        message: format!("{place} is not the same when it is built again: {cause}"),
        hint: None,
        object: Some(member),
        accepted: None,
        evidence: vec![what],
    }
}
