//! The package files of a verification, and what they say of themselves.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::grammar::{wrong_identity, wrong_relation};
use super::session::{PACKAGES, Session, Start, session};
use super::{Bench, Done, Halt};
use crate::model::{Check, Digest, FailReason, Format, Outcome, PackageIdentity, Scenario};
use crate::sandbox::Privileges;
use crate::stage::Recorder;

/// A package file, on the host or in the archive.
#[derive(Clone, Debug)]
pub struct PackageFile {
    /// The file's name.
    pub name: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Where it is; `None` is in the archive.
    pub path: Option<PathBuf>,
}

/// The release that is upgraded.
#[derive(Clone, Debug)]
pub struct Previous {
    /// What it is, for people: `1.0.0 of run 20250301-…`.
    pub what: String,
    /// Its packages.
    pub packages: Vec<PackageFile>,
}

/// A package in a sandbox.
#[derive(Clone, Debug)]
pub(super) struct Package {
    /// The file's name.
    pub file: String,
    /// Its path in the sandbox.
    pub path: String,
    pub digest: Digest,
    pub identity: PackageIdentity,
}

/// What the files of a verification say of themselves.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// The packages that are verified.
    pub new: Vec<Package>,
    /// The same packages of the release before; empty without one.
    pub old: Vec<Package>,
    /// What each file needs of other packages, canonical.
    pub needs: Vec<String>,
    /// Paths that the new packages hold.
    pub contents: Vec<String>,
    /// Where the version is not above that of the release before: name, new and old version.
    pub not_higher: Option<(String, String, String)>,
    /// What every file said of itself, by the file's name.
    pub identities: BTreeMap<String, PackageIdentity>,
}

/// Asks every package file who it is, and picks those that are to be installed.
pub(super) async fn facts<'a>(
    bench: &'a Bench<'a>,
    recorder: &'a mut Recorder,
    checks: &'a mut Vec<Check>,
) -> Done<Facts> {
    let request = bench.request;
    let start = Start {
        builder: request.builder,
        root: request.base.id.into(),
        privileges: Privileges::Offline,
        name: "verify",
    };
    session(bench, start, recorder, checks, async |session| session.facts().await).await
}

impl Session<'_> {
    async fn facts(&mut self) -> Done<Facts> {
        let request = self.bench.request;
        let mut facts = Facts { new: self.identify("new", request.packages).await?, ..Facts::default() };
        for package in &facts.new {
            facts.identities.insert(package.file.clone(), package.identity.clone());
        }
        self.check_version(&facts.new)?;
        let wanted = &request.section.packages;
        let built = |name: &String| facts.new.iter().any(|package| package.identity.name == *name);
        if let Some(missing) = wanted.iter().find(|name| !built(name)) {
            return Err(Halt::Stage(Outcome::Broken {
                message: format!("[verify] names the package `{missing}`, which was not built"),
                hint: "correct `packages` of [verify]".to_owned(),
            }));
        }
        facts.new.retain(|package| wanted.is_empty() || wanted.contains(&package.identity.name));
        if let Some(previous) = request.previous {
            let mut old = self.identify("old", &previous.packages).await?;
            old.retain(|package| facts.new.iter().any(|new| new.identity.name == package.identity.name));
            facts.old = old;
        }
        facts.needs = self.needs(&facts.new).await?;
        if !facts.old.is_empty() {
            facts.needs.push("before".to_owned());
            facts.needs.extend(self.needs(&facts.old).await?);
        }
        facts.contents = self.lines("verify.sh", &with("contents", &facts.new)).await?;
        for new in &facts.new {
            let Some(old) = facts.old.iter().find(|old| old.identity.name == new.identity.name) else {
                continue;
            };
            let (name, new, old) = (&new.identity.name, &new.identity.version, &old.identity.version);
            let answer = self.lines("verify.sh", &["compare", new, old]).await?;
            if answer.first().map(String::as_str) != Some("higher") {
                facts.not_higher = Some((name.clone(), new.clone(), old.clone()));
            }
        }
        Ok(facts)
    }

    /// What the packages need of others. No script gets to see what is no name.
    async fn needs(&mut self, packages: &[Package]) -> Done<Vec<String>> {
        let format = self.bench.request.name.format;
        for package in packages {
            let own = self.lines("verify.sh", &["needs", &package.path]).await?;
            if let Some(wrong) = wrong_relation(format, &own) {
                return Err(self.hostile(&package.file, &wrong));
            }
        }
        self.lines("verify.sh", &with("needs", packages)).await
    }

    fn hostile(&mut self, file: &str, wrong: &str) -> Halt {
        let message = format!("{file} is not taken: {wrong}");
        self.fail(
            Scenario::Install,
            &format!("read {file}"),
            FailReason::InstallFailed,
            message,
            None,
            Vec::new(),
        );
        Halt::Told
    }

    async fn identify(&mut self, folder: &str, files: &[PackageFile]) -> Done<Vec<Package>> {
        let request = self.bench.request;
        let mut packages = Vec::new();
        for file in files {
            let path = format!("{PACKAGES}/{folder}/{}", file.name);
            let title = format!("read {}", file.name);
            let result = self.run(&title, "verify.sh", &["info", &path]).await?;
            let said = String::from_utf8_lossy(self.recorder.tail()).into_owned();
            let fields: Vec<&str> = said.lines().last().map(|l| l.split('\t').collect()).unwrap_or_default();
            let ([name, version, arch], true) = (&fields[..], result.end.succeeded()) else {
                let message = format!("{} is not a readable package", file.name);
                self.failed(Scenario::Install, &title, FailReason::InstallFailed, message);
                return Err(Halt::Told);
            };
            let identity = PackageIdentity {
                name: (*name).to_owned(),
                version: (*version).to_owned(),
                arch: (*arch).to_owned(),
            };
            if let Some(wrong) = wrong_identity(request.name.format, &identity) {
                return Err(self.hostile(&file.name, &wrong));
            }
            packages.push(Package { file: file.name.clone(), path, digest: file.digest, identity });
        }
        Ok(packages)
    }

    fn check_version(&mut self, packages: &[Package]) -> Done {
        let Some(planned) = self.bench.request.expected else { return Ok(()) };
        let format = self.bench.request.name.format;
        if packages.iter().any(|package| carries(format, &package.identity.version, planned)) {
            return Ok(());
        }
        let found: Vec<String> =
            packages.iter().map(|p| format!("{} {}", p.identity.name, p.identity.version)).collect();
        let message = format!("no package carries the version {planned}: {}", found.join(", "));
        self.fail(Scenario::Install, "version", FailReason::WrongVersion, message, None, found);
        Err(Halt::Told)
    }
}

/// A command and the paths of packages.
fn with<'a>(command: &'a str, packages: &'a [Package]) -> Vec<&'a str> {
    let mut words = vec![command];
    words.extend(packages.iter().map(|package| package.path.as_str()));
    words
}

/// Whether a package's version is the planned one; an rpm's may have a dist tag behind it, and an epoch before it.
fn carries(format: Format, version: &str, planned: &str) -> bool {
    match format {
        Format::Deb => version == planned,
        Format::Rpm => {
            let version = version.split_once(':').map_or(version, |(_, version)| version);
            version.strip_prefix(planned).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_rpm_may_have_an_epoch_and_a_dist_tag_around_its_version() {
        assert!(carries(Format::Rpm, "2:1.0-1.deb12", "1.0-1") && carries(Format::Rpm, "1.0-1", "1.0-1"));
        assert!(!carries(Format::Rpm, "1.0-12", "1.0-1") && !carries(Format::Deb, "1.0-1.1", "1.0-1"));
    }
}
