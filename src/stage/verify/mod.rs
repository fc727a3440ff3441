//! The verify stage: packages go through scenarios in fresh images, never the builder's.
//!
//! Scenarios that share a start share a container; each such group is a [`chain`](chains). What the packages need of
//! other packages is installed first, with the network on, and kept as an image; everything else happens in containers without a
//! network. So what the packages change is told apart from what their dependencies change, and the next commit with the same
//! dependencies needs no mirror.

mod chains;
mod exceptions;
mod grammar;
mod images;
mod integrity;
mod jobs;
mod lifecycle;
mod lint;
mod lint_findings;
mod others;
mod package;
mod service;
mod session;
mod smoke;
mod state;
mod upgrade;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::streams::blocking;
use super::{Recorder, StageResult, Workshop, infrastructure};
use crate::config::{Builder, StageLimits, VerifySection};
use crate::model::{Check, Digest, FailReason, ImageRecord, Outcome, PackageIdentity, TargetName};

pub use package::{PackageFile, Previous};
pub use session::environment;
pub(super) use session::put_packages;

/// What verify is asked.
#[derive(Clone, Copy)]
pub struct VerifyRequest<'a> {
    /// The target.
    pub name: &'a TargetName,
    /// The builder.
    pub builder: &'a Builder,
    /// The base image that everything starts from.
    pub base: &'a ImageRecord,
    /// The further builders of `images`.
    pub others: &'a [Arc<Builder>],
    /// The package files that were built.
    pub packages: &'a [PackageFile],
    /// The version that one of them must carry, if it is known.
    pub expected: Option<&'a str>,
    /// The release before, if there is one.
    pub previous: Option<&'a Previous>,
    /// What the packages are put through: the part that is meant for this target.
    pub section: &'a VerifySection,
    /// Variables for the commands ([`environment`]).
    pub env: &'a BTreeMap<String, String>,
}

/// What verify found.
#[derive(Clone, Debug, Default)]
pub struct Verified {
    /// What was looked at, by scenario.
    pub checks: Vec<Check>,
    /// What each package file says of itself.
    pub identities: BTreeMap<String, PackageIdentity>,
    /// What a person should know although nothing failed.
    pub warnings: Vec<String>,
}

/// Puts the packages through the scenarios. What was looked at is in `verified`, also when the stage does not pass. The
/// caller holds one of the `permits`; what can run beside takes more, as they are free.
pub async fn verify(
    shop: &Workshop,
    recorder: &mut Recorder,
    request: VerifyRequest<'_>,
    permits: &Semaphore,
    verified: &mut Verified,
) -> StageResult<()> {
    let wanted = super::image_store::Wanted {
        builder: request.builder,
        role: crate::model::ImageRole::Base,
        key: request.base.key,
    };
    super::image_store::ensure_loaded(shop, recorder, wanted, request.base).await?;
    let bench = Bench { shop, request };
    let mut checks = Vec::new();
    let ended = match package::facts(&bench, recorder, &mut checks).await {
        Ok(facts) => {
            verified.identities.clone_from(&facts.identities);
            chains::run(&bench, &facts, recorder, permits, &mut checks).await
        }
        Err(halt) => Err(halt),
    };
    // By scenario, and within one in the order in which things were looked at.
    checks.sort_by_key(|check| check.scenario);
    verified.warnings = exceptions::apply(&request.section.exceptions, &mut checks, ended.is_ok());
    for warning in &verified.warnings {
        recorder.warn(format!("{}: {warning}", request.name));
    }
    let outcome = outcome_of(&checks);
    verified.checks = checks;
    match ended {
        Err(Halt::Stage(outcome)) => Err(outcome),
        Ok(()) | Err(Halt::Told) => outcome.map_or(Ok(()), Err),
    }
}

/// The outcome of the first check that fails, if one does.
fn outcome_of(checks: &[Check]) -> Option<Outcome> {
    let failing: Vec<&Check> = checks.iter().filter(|check| check.fails()).collect();
    let mut outcome = failing.first()?.outcome.clone();
    if let (Outcome::Failed { message, .. }, more @ 1..) = (&mut outcome, failing.len() - 1) {
        *message = format!("{message} (and {more} more)");
    }
    Some(outcome)
}

/// What all scenarios of one target work with.
pub(super) struct Bench<'a> {
    shop: &'a Workshop,
    request: VerifyRequest<'a>,
}

impl Bench<'_> {
    fn limits(&self) -> &StageLimits {
        &self.request.section.limits
    }
}

/// Why a chain of scenarios does not go on.
enum Halt {
    /// A check says it.
    Told,
    /// The stage ends with this.
    Stage(Outcome),
}

impl From<Outcome> for Halt {
    fn from(outcome: Outcome) -> Self {
        Self::Stage(outcome)
    }
}

type Done<T = ()> = Result<T, Halt>;

/// What a person can do about a failure.
fn hint(reason: FailReason) -> &'static str {
    use FailReason as R;
    match reason {
        R::InstallConflict => "check the packages' dependencies and conflicts against the distro",
        R::InstallFailed | R::UpgradeFailed | R::RemoveFailed | R::RollbackFailed => {
            "look for a failing maintainer script or scriptlet in the log"
        }
        R::ScriptletFailed => "let the scriptlet end with status 0, or say `|| :` where failing is harmless",
        R::AsksQuestion => "ask with debconf and a default, or do not ask (Debian Policy 3.9.1)",
        R::Hangs => "let the script end by itself; raise `silence` in [verify.limits] if it is only quiet",
        R::WrongVersion => "a repository may offer a package of the same name; check names and versions",
        R::AlteredAfterInstall => "let maintainer scripts leave packaged files alone, or do not package them",
        R::FileShared => "move the file, or declare Conflicts or Replaces (Debian Policy 7.6)",
        R::SetId => "drop the bit, or allow it with a reason in [[verify.allow]] (Debian Policy 10.9)",
        R::WorldWritable => "take the write permission of others away (Debian Policy 10.9)",
        R::UnknownOwner => "let files belong to root, or to a user that preinst makes (Debian Policy 10.9)",
        R::DeviceFile => "let udev or tmpfiles.d make devices (Debian Policy 10.6)",
        R::ForbiddenPath => "put it where packages may put files (Debian Policy 9.1, FHS 3.0)",
        R::DanglingSymlink => "package what the link leads to, or depend on the package that has it",
        R::WrongArchitecture => "build for the package's architecture, or correct its Architecture field",
        R::MissingLibrary => "declare the dependency (dpkg-shlibdeps and rpm's generators find them)",
        R::BadInterpreter => "correct the first line of the script, or depend on its interpreter",
        R::SmokeFailed => "try the command on a machine where the package is installed",
        R::FileAssertion => "correct the packaging, or what [[verify.file]] says",
        R::UnitInvalid => "check the unit file with systemd-analyze verify",
        R::UnitNotEnabled | R::UnitNotStarted => {
            "use the distro's helpers for units, or say what is meant in [[verify.service]]"
        }
        R::ServiceFailed | R::JournalError => "read the service's journal in the log",
        R::ServiceNotRestarted => "restart the service when its package is upgraded (Debian Policy 9.3)",
        R::ServiceNotStopped => "stop the service before its package is removed (Debian Policy 9.3)",
        R::VersionNotHigher => "raise the version; package managers never install a lower one by themselves",
        R::ConffileOverwritten => {
            "mark it as a configuration file and never write over it (Debian Policy 10.7.3)"
        }
        R::ConffileNotUpdated => "let the package manager handle configuration files (Debian Policy 10.7.3)",
        R::DataLost => "never remove data in an upgrade (Debian Policy 6.5)",
        R::ReinstallFailed => "let maintainer scripts be run again and again (Debian Policy 6.2)",
        R::NeedsDocs => "do not use files of /usr/share/doc in programs or scripts (Debian Policy 12.3)",
        R::ConfigLost => "remove configuration only when the package is purged (Debian Policy 6.8)",
        R::FileLost | R::FileAltered => "leave other packages' files alone, or divert them and undo it",
        R::ProcessLeftBehind => "end what was started when the package is removed",
        R::CronFails | R::LogrotateFails => {
            "let it do nothing when the program is gone: test -x, missingok (Debian Policy 9.5)"
        }
        R::Lint => "mend what the tag says, or waive it with a reason in [[verify.lint.waive]]",
        R::FileLeftBehind
        | R::FolderLeftBehind
        | R::UserLeftBehind
        | R::GroupLeftBehind
        | R::UnitLinkLeftBehind
        | R::AlternativeLeftBehind
        | R::CronLeftBehind
        | R::SysctlLeftBehind
        | R::TmpfilesLeftBehind
        | R::DiversionLeftBehind
        | R::OverrideLeftBehind
        | R::PackageLeftBehind => {
            "let the maintainer scripts clean up, or allow it with a reason in [[verify.allow]]"
        }
        _ => "read the log",
    }
}

/// The checks of an earlier run that passed under the same key.
pub async fn reuse_verify(
    shop: &Workshop,
    recorder: &mut Recorder,
    key: Digest,
) -> StageResult<Option<crate::model::TargetRecord>> {
    let archive = shop.archive.clone();
    let found = blocking(move || archive.find_verify(&key)).await;
    let found = found.map_err(|e| infrastructure(recorder.stage(), &e))?;
    Ok(found.map(|(run, record)| {
        recorder.reuse(format!("checks of run {run}"));
        record
    }))
}
