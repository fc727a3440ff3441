//! The distro's lint.

use super::package::Facts;
use super::session::{Session, Start, session};
use super::state::Finding;
use super::{Bench, Done, Halt, images, lint_findings};
use crate::model::{Check, FailReason, Outcome, Scenario, Tier};
use crate::sandbox::Privileges;
use crate::stage::Recorder;

pub(super) async fn lint<'a>(
    bench: &'a Bench<'a>,
    facts: &'a Facts,
    recorder: &'a mut Recorder,
    checks: &'a mut Vec<Check>,
) -> Done {
    let builder = bench.request.builder;
    let Some(image) = images::with_lint(bench, recorder, builder, bench.request.base).await? else {
        let why = format!("builder `{}` has no lint.sh", builder.name);
        checks.push(Check::new(Scenario::Lint, "lint", Outcome::Skipped { why }));
        return Ok(());
    };
    let start = Start { builder, root: image.id.into(), privileges: Privileges::Offline, name: "lint" };
    session(bench, start, recorder, checks, async |session| session.lint(facts).await).await
}

impl Session<'_> {
    async fn lint(&mut self, facts: &Facts) -> Done {
        let paths = Session::paths(&facts.new);
        let mut arguments = vec!["check"];
        arguments.extend(paths.iter().map(String::as_str));
        self.recorder.doing("look at the packages with the distro's lint");
        let answer = self.ask("lint.sh", &arguments).await?;
        let findings = lint_findings::parse(&String::from_utf8_lossy(&answer)).map_err(|message| {
            let _ = self.recorder.write_line(&format!("lint.sh: {message}"));
            Halt::Stage(self.script_failed("lint.sh"))
        })?;
        let judged =
            lint_findings::judge(findings, &self.bench.request.section.lint, self.bench.request.name);
        let check = "the distro's lint has nothing against the packages";
        let told = |found: &[lint_findings::Finding]| -> Vec<Finding> {
            found.iter().map(|f| Finding::new(FailReason::Lint, &f.tag, shown(f))).collect()
        };
        self.judge(Scenario::Lint, check, Tier::Require, told(&judged.failed));
        if !judged.warned.is_empty() {
            self.judge(Scenario::Lint, "nor would it advise against them", Tier::Warn, told(&judged.warned));
        }
        for (finding, reason) in &judged.waived {
            let message = format!("lint: {}", finding.tag);
            let before = self.checks.len();
            let (object, evidence) = (Some(finding.tag.clone()), vec![shown(finding)]);
            self.fail(Scenario::Lint, check, FailReason::Lint, message, object, evidence);
            self.checks[before].accepted = Some((*reason).to_owned());
        }
        for waiver in judged.unused {
            let why =
                format!("the waiver of `{}` ({}) is about nothing that was found", waiver.tag, waiver.reason);
            self.skipped(Scenario::Lint, format!("waiver of {}", waiver.tag), why);
        }
        Ok(())
    }
}

/// A finding as evidence.
fn shown(finding: &lint_findings::Finding) -> String {
    format!("{} {} {}: {}", finding.level, finding.tag, finding.package, finding.detail)
}
