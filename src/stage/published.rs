use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::diagnose::contract_lines;
use super::environment::{container_limits, put_scripts, script, watch};
use super::image_store::{Wanted, ensure_loaded};
use super::userland::builder_failed;
use super::{Recorder, StageResult, Workshop, infrastructure};
use crate::config::{Builder, StageLimits};
use crate::model::{FailReason, ImageRecord, ImageRole, Outcome, TargetName};
use crate::sandbox::{Privileges, Sandbox, SandboxSpec, SmallFile, scope};
use crate::serve::{Server, Source};

/// Exit status of `published.sh` when the distro's own mirror does not answer (builders/README.md).
const UNREACHABLE: i64 = 4;

/// Where the repository's description and its key lie in the container.
const FOLDER: &str = "packhold/published";

/// A repository as a user of one target meets it: a fresh image, the repository's description and its key, and the network.
#[derive(Clone, Copy)]
pub struct Published<'a> {
    /// The target.
    pub name: &'a TargetName,
    /// The builder whose base image a user has.
    pub builder: &'a Builder,
    /// That image.
    pub base: &'a ImageRecord,
    /// The repository's files, all of them public. They are served to containers of this machine while this lasts.
    pub folder: &'a Path,
    /// Where those are that the folder does not have.
    pub source: Option<&'a Arc<dyn Source>>,
    /// What a user's package manager is told of the repository at an address that ends with a slash: a deb822 `.sources` file
    /// (sources.list(5)) that names the key as [`KEY_FILE`], or a `.repo` file (dnf.conf(5)).
    pub description: &'a (dyn Fn(&str) -> String + Send + Sync),
    /// The keys that sign it, armored.
    pub keys: &'a str,
    /// Name and full version of each package that was published.
    pub packages: &'a [(String, String)],
    /// The same of the release before, which the repository still has.
    pub previous: &'a [(String, String)],
}

/// Where the keys are found in a container for debs.
pub const KEY_FILE: &str = "/etc/apt/keyrings/packhold-published.asc";

/// Installs the packages from the repository, after the release before if there is one, as a user would: the package manager fetches
/// them over HTTP and checks every signature. [`Outcome::Skipped`] where containers cannot reach this machine.
pub async fn published(shop: &Workshop, recorder: &mut Recorder, request: Published<'_>) -> StageResult<()> {
    let stage = recorder.stage();
    let skipped = |why: String| Outcome::Skipped { why };
    if !request.builder.has("published.sh") {
        return Err(skipped(format!("builder `{}` has no published.sh", request.builder.name)));
    }
    let engine = shop.engine.info().await.map_err(|error| infrastructure(stage, &error))?;
    let Some(address) = engine.host else {
        return Err(skipped(format!("containers of the {} engine cannot reach this machine", engine.kind)));
    };
    let wanted = Wanted { builder: request.builder, role: ImageRole::Base, key: request.base.key };
    ensure_loaded(shop, recorder, wanted, request.base).await?;
    let spec = SandboxSpec {
        root: request.base.id.into(),
        name: format!("{}-published", request.name.file_stem()),
        privileges: Privileges::Install,
        limits: container_limits(&StageLimits::default()),
        run: shop.run.to_string(),
        hostname: None,
    };
    let infra = |error| infrastructure(stage, &error);
    scope(&shop.engine, spec, &shop.cancel, |sandbox| async move {
        // Some engines have the address only while a container uses it.
        let server = match request.source {
            None => Server::start(request.folder, address).await,
            Some(source) => Server::start_with(request.folder, address, source.clone()).await,
        };
        let server = server.map_err(|error| {
            skipped(format!("containers cannot reach this machine at {address}: {error}"))
        })?;
        put_scripts(&sandbox, request.builder).await.map_err(infra)?;
        let description = (request.description)(&server.url());
        let files = [
            SmallFile::folder(FOLDER, 0),
            SmallFile::script(format!("{FOLDER}/repository"), description.as_bytes()),
            SmallFile::script(format!("{FOLDER}/keys.asc"), request.keys.as_bytes()),
        ];
        sandbox.put_files("/", &files).await.map_err(infra)?;
        Client { recorder, sandbox, request }.run().await
    })
    .await
    .map_err(infra)?
}

/// A user's machine.
struct Client<'a> {
    recorder: &'a mut Recorder,
    sandbox: Sandbox,
    request: Published<'a>,
}

impl Client<'_> {
    async fn run(mut self) -> StageResult<()> {
        let Published { packages, previous, .. } = self.request;
        self.step("add the repository", "subscribe", &[], FailReason::InstallFailed).await?;
        if !previous.is_empty() {
            let title = "install the release before from the repository";
            self.step(title, "install", previous, FailReason::InstallFailed).await?;
            self.has(previous).await?;
            let is_there = |package: &&(String, String)| previous.iter().any(|(name, _)| *name == package.0);
            let (upgraded, new): (Vec<_>, Vec<_>) = packages.iter().partition(is_there);
            let (upgraded, new): (Vec<_>, Vec<_>) =
                (upgraded.into_iter().cloned().collect(), new.into_iter().cloned().collect());
            self.step("upgrade from the repository", "upgrade", &upgraded, FailReason::UpgradeFailed).await?;
            if !new.is_empty() {
                let title = "install what is new from the repository";
                self.step(title, "install", &new, FailReason::InstallFailed).await?;
            }
        } else {
            self.step("install from the repository", "install", packages, FailReason::InstallFailed).await?;
        }
        self.has(packages).await
    }

    async fn step(
        &mut self,
        title: &str,
        command: &str,
        packages: &[(String, String)],
        reason: FailReason,
    ) -> StageResult<()> {
        let words: Vec<String> = packages.iter().map(|(name, version)| format!("{name}={version}")).collect();
        let mut arguments = vec![command];
        arguments.extend(words.iter().map(String::as_str));
        let command = script(self.request.builder, "published.sh", &arguments, BTreeMap::new());
        let watch = watch(&self.request.builder.limits());
        let result = self.recorder.step(&self.sandbox, title, &command, &watch).await?;
        if result.end.succeeded() {
            return Ok(());
        }
        let unreachable = result.end.code() == Some(UNREACHABLE)
            || !contract_lines(self.recorder.tail(), "mirror-unreachable").is_empty();
        if unreachable {
            return Err(builder_failed(self.recorder, self.request.builder, "published.sh"));
        }
        Err(Outcome::Failed {
            stage: self.recorder.stage(),
            reason,
            message: format!("{}: could not {title}", self.request.name),
            hint: "the package manager's own words are in the log; nothing of the repository has changed by this"
                .to_owned(),
        })
    }

    /// Refuses other versions than these.
    async fn has(&mut self, packages: &[(String, String)]) -> StageResult<()> {
        let mut arguments = vec!["installed"];
        arguments.extend(packages.iter().map(|(name, _)| name.as_str()));
        let command = script(self.request.builder, "verify.sh", &arguments, BTreeMap::new());
        let mut answer = Vec::new();
        let mut keep = |chunk: &[u8]| {
            answer.extend_from_slice(chunk);
            Ok(())
        };
        let limits = self.request.builder.limits();
        let asked = self.sandbox.run(&command, &watch(&limits), &mut keep).await;
        let stage = self.recorder.stage();
        if !asked.map_err(|error| infrastructure(stage, &error))?.end.succeeded() {
            return Err(builder_failed(self.recorder, self.request.builder, "verify.sh"));
        }
        let answer = String::from_utf8_lossy(&answer);
        let installed: BTreeMap<&str, &str> =
            answer.lines().filter_map(|line| line.split_once('\t')).collect();
        for (name, version) in packages {
            let found = installed.get(name.as_str()).copied();
            if found != Some(version) {
                return Err(Outcome::Failed {
                    stage,
                    reason: FailReason::WrongVersion,
                    message: format!(
                        "{name} {version} was published, and {} is installed from the repository",
                        found.unwrap_or("none")
                    ),
                    hint: "does the distro, or the repository, offer another version of that name?"
                        .to_owned(),
                });
            }
        }
        Ok(())
    }
}
