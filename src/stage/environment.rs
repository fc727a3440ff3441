use std::collections::BTreeMap;

use super::{Conditions, SourceTree, Workshop};
use crate::config::{Builder, StageLimits};
use crate::engine::{Command, Limits};
use crate::plan::TargetPlan;
use crate::sandbox::{Sandbox, SandboxError, SmallFile, Watch};

/// The ordinary user that builds (builders/README.md).
pub(super) const BUILD_USER: u64 = 10000;

const ROOT: &str = "0:0";
/// Folders of the contract, below the place of the build.
pub(super) const SOURCE: &str = "source";
/// Where what comes from the packaging is put, in containers that do not build.
pub(super) const PACKAGING: &str = "/build/packaging";
pub(super) const PREPARED: &str = "prepared";
pub(super) const OUT: &str = "out";
/// The file with the entry of the version for its changelog.
pub(super) const CHANGELOG: &str = "changelog";

/// Puts the builder's files into /packhold.
pub(super) async fn put_scripts(sandbox: &Sandbox, builder: &Builder) -> Result<(), SandboxError> {
    let mut files = vec![SmallFile::folder("packhold", 0)];
    files.extend(
        builder.files.iter().map(|(name, content)| SmallFile::script(format!("packhold/{name}"), content)),
    );
    sandbox.put_files("/", &files).await
}

/// A builder's script as root. The environment is exactly `env` and what every script gets.
pub(super) fn script(
    builder: &Builder,
    name: &str,
    arguments: &[&str],
    env: BTreeMap<String, String>,
) -> Command {
    let mut argv = vec!["/bin/sh".to_owned(), "-eu".to_owned(), format!("/packhold/{name}")];
    argv.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    Command { argv, env: with_common(builder, "/root", env), user: ROOT.to_owned(), dir: "/".to_owned() }
}

/// A builder's script as the ordinary user, with no variables of a target.
pub(super) fn as_ordinary_user(builder: &Builder, name: &str, arguments: &[&str]) -> Command {
    let root = script(builder, name, arguments, BTreeMap::new());
    let env = with_common(builder, "/build", BTreeMap::new());
    Command { env, user: format!("{BUILD_USER}:{BUILD_USER}"), ..root }
}

/// A command as the ordinary user in the source tree.
pub(super) fn as_build_user(
    builder: &Builder,
    argv: Vec<String>,
    env: BTreeMap<String, String>,
    conditions: &Conditions,
) -> Command {
    let mut env = with_common(builder, conditions.home(), env);
    env.extend(conditions.variables());
    let owner = conditions.owner();
    Command {
        argv: conditions.command(argv),
        env,
        user: format!("{owner}:{owner}"),
        dir: conditions.folder(SOURCE),
    }
}

fn with_common(builder: &Builder, home: &str, mut env: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let path = env
        .remove("PATH")
        .unwrap_or_else(|| "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned());
    for (name, value) in [
        ("LC_ALL", "C.UTF-8"),
        ("TZ", "UTC"),
        ("HOME", home),
        ("PATH", &path),
        ("HOSTNAME", "packhold"),
        ("PACKHOLD_BUILDER", &builder.name),
    ] {
        env.insert(name.to_owned(), value.to_owned());
    }
    env
}

/// The variables that build and verify of a target share.
pub(super) fn target_env(plan: &TargetPlan) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("PACKHOLD_TARGET".to_owned(), plan.section.name.to_string()),
        ("PACKHOLD_NAME".to_owned(), plan.package.clone()),
    ])
}

/// The variables of a target's version.
pub(super) fn version_env(plan: &TargetPlan, tree: &SourceTree) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("PACKHOLD_COMMIT".to_owned(), tree.commit.id.clone()),
        ("PACKHOLD_VERSION".to_owned(), plan.version.upstream.clone()),
        ("PACKHOLD_PACKAGE_VERSION".to_owned(), plan.version.full.clone()),
        ("PACKHOLD_REVISION".to_owned(), plan.version.revision.clone()),
        ("SOURCE_DATE_EPOCH".to_owned(), tree.commit.epoch.to_string()),
    ])
}

/// The variables of a build.
pub(super) fn build_env(
    shop: &Workshop,
    plan: &TargetPlan,
    tree: &SourceTree,
    conditions: &Conditions,
) -> BTreeMap<String, String> {
    let source = conditions.folder(SOURCE);
    let mut env = plan.section.env.clone();
    env.extend(target_env(plan));
    env.extend(version_env(plan, tree));
    env.extend(
        [
            ("PACKHOLD_PACKAGING", format!("{source}/{}", plan.section.packaging)),
            ("PACKHOLD_SOURCE", source),
            ("PACKHOLD_PREPARED", conditions.folder(PREPARED)),
            ("PACKHOLD_OUT", conditions.folder(OUT)),
            ("PACKHOLD_JOBS", conditions.jobs(shop.build_jobs).to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    if plan.changelog.is_some() {
        env.insert("PACKHOLD_CHANGELOG".to_owned(), conditions.folder(CHANGELOG));
    }
    env
}

/// The container's part of a stage's limits.
pub(super) fn container_limits(limits: &StageLimits) -> Limits {
    Limits { memory: limits.memory, processes: limits.processes, cpus: limits.cpus }
}

/// The watcher's part of a stage's limits.
pub(super) fn watch(limits: &StageLimits) -> Watch {
    Watch { time: limits.time, silence: limits.silence, output: limits.output }
}
