//! One sandbox in which a package is verified: commands, questions and what was found.

use std::collections::BTreeMap;
use std::fs::File;

use super::package::{Package, PackageFile};
use super::state::{Finding, State};
use super::{Bench, Done, Halt, hint};
use crate::config::{Builder, StageLimits};
use crate::engine::{Command, Root};
use crate::model::{Check, FailReason, Outcome, Scenario, Stage, TargetName, Tier};
use crate::plan::TargetPlan;
use crate::sandbox::{Privileges, Sandbox, SandboxSpec, SmallFile, Snapshot, StepEnd, StepResult, scope};
use crate::stage::environment::{container_limits, put_scripts, script, version_env, watch};
use crate::stage::streams::written;
use crate::stage::userland::builder_failed;
use crate::stage::{Recorder, SourceTree, StageResult, Workshop, diagnose, infrastructure};
use crate::support::terminal_text::neutralise;

/// Where the packages lie in the sandbox.
pub(super) const PACKAGES: &str = "/packages";

/// Exit statuses of `verify.sh` (builders/README.md).
const UNREACHABLE: i64 = 4;
const CONFLICT: i64 = 5;
const SCRIPTLET: i64 = 6;

/// Findings of one kind that are told one by one; of more, only the number.
const TOLD: usize = 50;

/// Lines of evidence that are kept of a failed step.
const EVIDENCE_LINES: usize = 20;

/// One sandbox of one scenario.
pub(super) struct Session<'a> {
    pub bench: &'a Bench<'a>,
    pub builder: &'a Builder,
    pub recorder: &'a mut Recorder,
    pub sandbox: Sandbox,
    pub checks: &'a mut Vec<Check>,
}

/// What a sandbox is made of.
pub(super) struct Start<'a> {
    pub builder: &'a Builder,
    pub root: Root,
    pub privileges: Privileges,
    /// A word for its name.
    pub name: &'a str,
}

/// Makes a sandbox with the builder's scripts and the packages in it, and works in it.
pub(super) async fn session<'a, T, F>(
    bench: &'a Bench<'a>,
    start: Start<'a>,
    recorder: &'a mut Recorder,
    checks: &'a mut Vec<Check>,
    work: F,
) -> Done<T>
where
    F: AsyncFnOnce(&mut Session<'a>) -> Done<T>,
{
    let stage = recorder.stage();
    let spec = SandboxSpec {
        root: start.root.clone(),
        name: format!("{}-{}", bench.request.name.file_stem(), start.name),
        privileges: start.privileges,
        limits: container_limits(bench.limits()),
        run: bench.shop.run.to_string(),
        hostname: None,
    };
    scope(&bench.shop.engine, spec, &bench.shop.cancel, |sandbox| async move {
        let mut session = Session { bench, builder: start.builder, recorder, sandbox, checks };
        // A snapshot of such a sandbox has them.
        if matches!(start.root, Root::Image(_)) {
            session.put().await?;
        }
        work(&mut session).await
    })
    .await
    .map_err(|e| Halt::Stage(infrastructure(stage, &e)))?
}

/// Puts a builder's scripts and packages, new and earlier ones, into a sandbox.
pub(in crate::stage) async fn put_packages(
    shop: &Workshop,
    stage: Stage,
    sandbox: &Sandbox,
    builder: &Builder,
    [new, old]: [&[PackageFile]; 2],
) -> StageResult<()> {
    let infra = |error| infrastructure(stage, &error);
    put_scripts(sandbox, builder).await.map_err(infra)?;
    let folders = ["packages", "packages/new", "packages/old"];
    let folders: Vec<SmallFile<'_>> = folders.map(|name| SmallFile::folder(name, 0)).into();
    sandbox.put_files("/", &folders).await.map_err(infra)?;
    let of = |folder: &'static str, files: &[PackageFile]| -> Vec<(String, PackageFile)> {
        files.iter().map(|file| (format!("{folder}/{}", file.name), file.clone())).collect()
    };
    let files = [of("new", new), of("old", old)].concat();
    let archive = shop.archive.clone();
    let tar = written(move |out| {
        let mut tar = tar::Builder::new(out);
        for (name, file) in files {
            let content: Box<dyn std::io::Read> = match &file.path {
                Some(path) => Box::new(File::open(path)?),
                None => Box::new(archive.open_blob(&file.digest).map_err(std::io::Error::other)?),
            };
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header.set_size(file.size);
            tar.append_data(&mut header, &name, content)?;
        }
        tar.into_inner()?.flush()
    });
    sandbox.put(PACKAGES, tar).await.map_err(infra)
}

impl Session<'_> {
    /// Puts the builder's scripts and the packages, new and earlier ones, into the sandbox.
    pub async fn put(&mut self) -> Done {
        let Bench { shop, request } = self.bench;
        let old = request.previous.map_or(&[][..], |previous| &previous.packages);
        let stage = self.recorder.stage();
        Ok(put_packages(shop, stage, &self.sandbox, self.builder, [request.packages, old]).await?)
    }

    /// What the system is like now, for other sessions to start from. This one ends.
    pub async fn snapshot(&mut self) -> Done<Snapshot> {
        self.recorder.doing("keep the system as it is");
        let made = self.sandbox.snapshot().await;
        made.map_err(|error| Halt::Stage(infrastructure(self.recorder.stage(), &error)))
    }

    /// A command with the environment of the contract.
    pub fn command(&self, argv: &[&str]) -> Command {
        let mut command = script(self.builder, "", &[], self.bench.request.env.clone());
        command.argv = argv.iter().map(|word| (*word).to_owned()).collect();
        command
    }

    fn script(&self, name: &str, arguments: &[&str]) -> Command {
        let path = format!("/packhold/{name}");
        let mut argv = vec!["/bin/sh", "-eu", &path];
        argv.extend(arguments);
        self.command(&argv)
    }

    /// Runs a script; what it prints is the log.
    pub async fn run(&mut self, title: &str, name: &str, arguments: &[&str]) -> Done<StepResult> {
        let command = self.script(name, arguments);
        Ok(self.recorder.step(&self.sandbox, title, &command, &watch(self.bench.limits())).await?)
    }

    /// Runs a script whose standard output is an answer, and gives it. An answer that cannot be had is a fault of the
    /// builder's script.
    pub async fn ask(&mut self, name: &str, arguments: &[&str]) -> Done<Vec<u8>> {
        let command = self.script(name, arguments);
        self.answer(&command, name).await
    }

    /// The lines of an answer.
    pub async fn lines(&mut self, name: &str, arguments: &[&str]) -> Done<Vec<String>> {
        let answer = self.ask(name, arguments).await?;
        Ok(String::from_utf8_lossy(&answer).lines().map(str::to_owned).collect())
    }

    /// Runs a command whose standard output is an answer.
    pub async fn answer(&mut self, command: &Command, name: &str) -> Done<Vec<u8>> {
        let mut answer = Vec::new();
        let mut keep = |chunk: &[u8]| {
            answer.extend_from_slice(chunk);
            Ok(())
        };
        let limits = StageLimits { output: 256 << 20, ..self.builder.limits() };
        let result = self.sandbox.run(command, &watch(&limits), &mut keep).await;
        let result = result.map_err(|e| Halt::Stage(infrastructure(self.recorder.stage(), &e)))?;
        if result.end.succeeded() {
            return Ok(answer);
        }
        let shown = String::from_utf8_lossy(&answer[answer.len().saturating_sub(4096)..]).into_owned();
        self.recorder.write_line(&format!("{}: {shown}", command.argv.join(" ")))?;
        Err(Halt::Stage(match result.end {
            StepEnd::Exited { .. } => builder_failed(self.recorder, self.builder, name),
            _ => diagnose::step(self.recorder, name, &result, &watch(&limits)),
        }))
    }

    /// The outcome when a builder's script does not do what it must.
    pub fn script_failed(&self, name: &str) -> Outcome {
        builder_failed(self.recorder, self.builder, name)
    }

    /// What the system looks like now.
    pub async fn state(&mut self) -> Done<State> {
        self.recorder.doing("look at the system");
        let answer = self.ask("verify.sh", &["state"]).await?;
        State::parse(&answer).map_err(|message| {
            // What the package's scripts did to the system may have done this.
            Halt::Stage(Outcome::Failed {
                stage: self.recorder.stage(),
                reason: FailReason::StepExit,
                message: format!("the state of the system cannot be read: {message}"),
                hint: "does a maintainer script replace find, sha256sum or the shell?".to_owned(),
            })
        })
    }

    /// Notes that something is as it should be.
    pub fn passed(&mut self, scenario: Scenario, check: impl Into<String>) {
        self.checks.push(Check::new(scenario, check, Outcome::Passed));
    }

    /// Notes that something was not looked at.
    pub fn skipped(&mut self, scenario: Scenario, check: impl Into<String>, why: impl Into<String>) {
        self.checks.push(Check::new(scenario, check, Outcome::Skipped { why: why.into() }));
    }

    /// Notes a failure of the package with the end of what the last step printed as its evidence.
    pub fn failed(&mut self, scenario: Scenario, check: &str, reason: FailReason, message: String) {
        let tail = String::from_utf8_lossy(self.recorder.tail());
        let lines: Vec<String> =
            tail.lines().filter(|line| !line.trim().is_empty()).map(|l| neutralise(l.as_bytes())).collect();
        let evidence = lines[lines.len().saturating_sub(EVIDENCE_LINES)..].to_vec();
        self.fail(scenario, check, reason, message, None, evidence);
    }

    /// Notes a failure of the package.
    pub fn fail(
        &mut self,
        scenario: Scenario,
        check: &str,
        reason: FailReason,
        message: String,
        object: Option<String>,
        evidence: Vec<String>,
    ) {
        let outcome = diagnose::failed(self.recorder, reason, message, hint(reason));
        self.checks.push(Check { object, evidence, ..Check::new(scenario, check, outcome) });
    }

    /// Notes findings one by one, or that there are none.
    pub fn judge(&mut self, scenario: Scenario, check: &str, tier: Tier, mut findings: Vec<Finding>) {
        findings.sort();
        // What was told in an earlier step is told once.
        let told = |finding: &Finding| {
            self.checks.iter().any(|check| {
                check.reason() == Some(finding.reason) && check.object.as_ref() == Some(&finding.object)
            })
        };
        findings.retain(|finding| !told(finding));
        if findings.is_empty() {
            self.passed(scenario, check);
            return;
        }
        let more = findings.len().saturating_sub(TOLD);
        for finding in findings.into_iter().take(TOLD) {
            let message = format!("{}: {}", finding.reason, finding.object);
            let outcome = diagnose::failed(self.recorder, finding.reason, message, hint(finding.reason));
            let evidence = vec![finding.evidence];
            let object = Some(finding.object);
            self.checks.push(Check { tier, object, evidence, ..Check::new(scenario, check, outcome) });
        }
        if more > 0 {
            self.skipped(scenario, format!("{check}: {more} more"), "too many to be told one by one");
        }
    }

    /// Installs, replaces or removes packages. `otherwise` is the reason when nothing more precise is known.
    pub async fn change(
        &mut self,
        scenario: Scenario,
        command: &str,
        title: &str,
        arguments: &[String],
        otherwise: FailReason,
    ) -> Done {
        let mut words = vec![command];
        words.extend(arguments.iter().map(String::as_str));
        let result = self.run(title, "verify.sh", &words).await?;
        if result.end.succeeded() {
            self.passed(scenario, title);
            return Ok(());
        }
        let said = |session: &Self, word: &str| {
            let lines = diagnose::contract_lines(session.recorder.tail(), word).join("; ");
            neutralise(lines.as_bytes())
        };
        match result.end {
            // Here nothing of the package runs: what says nothing is the mirror.
            StepEnd::Silent | StepEnd::TimeOut if command == "provide" => {
                let _ = self.recorder.write_line("packhold: mirror-unreachable");
                return Err(Halt::Stage(builder_failed(self.recorder, self.builder, "verify.sh")));
            }
            StepEnd::Exited { code: UNREACHABLE, .. } => {
                return Err(Halt::Stage(builder_failed(self.recorder, self.builder, "verify.sh")));
            }
            StepEnd::Exited { code: CONFLICT, .. } => {
                let message = format!("the packages cannot be installed: {}", said(self, "install-conflict"));
                self.failed(scenario, title, FailReason::InstallConflict, message);
            }
            StepEnd::Exited { code: SCRIPTLET, .. } => {
                let message = format!("a scriptlet failed: {}", said(self, "scriptlet-failed"));
                // Of an installation that rpm calls done, this is the reason; elsewhere it is why the step counts as failed.
                let reason = match otherwise {
                    FailReason::InstallFailed => FailReason::ScriptletFailed,
                    otherwise => otherwise,
                };
                self.failed(scenario, title, reason, message);
            }
            StepEnd::Exited { code, oom: false, process_limit: false } => {
                let script = said(self, "script-failed");
                let message = if script.is_empty() {
                    format!("`{title}` ended with exit status {code}")
                } else {
                    format!("`{title}`: {script}")
                };
                self.failed(scenario, title, otherwise, message);
            }
            StepEnd::Silent | StepEnd::TimeOut => self.stuck(scenario, title, &result).await?,
            _ => {
                let outcome = diagnose::step(self.recorder, title, &result, &watch(self.bench.limits()));
                if matches!(outcome, Outcome::Infra { .. }) {
                    return Err(Halt::Stage(outcome));
                }
                self.checks.push(Check::new(scenario, title, outcome));
            }
        }
        Err(Halt::Told)
    }

    /// A script does not end: does it wait for an answer?
    async fn stuck(&mut self, scenario: Scenario, title: &str, result: &StepResult) -> Done {
        let waiting = self.lines("verify.sh", &["waiting"]).await?;
        let asks = waiting.iter().find(|line| line.ends_with("reads standard input"));
        let limits = self.bench.limits();
        let limit = if result.end == StepEnd::Silent { limits.silence } else { limits.time };
        let limit = humantime::format_duration(limit);
        let evidence = waiting.iter().map(|line| neutralise(line.as_bytes())).collect();
        let (reason, message) = match asks {
            Some(_) => (FailReason::AsksQuestion, format!("`{title}` waits for an answer that nobody gives")),
            None => (FailReason::Hangs, format!("`{title}` did not end: stopped after {limit}")),
        };
        self.fail(scenario, title, reason, message, None, evidence);
        Ok(())
    }

    /// What is installed is what was built: the versions in the package database, and the bytes of the files that
    /// were installed.
    pub async fn installed(&mut self, scenario: Scenario, packages: &[Package]) -> Done {
        let names = names(packages);
        let mut arguments = vec!["installed"];
        arguments.extend(&names);
        let lines = self.lines("verify.sh", &arguments).await?;
        for Package { identity, .. } in packages {
            let (name, version) = (&identity.name, &identity.version);
            let check = format!("{name} is installed as {version}");
            if lines.contains(&format!("{name}\t{version}")) {
                self.passed(scenario, check);
                continue;
            }
            let found: Vec<String> =
                lines.iter().filter(|l| l.starts_with(&format!("{name}\t"))).cloned().collect();
            let found = if found.is_empty() { "nothing of that name".to_owned() } else { found.join(", ") };
            let message =
                format!("{name} {version} was built, but installed is {}", found.replace('\t', " "));
            self.fail(scenario, &check, FailReason::WrongVersion, message, Some(name.clone()), lines.clone());
            return Err(Halt::Told);
        }
        Ok(())
    }

    /// The bytes of the files that were installed are those of the artifacts.
    pub async fn unchanged(&mut self, scenario: Scenario, packages: &[Package]) -> Done {
        let paths: Vec<String> = packages.iter().map(|package| package.path.clone()).collect();
        let mut argv = vec!["sha256sum", "--"];
        argv.extend(paths.iter().map(String::as_str));
        let command = self.command(&argv);
        let said = String::from_utf8_lossy(&self.answer(&command, "sha256sum").await?).into_owned();
        for package in packages {
            let line = format!("{}  {}", package.digest.hex(), package.path);
            let check = format!("the installed file {} is the artifact {}", package.file, package.digest);
            if said.lines().any(|said| said == line) {
                self.passed(scenario, check);
                continue;
            }
            let message = format!("{} was changed while it was installed", package.file);
            self.fail(
                scenario,
                &check,
                FailReason::WrongVersion,
                message,
                Some(package.file.clone()),
                vec![],
            );
        }
        Ok(())
    }

    /// The paths of packages, as arguments.
    pub fn paths(packages: &[Package]) -> Vec<String> {
        packages.iter().map(|package| package.path.clone()).collect()
    }
}

/// The names of packages.
pub(super) fn names(packages: &[Package]) -> Vec<&str> {
    packages.iter().map(|package| package.identity.name.as_str()).collect()
}

/// The names of packages, as arguments.
pub(super) fn owned_names(packages: &[Package]) -> Vec<String> {
    packages.iter().map(|package| package.identity.name.clone()).collect()
}

/// The variables of a verification's commands; those of a version only where there is a commit.
pub fn environment(
    package: &str,
    target: &TargetName,
    built: Option<(&TargetPlan, &SourceTree)>,
) -> BTreeMap<String, String> {
    let mut env = built.map(|(plan, tree)| version_env(plan, tree)).unwrap_or_default();
    env.insert("PACKHOLD_TARGET".to_owned(), target.to_string());
    env.insert("PACKHOLD_NAME".to_owned(), package.to_owned());
    env.remove("SOURCE_DATE_EPOCH");
    env
}
