//! The packages' units under a real init system.

use std::collections::BTreeMap;
use std::time::Duration;

use super::package::Facts;
use super::session::{Session, Start, names, owned_names, session};
use super::state::Finding;
use super::{Bench, Done, Halt};
use crate::model::{Check, Digest, FailReason, Scenario, Tier};
use crate::sandbox::{Privileges, StepEnd};
use crate::stage::Recorder;

/// A unit of the packages, as `service.sh units` tells it (builders/README.md).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    pub name: String,
    pub installable: bool,
}

impl Unit {
    fn is_template(&self) -> bool {
        self.name.contains("@.")
    }
}

/// What systemd says of a unit, as `service.sh show` tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shown {
    load: String,
    pub active: String,
    sub: String,
    enabled: String,
    preset: String,
    pub pid: u32,
    restarts: u32,
    kind: String,
}

impl Shown {
    pub fn runs(&self) -> bool {
        matches!(self.active.as_str(), "active" | "activating" | "reloading")
    }

    fn ends_by_itself(&self) -> bool {
        self.kind == "oneshot"
    }
}

pub(super) async fn service<'a>(
    bench: &'a Bench<'a>,
    facts: &'a Facts,
    image: Digest,
    recorder: &'a mut Recorder,
    checks: &'a mut Vec<Check>,
) -> Done {
    let start = Start {
        builder: bench.request.builder,
        root: image.into(),
        privileges: Privileges::Init,
        name: "service",
    };
    session(bench, start, recorder, checks, async |session| session.service(facts).await).await
}

impl Session<'_> {
    async fn service(&mut self, facts: &Facts) -> Done {
        if !self.boot(Scenario::Service).await? {
            return Ok(());
        }
        let before = self.state().await?;
        let (paths, own) = (Session::paths(&facts.new), owned_names(&facts.new));
        let title = "install the packages under systemd";
        self.change(Scenario::Service, "install", title, &paths, FailReason::InstallFailed).await?;
        let units = self.units(facts).await?;
        self.check_units(&units).await?;
        let running = self.expect_started(&units).await?;
        let well = self.stays(Scenario::Service, &running).await?;
        if well {
            self.smoke(Scenario::Service).await?;
        }
        self.journal(Scenario::Service, &running).await?;
        let check = "cron jobs and settings of logrotate do not fail";
        self.run_jobs(Scenario::Service, check, facts).await?;

        let pids = self.pids(&running).await?;
        let title = "remove the packages under systemd";
        self.change(Scenario::Service, "remove", title, &own, FailReason::RemoveFailed).await?;
        let now = self.state().await?;
        let mut found: Vec<Finding> = Vec::new();
        for (unit, pid) in &pids {
            if now.processes.contains_key(pid) {
                let evidence = format!("process {pid} of {unit} still runs");
                found.push(Finding::new(FailReason::ServiceNotStopped, unit, evidence));
            }
        }
        let running: Vec<String> = running.iter().map(|unit| unit.name.clone()).collect();
        for (unit, shown) in self.show(&running).await? {
            if shown.runs() && !found.iter().any(|finding| finding.object == unit) {
                found.push(Finding::new(
                    FailReason::ServiceNotStopped,
                    &unit,
                    format!("{unit} is {}", shown.active),
                ));
            }
        }
        self.judge(Scenario::Service, "services stop when the package is removed", Tier::Require, found);
        let title = "purge the packages under systemd";
        self.change(Scenario::Service, "purge", title, &own, FailReason::RemoveFailed).await?;
        let left = self.state().await?.after_purge(&before, &[], self.bench.request.name.format);
        // Files that a running system made are not the package's; what enables its units is.
        let links =
            left.into_iter().filter(|finding| finding.reason == FailReason::UnitLinkLeftBehind).collect();
        self.judge(Scenario::Service, "no link enables what is gone", Tier::Require, links);
        Ok(())
    }

    /// Waits for the init system. False, and a check that says so, if it does not run here.
    pub async fn boot(&mut self, scenario: Scenario) -> Done<bool> {
        let result = self.run("start systemd", "service.sh", &["booted"]).await;
        let why = match result {
            Ok(result) if result.end.succeeded() => return Ok(true),
            Ok(result) => match result.end {
                StepEnd::ContainerGone { .. } => "systemd ended at once in the container".to_owned(),
                end => format!("systemd does not get up in the container ({end:?})"),
            },
            Err(Halt::Stage(crate::model::Outcome::Infra {
                reason: crate::model::InfraReason::EngineError,
                message,
                ..
            })) => format!("the container does not run with systemd: {message}"),
            Err(halt) => return Err(halt),
        };
        self.skipped(scenario, "the init system runs", format!("systemd: {why}"));
        Ok(false)
    }

    pub async fn units(&mut self, facts: &Facts) -> Done<Vec<Unit>> {
        let mut arguments = vec!["units"];
        arguments.extend(names(&facts.new));
        let lines = self.lines("service.sh", &arguments).await?;
        Ok(lines
            .iter()
            .filter_map(|line| {
                let mut fields = line.split('\t');
                let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
                Some(Unit { name, installable: fields.nth(1) == Some("yes") })
            })
            .collect())
    }

    async fn check_units(&mut self, units: &[Unit]) -> Done {
        let (mut found, mut advice) = (Vec::new(), Vec::new());
        for unit in units {
            let lines = self.lines("service.sh", &["check", &unit.name]).await?;
            for line in lines.iter().filter(|line| !line.trim().is_empty()) {
                // What systemd would rather have otherwise, such as the mode of the file.
                let list = if line.ends_with("Proceeding anyway.") { &mut advice } else { &mut found };
                list.push(Finding::new(FailReason::UnitInvalid, &unit.name, line.as_str()));
            }
        }
        self.judge(Scenario::Service, "units are valid", Tier::Require, found);
        if !advice.is_empty() {
            self.judge(Scenario::Service, "systemd has nothing to add", Tier::Warn, advice);
        }
        Ok(())
    }

    pub async fn show(&mut self, units: &[String]) -> Done<BTreeMap<String, Shown>> {
        if units.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut arguments = vec!["show"];
        arguments.extend(units.iter().map(String::as_str));
        let lines = self.lines("service.sh", &arguments).await?;
        Ok(lines.iter().filter_map(|line| parse_shown(line)).collect())
    }

    /// Units are enabled and started as the distro's policy or the pipeline says. Gives those that must run, started by
    /// verify where installation does not.
    pub async fn expect_started(&mut self, units: &[Unit]) -> Done<Vec<Unit>> {
        let starts =
            self.lines("service.sh", &["policy"]).await?.first().map(String::as_str) == Some("start");
        let said = &self.bench.request.section.services;
        let plain: Vec<Unit> = units.iter().filter(|unit| !unit.is_template()).cloned().collect();
        let shown = self.show(&plain.iter().map(|unit| unit.name.clone()).collect::<Vec<_>>()).await?;
        let (mut found, mut running) = (Vec::new(), Vec::new());
        for unit in plain {
            let expected = said.iter().find(|service| service.unit == unit.name);
            if !unit.installable && expected.is_none() {
                continue;
            }
            let Some(shown) = shown.get(&unit.name) else { continue };
            let by_policy = if starts { true } else { shown.preset == "enabled" };
            let enabled = expected.and_then(|e| e.enabled).unwrap_or(by_policy && unit.installable);
            if unit.installable && enabled != (shown.enabled == "enabled") {
                let word = if enabled { "enabled" } else { "disabled" };
                let evidence = format!("{} is {} and should be {word}", unit.name, shown.enabled);
                found.push(Finding::new(FailReason::UnitNotEnabled, &unit.name, evidence));
            }
            let started = expected.and_then(|e| e.started).unwrap_or(starts && enabled);
            let failed = shown.active == "failed";
            if started != shown.runs() && !shown.ends_by_itself() && !failed {
                let word = if started { "started" } else { "stopped" };
                let evidence = format!("{} is {} and should be {word}", unit.name, shown.active);
                found.push(Finding::new(FailReason::UnitNotStarted, &unit.name, evidence));
            }
            if expected.is_none_or(|service| service.start) {
                if !shown.runs() && !failed {
                    let title = format!("start {}", unit.name);
                    let result = self.run(&title, "service.sh", &["start", &unit.name]).await?;
                    if !result.end.succeeded() {
                        let message = format!("{} does not start", unit.name);
                        let object = Some(unit.name.clone());
                        let evidence = vec![String::from_utf8_lossy(self.recorder.tail()).trim().to_owned()];
                        let reason = FailReason::ServiceFailed;
                        self.fail(Scenario::Service, &title, reason, message, object, evidence);
                        continue;
                    }
                }
                running.push(unit);
            }
        }
        let check = "units are enabled and started as the distro's policy says";
        self.judge(Scenario::Service, check, Tier::Require, found);
        Ok(running)
    }

    /// Services stay as they are for the time that the pipeline says.
    pub async fn stays(&mut self, scenario: Scenario, running: &[Unit]) -> Done<bool> {
        let names: Vec<String> = running.iter().map(|unit| unit.name.clone()).collect();
        let time = self.bench.request.section.active;
        let check = format!("services stay for {}", humantime::format_duration(time));
        let first = self.show(&names).await?;
        self.recorder.doing(&check);
        // Asked every second: a service that dies and is started again must not be taken for one that stays.
        let mut left = time;
        let mut found: Vec<Finding> = Vec::new();
        loop {
            let now = self.show(&names).await?;
            found.extend(names.iter().filter_map(|name| gone(name, first.get(name)?, now.get(name)?)));
            if left.is_zero() || !found.is_empty() {
                break;
            }
            let pause = left.min(Duration::from_secs(1));
            tokio::time::sleep(pause).await;
            left -= pause;
        }
        let well = found.is_empty();
        self.judge(scenario, &check, Tier::Require, found);
        Ok(well)
    }

    /// Nothing at priority err in the journals of the units.
    pub async fn journal(&mut self, scenario: Scenario, running: &[Unit]) -> Done {
        let mut found = Vec::new();
        for unit in running {
            let lines = self.lines("service.sh", &["journal", &unit.name]).await?;
            let said = lines.iter().filter(|line| !line.trim().is_empty());
            found.extend(said.map(|line| Finding::new(FailReason::JournalError, &unit.name, line.as_str())));
        }
        self.judge(scenario, "services write no errors to their journals", Tier::Require, found);
        Ok(())
    }

    /// Unit → main process of those that have one.
    pub async fn pids(&mut self, running: &[Unit]) -> Done<BTreeMap<String, u32>> {
        let names: Vec<String> = running.iter().map(|unit| unit.name.clone()).collect();
        let shown = self.show(&names).await?;
        Ok(shown.into_iter().filter(|(_, s)| s.pid != 0).map(|(name, s)| (name, s.pid)).collect())
    }
}

/// Whether a service that ran is not what it was.
fn gone(name: &str, first: &Shown, now: &Shown) -> Option<Finding> {
    let ended_well = first.ends_by_itself() && now.active != "failed";
    let stays = now.runs() && now.restarts == first.restarts && now.pid == first.pid;
    // Started before it was looked at and died in between: then it was restarted, or is not active.
    if ended_well || stays {
        return None;
    }
    let evidence = format!("{name}: {} ({}), restarted {} times", now.active, now.sub, now.restarts);
    Some(Finding::new(FailReason::ServiceFailed, name, evidence))
}

fn parse_shown(line: &str) -> Option<(String, Shown)> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [name, load, active, sub, enabled, preset, pid, restarts, kind] = fields[..] else { return None };
    let shown = Shown {
        load: load.to_owned(),
        active: active.to_owned(),
        sub: sub.to_owned(),
        enabled: enabled.to_owned(),
        preset: preset.to_owned(),
        pid: pid.parse().unwrap_or_default(),
        restarts: restarts.parse().unwrap_or_default(),
        kind: kind.to_owned(),
    };
    Some((name.to_owned(), shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_dies_or_is_started_again_does_not_stay() {
        let first =
            parse_shown("x.service\tloaded\tactive\trunning\tenabled\tenabled\t7\t0\tsimple").unwrap().1;
        assert_eq!(gone("x.service", &first, &first), None);
        for now in [
            Shown { active: "failed".into(), pid: 0, ..first.clone() },
            Shown { restarts: 1, ..first.clone() },
            Shown { pid: 8, ..first.clone() },
            Shown { active: "inactive".into(), pid: 0, ..first.clone() },
        ] {
            assert_eq!(gone("x.service", &first, &now).unwrap().reason, FailReason::ServiceFailed);
        }
        let once = Shown { kind: "oneshot".into(), active: "inactive".into(), ..first };
        assert_eq!(gone("x.service", &once, &once), None);
    }
}
