use std::collections::BTreeMap;
use std::fs::File;

use super::build::Built;
use super::deps::{TargetImages, ensure_base_loaded};
use super::environment::{container_limits, put_scripts, script, target_env, version_env, watch};
use super::streams::{blocking, written};
use super::userland::builder_failed;
use super::{Recorder, SourceTree, StageResult, Workshop, diagnose, infrastructure};
use crate::archive::Archive;
use crate::config::{SmokeCommand, StageLimits};
use crate::engine::Command;
use crate::model::{Artifact, ArtifactKind, Check, Digest, FailReason, Format, Outcome, PackageIdentity};
use crate::plan::TargetPlan;
use crate::sandbox::{Privileges, Sandbox, SandboxSpec, SmallFile, StepResult, Watch, scope};

/// Where the packages lie in the sandbox.
const PACKAGES: &str = "/packages";

/// Exit statuses of `verify.sh install` (builders/README.md).
const UNREACHABLE: i64 = 4;
const CONFLICT: i64 = 5;

/// What verify is asked.
#[derive(Clone, Copy)]
pub struct VerifyRequest<'a> {
    /// The target.
    pub plan: &'a TargetPlan,
    /// The commit.
    pub tree: &'a SourceTree,
    /// Its images; the base image is the one that is used.
    pub images: &'a TargetImages,
    /// What was built.
    pub built: &'a Built,
    /// The packages to install, by name; empty means all that are not for debugging.
    pub wanted: &'a [String],
    /// The commands that the installed packages must answer.
    pub smoke: &'a [&'a SmokeCommand],
}

/// What verify found.
#[derive(Clone, Debug, Default)]
pub struct Verified {
    /// What was looked at, in order, up to the first thing that was not as it should be.
    pub checks: Vec<Check>,
    /// What each package file says of itself.
    pub identities: BTreeMap<String, PackageIdentity>,
}

/// Installs the packages in a fresh base image, tries them and removes them again. What was looked at is in
/// `verified`, also when the stage does not pass.
pub async fn verify(
    shop: &Workshop,
    recorder: &mut Recorder,
    request: VerifyRequest<'_>,
    verified: &mut Verified,
) -> StageResult<()> {
    ensure_base_loaded(shop, recorder, &request.plan.builder, request.images).await?;
    let stage = recorder.stage();
    let spec = SandboxSpec {
        image: request.images.base.id,
        name: format!("{}-verify", request.plan.section.name.file_stem()),
        privileges: Privileges::Install,
        limits: container_limits(&StageLimits::default()),
        run: shop.run.to_string(),
    };
    scope(&shop.engine, spec, &shop.cancel, |sandbox| async move {
        let mut session = Session { recorder, sandbox, request, verified };
        session.put(&shop.archive).await?;
        let packages = session.identify().await?;
        session.install(&packages).await?;
        session.installed(&packages).await?;
        session.smoke().await?;
        session.remove("remove", &packages).await?;
        session.remove("purge", &packages).await?;
        session.gone(&packages).await
    })
    .await
    .map_err(|e| infrastructure(stage, &e))?
}

/// A package in the sandbox.
struct Package {
    file: String,
    digest: Digest,
    identity: PackageIdentity,
}

/// One verification in one sandbox.
struct Session<'a> {
    recorder: &'a mut Recorder,
    sandbox: Sandbox,
    request: VerifyRequest<'a>,
    verified: &'a mut Verified,
}

impl Session<'_> {
    fn packages(&self) -> impl Iterator<Item = &Artifact> {
        self.request.built.artifacts.iter().filter(|artifact| artifact.kind == ArtifactKind::Package)
    }

    /// Puts the builder's scripts and the packages into the sandbox.
    async fn put(&mut self, archive: &Archive) -> StageResult<()> {
        let stage = self.recorder.stage();
        let infra = |error| infrastructure(stage, &error);
        put_scripts(&self.sandbox, &self.request.plan.builder).await.map_err(infra)?;
        self.sandbox.put_files("/", &[SmallFile::folder("packages", 0)]).await.map_err(infra)?;
        let files: Vec<Artifact> = self.packages().cloned().collect();
        let (folder, archive) = (self.request.built.folder.clone(), archive.clone());
        let tar = written(move |out| {
            let mut tar = tar::Builder::new(out);
            for artifact in files {
                let file = match &folder {
                    Some(folder) => File::open(folder.join(&artifact.name))?,
                    None => archive.open_blob(&artifact.digest).map_err(std::io::Error::other)?,
                };
                let mut header = tar::Header::new_gnu();
                header.set_mode(0o644);
                header.set_size(artifact.size);
                tar.append_data(&mut header, &artifact.name, file)?;
            }
            tar.into_inner()?.flush()
        });
        self.sandbox.put(PACKAGES, tar).await.map_err(infra)
    }

    fn script(&self, arguments: &[&str]) -> Command {
        let plan = self.request.plan;
        let mut env = target_env(plan);
        env.extend(version_env(plan, self.request.tree));
        env.remove("SOURCE_DATE_EPOCH");
        script(&plan.builder, "verify.sh", arguments, env)
    }

    async fn run(&mut self, title: &str, arguments: &[&str]) -> StageResult<StepResult> {
        let command = self.script(arguments);
        self.recorder.step(&self.sandbox, title, &command, &watch(&StageLimits::default())).await
    }

    /// Runs a script whose output is an answer, and gives the answer's lines.
    async fn ask(&mut self, title: &str, arguments: &[&str]) -> StageResult<Vec<String>> {
        let result = self.run(title, arguments).await?;
        if !result.end.succeeded() {
            return Err(diagnose::step(self.recorder, title, &result, &watch(&StageLimits::default())));
        }
        Ok(String::from_utf8_lossy(self.recorder.tail()).lines().map(str::to_owned).collect())
    }

    fn passed(&mut self, scenario: &str, check: impl Into<String>) {
        let check = Check { scenario: scenario.to_owned(), check: check.into(), outcome: Outcome::Passed };
        self.verified.checks.push(check);
    }

    fn failed(
        &mut self,
        scenario: &str,
        check: &str,
        reason: FailReason,
        message: String,
        hint: &str,
    ) -> Outcome {
        let outcome = diagnose::failed(self.recorder, reason, message, hint);
        self.note(scenario, check, outcome)
    }

    fn note(&mut self, scenario: &str, check: &str, outcome: Outcome) -> Outcome {
        self.verified.checks.push(Check {
            scenario: scenario.to_owned(),
            check: check.to_owned(),
            outcome: outcome.clone(),
        });
        outcome
    }

    /// Asks every package file who it is, and picks those that are to be installed.
    async fn identify(&mut self) -> StageResult<Vec<Package>> {
        let files: Vec<Artifact> = self.packages().cloned().collect();
        let mut packages = Vec::new();
        for artifact in files {
            let path = format!("{PACKAGES}/{}", artifact.name);
            let lines = self.ask(&format!("read {}", artifact.name), &["info", &path]).await?;
            let fields: Vec<&str> = lines.last().map(|line| line.split('\t').collect()).unwrap_or_default();
            let [name, version, arch] = fields[..] else {
                let message = format!("{} is not a readable package", artifact.name);
                let hint = "check how the build makes its packages";
                return Err(self.failed("install", &artifact.name, FailReason::InstallFailed, message, hint));
            };
            let identity =
                PackageIdentity { name: name.to_owned(), version: version.to_owned(), arch: arch.to_owned() };
            self.verified.identities.insert(artifact.name.clone(), identity.clone());
            packages.push(Package { file: artifact.name, digest: artifact.digest, identity });
        }
        let planned = &self.request.plan.version.full;
        if !packages.iter().any(|package| self.carries(&package.identity.version, planned)) {
            let found: Vec<String> =
                packages.iter().map(|p| format!("{} {}", p.identity.name, p.identity.version)).collect();
            let message = format!("no package carries the version {planned}: {}", found.join(", "));
            let hint =
                "let the packaging take its version from debian/changelog or from the spec file's tags";
            return Err(self.failed("install", "version", FailReason::WrongVersion, message, hint));
        }
        let wanted = self.request.wanted;
        if let Some(missing) = wanted.iter().find(|name| packages.iter().all(|p| p.identity.name != **name)) {
            let message = format!("[verify] names the package `{missing}`, which was not built");
            let hint = "correct `packages` of [verify]".to_owned();
            return Err(self.note("install", missing, Outcome::Broken { message, hint }));
        }
        packages.retain(|package| wanted.is_empty() || wanted.contains(&package.identity.name));
        Ok(packages)
    }

    /// Whether a package's version is the planned one; an rpm's may have a dist tag behind it, and an epoch before it.
    fn carries(&self, version: &str, planned: &str) -> bool {
        match self.request.plan.section.name.format {
            Format::Deb => version == planned,
            Format::Rpm => {
                let version = version.split_once(':').map_or(version, |(_, version)| version);
                version.strip_prefix(planned).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            }
        }
    }

    async fn install(&mut self, packages: &[Package]) -> StageResult<()> {
        let paths: Vec<String> =
            packages.iter().map(|package| format!("{PACKAGES}/{}", package.file)).collect();
        let mut arguments = vec!["install"];
        arguments.extend(paths.iter().map(String::as_str));
        let files: Vec<&str> = packages.iter().map(|package| package.file.as_str()).collect();
        let check = files.join(" ");
        let title = "install the packages";
        let result = self.run(title, &arguments).await?;
        if result.end.succeeded() {
            self.passed("install", check);
            return Ok(());
        }
        match result.end.code() {
            Some(UNREACHABLE) => Err(builder_failed(self.recorder, &self.request.plan.builder, "verify.sh")),
            Some(CONFLICT) => {
                let said = diagnose::contract_lines(self.recorder.tail(), "install-conflict").join("; ");
                let said = crate::support::terminal_text::neutralise(said.as_bytes());
                let message = format!("the packages cannot be installed: {said}");
                let hint = "check the packages' dependencies and conflicts against the distro";
                Err(self.failed("install", &check, FailReason::InstallConflict, message, hint))
            }
            Some(code) => {
                let message = format!("installing {check} failed with exit status {code}");
                let hint = "look for a failing maintainer script or scriptlet in the last lines above";
                Err(self.failed("install", &check, FailReason::InstallFailed, message, hint))
            }
            None => {
                let outcome = diagnose::step(self.recorder, title, &result, &watch(&StageLimits::default()));
                Err(self.note("install", &check, outcome))
            }
        }
    }

    /// What is installed is what was built: the versions in the package database, and the bytes of the files that
    /// were installed.
    async fn installed(&mut self, packages: &[Package]) -> StageResult<()> {
        let names: Vec<&str> = packages.iter().map(|package| package.identity.name.as_str()).collect();
        let mut arguments = vec!["installed"];
        arguments.extend(&names);
        let lines = self.ask("ask for the installed versions", &arguments).await?;
        for package in packages {
            let PackageIdentity { name, version, .. } = &package.identity;
            let check = format!("{name} is installed as {version}");
            if lines.contains(&format!("{name}\t{version}")) {
                self.passed("install", check);
                continue;
            }
            let found: Vec<String> =
                lines.iter().filter(|l| l.starts_with(&format!("{name}\t"))).cloned().collect();
            let found = if found.is_empty() { "nothing of that name".to_owned() } else { found.join(", ") };
            let message =
                format!("{name} {version} was built, but installed is {}", found.replace('\t', " "));
            let hint = "a repository may offer a package of the same name; check names and versions";
            return Err(self.failed("install", &check, FailReason::WrongVersion, message, hint));
        }
        let mut sum = self.script(&[]);
        sum.argv = vec!["sha256sum".to_owned(), "--".to_owned()];
        sum.argv.extend(packages.iter().map(|package| format!("{PACKAGES}/{}", package.file)));
        self.recorder
            .must(&self.sandbox, "digest the installed files", &sum, &watch(&StageLimits::default()))
            .await?;
        let said = String::from_utf8_lossy(self.recorder.tail()).into_owned();
        for package in packages {
            let line = format!("{}  {PACKAGES}/{}", package.digest.hex(), package.file);
            let check = format!("the installed file {} is the artifact {}", package.file, package.digest);
            if !said.lines().any(|said| said == line) {
                let message = format!("{} was changed while it was installed", package.file);
                let hint = "let maintainer scripts leave package files alone";
                return Err(self.failed("install", &check, FailReason::WrongVersion, message, hint));
            }
            self.passed("install", check);
        }
        Ok(())
    }

    async fn smoke(&mut self) -> StageResult<()> {
        for smoke in self.request.smoke {
            let mut command = self.script(&[]);
            command.argv = ["/bin/sh", "-c", &smoke.run].map(str::to_owned).to_vec();
            let watched =
                Watch { time: smoke.time, silence: smoke.time, output: StageLimits::default().output };
            let title = format!("smoke: {}", smoke.run);
            let result = self.recorder.step(&self.sandbox, &title, &command, &watched).await?;
            let hint = "try the command on a machine where the package is installed";
            match result.end.code() {
                None => {
                    let message = format!(
                        "`{}` did not end within {}",
                        smoke.run,
                        humantime::format_duration(smoke.time)
                    );
                    return Err(self.failed("smoke", &smoke.run, FailReason::SmokeFailed, message, hint));
                }
                Some(code) if code != smoke.exit => {
                    let message =
                        format!("`{}` ended with exit status {code} instead of {}", smoke.run, smoke.exit);
                    return Err(self.failed("smoke", &smoke.run, FailReason::SmokeFailed, message, hint));
                }
                Some(_) => {}
            }
            if let Some(pattern) = &smoke.output {
                let output = String::from_utf8_lossy(self.recorder.tail());
                if !pattern.is_match(&output) {
                    let message = format!("`{}` did not print what matches `{pattern}`", smoke.run);
                    return Err(self.failed("smoke", &smoke.run, FailReason::SmokeFailed, message, hint));
                }
            }
            self.passed("smoke", smoke.run.clone());
        }
        Ok(())
    }

    async fn remove(&mut self, how: &str, packages: &[Package]) -> StageResult<()> {
        let mut arguments = vec![how];
        arguments.extend(packages.iter().map(|package| package.identity.name.as_str()));
        let check = arguments.join(" ");
        let title = format!("{how} the packages");
        let result = self.run(&title, &arguments).await?;
        if result.end.succeeded() {
            self.passed(how, check);
            return Ok(());
        }
        let outcome = match result.end.code() {
            Some(code) => diagnose::failed(
                self.recorder,
                FailReason::RemoveFailed,
                format!("`{check}` failed with exit status {code}"),
                "look for a failing maintainer script or scriptlet in the last lines above",
            ),
            None => diagnose::step(self.recorder, &title, &result, &watch(&StageLimits::default())),
        };
        Err(self.note(how, &check, outcome))
    }

    async fn gone(&mut self, packages: &[Package]) -> StageResult<()> {
        let mut arguments = vec!["residue"];
        arguments.extend(packages.iter().map(|package| package.identity.name.as_str()));
        let lines = self.ask("ask for what is left behind", &arguments).await?;
        let check = "the package database knows nothing of them any more";
        if lines.iter().all(|line| line.trim().is_empty()) {
            self.passed("purge", check);
            return Ok(());
        }
        let message = format!("left behind after purge: {}", lines.join("; ").replace('\t', " "));
        Err(self.failed(
            "purge",
            check,
            FailReason::LeftBehind,
            message,
            "let the maintainer scripts clean up",
        ))
    }
}

/// The checks of an earlier run that passed under the same key.
pub async fn reuse_verify(
    shop: &Workshop,
    recorder: &mut Recorder,
    key: Digest,
) -> StageResult<Option<Vec<Check>>> {
    let archive = shop.archive.clone();
    let found = blocking(move || archive.find_verify(&key)).await;
    let found = found.map_err(|e| infrastructure(recorder.stage(), &e))?;
    Ok(found.map(|(run, record)| {
        recorder.reuse(format!("checks of run {run}"));
        record.checks
    }))
}
