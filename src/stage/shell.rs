//! The environment of a step, made as a run makes it and up to that step, for a person to work in.

use super::build::{build_spec, build_steps, fill};
use super::declared::declared;
use super::deps::{INSTALL, install_command, put_lists};
use super::environment::{container_limits, put_scripts, script, watch};
use super::image_store::{Wanted, ensure_loaded};
use super::prepare::{PREPARE, prepare_command, prepare_spec, put_source};
use super::verify::{environment, put_packages};
use super::{
    BuildOf, Conditions, DepsRequest, PackageFile, Recorder, SourceTree, StageResult, TargetImages, Workshop,
    infrastructure,
};
use crate::config::{Builder, PrepareStage, StageLimits};
use crate::engine::Command;
use crate::model::{ImageRecord, Outcome, Stage};
use crate::plan::TargetPlan;
use crate::sandbox::{Privileges, Sandbox, SandboxSpec, scope};

/// Where a person wants to stand.
#[derive(Clone, Copy)]
pub enum Place<'a> {
    /// In the shared prepare stage.
    Prepare {
        /// The stage.
        stage: &'a PrepareStage,
        /// Its builder.
        builder: &'a Builder,
        /// The commit.
        tree: &'a SourceTree,
        /// The images that it runs in.
        images: &'a TargetImages,
    },
    /// Where build dependencies are installed.
    Deps {
        /// What the deps image is asked for.
        request: DepsRequest<'a>,
        /// The builder image.
        from: &'a ImageRecord,
    },
    /// Where a target is built.
    Build(BuildOf<'a>),
    /// Where its packages are about to be installed.
    Verify {
        /// What was built.
        plan: &'a TargetPlan,
        /// The commit.
        tree: &'a SourceTree,
        /// The base image.
        base: &'a ImageRecord,
        /// The packages.
        packages: &'a [PackageFile],
        /// What the stage may use.
        limits: &'a StageLimits,
    },
}

/// A shell that is asked for.
#[derive(Clone, Copy)]
pub struct ShellOf<'a> {
    /// Where.
    pub place: Place<'a>,
    /// The title of the step before which to stand; `None` is the end of the stage.
    pub before: Option<&'a str>,
    /// Whether that step is run first, however it ends.
    pub after: bool,
    /// Whether the container has a network.
    pub network: bool,
}

/// What was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The stage.
    pub stage: Stage,
    /// The image.
    pub image: ImageRecord,
    /// Whether it has a network.
    pub network: bool,
    /// User, folder and environment of the step.
    pub here: Command,
    /// The steps that were run again, each with its exit status; `None` for one that a limit ended.
    pub done: Vec<(String, Option<i64>)>,
    /// The step that comes next, or that was run last: its title and its command.
    pub step: Option<(String, Vec<String>)>,
}

/// Makes the environment, and works in it. A step before the one that is meant which does not succeed any more is the last:
/// [`Opened::done`] tells.
pub async fn shell<T>(
    shop: &Workshop,
    mut recorder: Recorder,
    of: ShellOf<'_>,
    work: impl AsyncFnOnce(Sandbox, Opened) -> T,
) -> StageResult<T> {
    let stage = recorder.stage();
    let (builder, image) = match of.place {
        Place::Prepare { builder, images, .. } => (builder, &images.deps),
        Place::Deps { request, from } => (request.builder, from),
        Place::Build(build) => (&*build.plan.builder, &build.images.deps),
        Place::Verify { plan, base, .. } => (&*plan.builder, base),
    };
    let wanted = Wanted { builder, role: image.role, key: image.key };
    ensure_loaded(shop, &mut recorder, wanted, image).await?;
    let of_builder = builder.limits();
    let (mut spec, limits) = match of.place {
        Place::Prepare { stage, images, .. } => (prepare_spec(shop, stage, builder, images), &stage.limits),
        Place::Build(build) => (build_spec(shop, build, &Conditions::default()), &build.plan.section.limits),
        Place::Deps { .. } => {
            (installer(shop, image, &format!("{}-deps", builder.name), &of_builder), &of_builder)
        }
        Place::Verify { plan, limits, .. } => {
            let name = format!("{}-verify", plan.section.name.file_stem());
            (installer(shop, image, &name, limits), limits)
        }
    };
    spec.privileges = match (spec.privileges, of.network) {
        (Privileges::Build, true) => Privileges::BuildOnline,
        (Privileges::Offline, true) => Privileges::Install,
        (usual, _) => usual,
    };
    let steps = steps(shop, of.place);
    let dependencies = match of.place {
        Place::Deps { request, from } => {
            Some(declared(shop, &mut recorder, request.builder, request.declared, from).await?)
        }
        _ => None,
    };
    scope(&shop.engine, spec, &shop.cancel, |sandbox| async move {
        match of.place {
            Place::Prepare { tree, .. } => {
                put_source(&mut recorder, &sandbox, tree, &Conditions::default()).await?;
            }
            Place::Deps { .. } => {
                put_scripts(&sandbox, builder).await.map_err(|e| infrastructure(stage, &e))?;
            }
            Place::Build(build) => fill(&mut recorder, &sandbox, build, &Conditions::default()).await?,
            Place::Verify { packages, .. } => {
                put_packages(shop, stage, &sandbox, builder, [packages, &[]]).await?;
            }
        }
        if let Some(dependencies) = &dependencies {
            put_lists(stage, &sandbox, dependencies).await?;
        }
        // One that another version of Packhold calls otherwise is the last.
        let at = of.before.map_or(steps.len(), |before| {
            let found = steps.iter().position(|(title, _)| title == before);
            found.unwrap_or(steps.len().saturating_sub(1))
        });
        let mut done = Vec::new();
        let mut stands_at = at;
        for (number, (title, command)) in steps.iter().enumerate().take(at + usize::from(of.after)) {
            let result = recorder.step(&sandbox, title, command, &watch(limits)).await?;
            done.push((title.clone(), result.end.code()));
            if !result.end.succeeded() {
                stands_at = number;
                break;
            }
        }
        let here = steps.get(stands_at).or(steps.last()).map(|(_, command)| command.clone());
        let opened = Opened {
            stage,
            image: image.clone(),
            network: of.network,
            here: here.unwrap_or_else(|| install_environment(of.place, builder)),
            done,
            step: steps.get(stands_at).map(|(title, command)| (title.clone(), command.argv.clone())),
        };
        recorder.finish(Outcome::Passed);
        Ok(work(sandbox, opened).await)
    })
    .await
    .map_err(|e| infrastructure(stage, &e))?
}

/// A sandbox in which packages are installed.
fn installer(shop: &Workshop, image: &ImageRecord, name: &str, limits: &StageLimits) -> SandboxSpec {
    SandboxSpec {
        root: image.id.into(),
        name: name.to_owned(),
        privileges: Privileges::Offline,
        limits: container_limits(limits),
        run: shop.run.to_string(),
        hostname: None,
    }
}

/// The steps of a place. What is verified has none that could be told from the outside.
fn steps(shop: &Workshop, place: Place<'_>) -> Vec<(String, Command)> {
    match place {
        Place::Prepare { stage, builder, tree, .. } => {
            vec![(PREPARE.to_owned(), prepare_command(shop, stage, builder, tree))]
        }
        Place::Deps { request, .. } => vec![(INSTALL.to_owned(), install_command(request))],
        Place::Build(build) => build_steps(shop, build, &Conditions::default()),
        Place::Verify { .. } => Vec::new(),
    }
}

/// The surroundings of the commands that verify packages.
fn install_environment(place: Place<'_>, builder: &Builder) -> Command {
    let env = match place {
        Place::Verify { plan, tree, .. } => {
            environment(&plan.package, &plan.section.name, Some((plan, tree)))
        }
        _ => Default::default(),
    };
    script(builder, "verify.sh", &[], env)
}
