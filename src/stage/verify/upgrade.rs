//! From the release before to this one, and what belongs to the user survives.

use std::collections::BTreeSet;

use super::package::{Facts, Package};
use super::service::Unit;
use super::session::{Session, Start, names, owned_names, session};
use super::state::Finding;
use super::{Bench, Done, Halt};
use crate::engine::Root;
use crate::model::{Check, Digest, FailReason, Scenario, Tier};
use crate::sandbox::Privileges;
use crate::stage::Recorder;

/// What a user writes into a configuration file.
const EDIT: &str = "# a line that the administrator wrote";

/// What a user leaves in a folder of data.
const MARK: &str = "packhold-mark";

/// Writes the line into each of the files.
const WRITE_EDIT: &str =
    "line=$1; shift; for f; do [ -f \"$f\" ] && printf '%s\\n' \"$line\" >>\"$f\"; done; :";

/// Prints the files below /etc but for those that programs keep: accounts, the loader's cache, a machine's identity.
const BELOW_ETC: &str = "find /etc -xdev -type f ! -name 'passwd*' ! -name 'group*' ! -name 'shadow*' \
    ! -name 'gshadow*' ! -name 'sub[ug]id*' ! -name '.*' ! -name ld.so.cache ! -name machine-id";

/// Prints those of the files that do not have the line.
const WITHOUT_EDIT: &str = "line=$1; shift; for f; do grep -qxF -- \"$line\" \"$f\" || echo \"$f\"; done";

/// Makes a file in each of the folders.
const WRITE_MARK: &str = "name=$1; shift; for d; do [ -d \"$d\" ] && echo data >\"$d/$name\"; done; :";

/// Removes them again.
const REMOVE_MARK: &str = "name=$1; shift; for d; do rm -f \"$d/$name\"; done";

pub(super) async fn upgrade<'a>(
    bench: &'a Bench<'a>,
    facts: &'a Facts,
    image: Digest,
    with_init: bool,
    recorder: &'a mut Recorder,
    checks: &'a mut Vec<Check>,
) -> Done {
    let start =
        |root: Root, privileges| Start { builder: bench.request.builder, root, privileges, name: "upgrade" };
    if with_init {
        // A system that runs is not to be had again by its files.
        let start = start(image.into(), Privileges::Init);
        return session(bench, start, recorder, checks, async |session| {
            session.upgrade_under_init(facts).await
        })
        .await;
    }
    // Once for both: with what belongs to the user, and as it is.
    let installed = session(
        bench,
        start(image.into(), Privileges::Offline),
        &mut *recorder,
        &mut *checks,
        async |session| match session.before(facts).await? {
            None => Ok(None),
            Some(made) => Ok(Some((session.snapshot().await?, made))),
        },
    )
    .await?;
    let Some((old, made)) = installed else { return Ok(()) };
    let begin = start(old.root(), Privileges::Offline);
    let work = async |session: &mut Session<'_>| session.upgrade(facts, &made, false).await;
    let mut done = session(bench, begin, &mut *recorder, &mut *checks, work).await;
    if done.is_ok() {
        let begin = start(old.root(), Privileges::Offline);
        let work = async |session: &mut Session<'_>| session.unchanged_is_updated(facts).await;
        done = session(bench, begin, recorder, checks, work).await;
    }
    old.remove().await;
    done
}

impl Session<'_> {
    async fn upgrade_under_init(&mut self, facts: &Facts) -> Done {
        if !self.boot(Scenario::Upgrade).await? {
            return Ok(());
        }
        let Some(made) = self.before(facts).await? else { return Ok(()) };
        self.upgrade(facts, &made, true).await?;
        let title = "install the release before once more";
        let old = Session::paths(&facts.old);
        self.change(Scenario::Upgrade, "install", title, &old, FailReason::UpgradeFailed).await?;
        self.unchanged_is_updated(facts).await
    }

    /// Installs the release before. Gives the files below /etc that this made; nothing where there is no upgrade.
    async fn before(&mut self, facts: &Facts) -> Done<Option<BTreeSet<String>>> {
        let check = "the version is above that of the release before";
        match &facts.not_higher {
            None => self.passed(Scenario::Upgrade, check),
            Some((name, new, old)) => {
                let message = format!("{name} {new} is not above {old}");
                let evidence = vec![format!("{new} <= {old}")];
                let reason = FailReason::VersionNotHigher;
                self.fail(Scenario::Upgrade, check, reason, message, Some(name.clone()), evidence);
                return Err(Halt::Told);
            }
        }
        let etc: BTreeSet<String> = self.files_below_etc().await?;
        if !self.install_old(facts).await? {
            return Ok(None);
        }
        Ok(Some(&self.files_below_etc().await? - &etc))
    }

    /// From the release before, which is installed, to this one and away again.
    async fn upgrade(&mut self, facts: &Facts, made: &BTreeSet<String>, with_init: bool) -> Done {
        let (new, own) = (Session::paths(&facts.new), owned_names(&facts.new));
        let units = if with_init { self.units(facts).await? } else { Vec::new() };
        let running = self.start_old(&units).await?;
        let pids = self.pids(&running).await?;

        let mut edited: Vec<String> = self.editable(&facts.old, made).await?;
        self.edit(&edited).await?;
        let folders = self.data_folders(&facts.old).await?;
        self.shell(WRITE_MARK, MARK, &folders).await?;
        let before = self.state().await?;

        let title = "upgrade from the release before";
        self.change(Scenario::Upgrade, "install", title, &new, FailReason::UpgradeFailed).await?;
        self.installed(Scenario::Upgrade, &facts.new).await?;
        let after = self.state().await?;
        // A file that the new release does not have any more may go.
        let owned: BTreeSet<String> = self.owned_paths(&facts.new).await?;
        edited.retain(|path| owned.contains(path) || after.files.contains_key(path));
        let lost = self.shell(WITHOUT_EDIT, EDIT, &edited).await?;
        let lost = lost.lines().map(|path| {
            Finding::new(
                FailReason::ConffileOverwritten,
                path,
                format!("{path} lost the administrator's line"),
            )
        });
        let check = "configuration that the administrator changed survives";
        self.judge(Scenario::Upgrade, check, Tier::Require, lost.collect());
        let check = "data survives";
        self.judge(Scenario::Upgrade, check, Tier::Require, after.data_lost(&before, &owned));
        self.integrity(Scenario::Upgrade, &facts.new, &before, &after).await?;
        self.restarted(&running, &pids).await?;
        self.smoke(Scenario::Upgrade).await?;
        self.journal(Scenario::Upgrade, &running).await?;
        if self.bench.request.section.scenarios.contains(&Scenario::Rollback) {
            self.rollback(facts).await?;
        }
        self.shell(REMOVE_MARK, MARK, &folders).await?;
        self.change(Scenario::Upgrade, "purge", "purge after the upgrade", &own, FailReason::RemoveFailed)
            .await
    }

    /// Installs the release before. It is not what is verified: if that fails there is nothing to upgrade from.
    async fn install_old(&mut self, facts: &Facts) -> Done<bool> {
        let mut words = vec!["install".to_owned()];
        words.extend(Session::paths(&facts.old));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let result = self.run("install the release before", "verify.sh", &words).await?;
        if result.end.succeeded() {
            return Ok(true);
        }
        let what = self.bench.request.previous.map(|previous| previous.what.clone()).unwrap_or_default();
        let why = format!("{what} cannot be installed any more; see the log");
        self.skipped(Scenario::Upgrade, "upgrade from the release before", why);
        Ok(false)
    }

    /// Starts the services of the release before that its installation leaves to the administrator.
    async fn start_old(&mut self, units: &[Unit]) -> Done<Vec<Unit>> {
        let said = &self.bench.request.section.services;
        let mut running = Vec::new();
        for unit in units.iter().filter(|unit| unit.installable && !unit.name.contains("@.")) {
            if said.iter().any(|service| service.unit == unit.name && !service.start) {
                continue;
            }
            let shown = self.show(std::slice::from_ref(&unit.name)).await?;
            let runs = shown.get(&unit.name).is_some_and(super::service::Shown::runs);
            let title = format!("start {} of the release before", unit.name);
            // What does not start in the release before cannot be restarted by this one.
            if runs || self.run(&title, "service.sh", &["start", &unit.name]).await?.end.succeeded() {
                running.push(unit.clone());
            }
        }
        Ok(running)
    }

    /// Services that ran run the new program now.
    async fn restarted(
        &mut self,
        running: &[Unit],
        before: &std::collections::BTreeMap<String, u32>,
    ) -> Done {
        let now = self.pids(running).await?;
        let mut found = Vec::new();
        for (unit, old) in before {
            match now.get(unit) {
                Some(new) if new != old => {}
                Some(old) => {
                    let evidence = format!("{unit} still is process {old} of the release before");
                    found.push(Finding::new(FailReason::ServiceNotRestarted, unit, evidence));
                }
                None => {
                    let evidence = format!("{unit} does not run after the upgrade");
                    found.push(Finding::new(FailReason::ServiceNotRestarted, unit, evidence));
                }
            }
        }
        self.judge(Scenario::Upgrade, "services run the new program", Tier::Require, found);
        Ok(())
    }

    async fn rollback(&mut self, facts: &Facts) -> Done {
        let (new, old) = (Session::paths(&facts.new), Session::paths(&facts.old));
        let scenario = Scenario::Rollback;
        self.change(scenario, "downgrade", "go back", &old, FailReason::RollbackFailed).await?;
        self.installed(scenario, &facts.old).await?;
        self.change(scenario, "install", "upgrade again", &new, FailReason::RollbackFailed).await?;
        self.installed(scenario, &facts.new).await?;
        self.smoke(scenario).await?;
        Ok(())
    }

    /// Configuration that nobody changed is that of the new release after an upgrade from the one before, which is installed.
    async fn unchanged_is_updated(&mut self, facts: &Facts) -> Done {
        let new = Session::paths(&facts.new);
        let title = "upgrade it as it is";
        self.change(Scenario::Upgrade, "install", title, &new, FailReason::UpgradeFailed).await?;
        let found = self.conffiles(&facts.new).await?;
        let stale = found.into_iter().filter(|(_, how)| how == "changed" || how == "missing");
        let stale = stale.map(|(path, how)| {
            Finding::new(FailReason::ConffileNotUpdated, &path, format!("{path} is {how} after an upgrade"))
        });
        let check = "configuration that nobody changed is that of the new release";
        self.judge(Scenario::Upgrade, check, Tier::Require, stale.collect());
        Ok(())
    }

    /// Writes a line into files, as an administrator does.
    pub async fn edit(&mut self, paths: &[String]) -> Done {
        self.shell(WRITE_EDIT, EDIT, paths).await.map(drop)
    }

    /// The files below /etc that an administrator may write into.
    async fn files_below_etc(&mut self) -> Done<BTreeSet<String>> {
        Ok(self.shell(BELOW_ETC, "", &[]).await?.lines().map(str::to_owned).collect())
    }

    /// Files that an administrator may edit: every file of the packages below /etc, and those that their scripts made
    /// there.
    async fn editable(&mut self, packages: &[Package], made: &BTreeSet<String>) -> Done<Vec<String>> {
        let owned = self.owned_paths(packages).await?;
        let conffiles: BTreeSet<String> =
            self.conffiles(packages).await?.into_iter().map(|(path, _)| path).collect();
        let below_etc = owned.iter().filter(|path| path.starts_with("/etc/"));
        Ok(below_etc
            .chain(&conffiles)
            .chain(made)
            .cloned()
            .collect::<BTreeSet<String>>()
            .into_iter()
            .collect())
    }

    async fn owned_paths(&mut self, packages: &[Package]) -> Done<BTreeSet<String>> {
        let mut arguments = vec!["files"];
        arguments.extend(names(packages));
        let answer = self.ask("verify.sh", &arguments).await?;
        Ok(super::integrity::paths(&answer, 'f'))
    }

    /// Folders of the packages in which a program keeps data.
    async fn data_folders(&mut self, packages: &[Package]) -> Done<Vec<String>> {
        let mut arguments = vec!["files"];
        arguments.extend(names(packages));
        let answer = self.ask("verify.sh", &arguments).await?;
        let data = ["/var/lib/", "/var/spool/", "/srv/"];
        let folders = super::integrity::paths(&answer, 'd');
        // Not /var/lib itself and what other packages share.
        Ok(folders
            .into_iter()
            .filter(|path| data.iter().any(|folder| path.starts_with(folder) && path.len() > folder.len()))
            .filter(|path| !path.starts_with("/var/lib/systemd") && !path.starts_with("/var/lib/dpkg"))
            .collect())
    }

    async fn shell(&mut self, text: &str, word: &str, paths: &[String]) -> Done<String> {
        let mut argv = vec!["/bin/sh", "-c", text, "sh", word];
        argv.extend(paths.iter().map(String::as_str));
        let command = self.command(&argv);
        Ok(String::from_utf8_lossy(&self.answer(&command, "sh").await?).into_owned())
    }
}
