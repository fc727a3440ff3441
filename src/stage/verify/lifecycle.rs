//! From installation to purge in one container: install, integrity, smoke, reinstall, remove, purge.

use std::collections::BTreeSet;

use super::package::Facts;
use super::session::{Session, Start, owned_names, session};
use super::state::State;
use super::{Bench, Done};
use crate::model::{Check, Digest, FailReason, Format, Scenario, Tier};
use crate::sandbox::Privileges;
use crate::stage::Recorder;

pub(super) async fn lifecycle<'a>(
    bench: &'a Bench<'a>,
    facts: &'a Facts,
    image: Digest,
    recorder: &'a mut Recorder,
    checks: &'a mut Vec<Check>,
) -> Done {
    let start = Start {
        builder: bench.request.builder,
        root: image.into(),
        privileges: Privileges::Offline,
        name: "lifecycle",
    };
    session(bench, start, recorder, checks, async |session| session.lifecycle(facts).await).await
}

/// Once around: what the system was like, and what of it must be as before.
struct Before<'a> {
    facts: &'a Facts,
    state: State,
    conffiles: BTreeSet<String>,
}

impl Session<'_> {
    async fn lifecycle(&mut self, facts: &Facts) -> Done {
        let scenarios = &self.bench.request.section.scenarios;
        let wanted = |scenario| scenarios.contains(&scenario);
        let (removes, purges) = (wanted(Scenario::Remove), wanted(Scenario::Purge));
        let (paths, own) = (Session::paths(&facts.new), owned_names(&facts.new));
        let state = self.state().await?;
        let title = "install the packages";
        self.change(Scenario::Install, "install", title, &paths, FailReason::InstallFailed).await?;
        self.installed(Scenario::Install, &facts.new).await?;
        self.unchanged(Scenario::Install, &facts.new).await?;
        let installed = self.state().await?;
        if wanted(Scenario::Integrity) {
            self.integrity(Scenario::Integrity, &facts.new, &state, &installed).await?;
            self.owned_alone(facts, &state, &installed).await?;
        }
        let well = !wanted(Scenario::Smoke) || self.smoke(Scenario::Smoke).await?;
        if wanted(Scenario::Reinstall) {
            let title = "install them once more";
            self.change(Scenario::Reinstall, "install", title, &paths, FailReason::ReinstallFailed).await?;
        }

        let before = if removes {
            let conffiles: BTreeSet<String> =
                self.conffiles(&facts.new).await?.into_iter().map(|(path, _)| path).collect();
            if self.bench.request.name.format == Format::Rpm {
                let edited: Vec<String> = conffiles.iter().cloned().collect();
                self.edit(&edited).await?;
            }
            Before { facts, state, conffiles }
        } else {
            Before { facts, state, conffiles: BTreeSet::new() }
        };
        if removes || wanted(Scenario::Reinstall) {
            let title = "remove the packages";
            self.change(Scenario::Remove, "remove", title, &own, FailReason::RemoveFailed).await?;
        }
        if removes {
            self.look_after_remove(&before, &installed).await?;
            let check = "cron jobs and settings of logrotate that are left do not fail";
            self.run_jobs(Scenario::Remove, check, facts).await?;
        }
        if wanted(Scenario::Reinstall) {
            let title = "install them after they were removed";
            self.change(Scenario::Reinstall, "install", title, &paths, FailReason::ReinstallFailed).await?;
            // What did not answer the first time says nothing about this time.
            if well {
                self.smoke(Scenario::Reinstall).await?;
            }
        }
        if purges {
            let title = "purge the packages";
            self.change(Scenario::Purge, "purge", title, &own, FailReason::RemoveFailed).await?;
            self.look_after_purge(&before, Scenario::Purge).await?;
        }
        Ok(())
    }

    async fn look_after_remove(&mut self, before: &Before<'_>, installed: &State) -> Done {
        // rpm knows no removal that keeps configuration: erasing is purging.
        if self.bench.request.name.format == Format::Rpm {
            let now = self.look_after_purge(before, Scenario::Remove).await?;
            let check = "configuration that the administrator changed is saved";
            self.judge(Scenario::Remove, check, Tier::Require, now.not_saved(&before.conffiles));
            return Ok(());
        }
        let now = self.state().await?;
        let mut found = now.after_remove(&before.state, &before.conffiles);
        found.extend(now.lost(installed, &before.conffiles));
        self.judge(Scenario::Remove, "only configuration and data are left", Tier::Require, found);
        Ok(())
    }

    async fn look_after_purge(&mut self, before: &Before<'_>, scenario: Scenario) -> Done<State> {
        let now = self.state().await?;
        let names = super::session::names(&before.facts.new);
        let found = now.after_purge(&before.state, &names, self.bench.request.name.format);
        self.judge(scenario, "the system is as it was before", Tier::Require, found);
        Ok(now)
    }
}
