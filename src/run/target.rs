use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::Semaphore;

use super::images::{Resolved, plan, resolve};
use super::prepared::SharedPrepare;
use super::previous::{files, previous};
use super::reproduce::{Again, reproduce};
use super::source::Source;
use super::{Request, builder_of};
use crate::config::{Builder, TargetSection, VerifySection};
use crate::model::{Architecture, Digest, InfraReason, Outcome, Reproducibility, Stage, TargetRecord};
use crate::plan::{BuildInputs, TargetPlan, VerifyInputs, build_key, verify_key};
use crate::stage::{
    BuildOf, Built, Conditions, Recorder, StageResult, TargetImages, Verified, VerifyRequest, Workshop,
    build, environment, infrastructure, reuse_build, reuse_verify, verify,
};
use crate::support::Hint;

/// Runs one target to its end. Gives the folder of its artifacts if they are new.
pub(super) async fn run(
    shop: &Workshop,
    request: &Request,
    source: &Source,
    section: &TargetSection,
    prepared: &SharedPrepare<'_>,
    permits: &Semaphore,
    resolved: Option<Resolved>,
) -> (TargetRecord, Option<PathBuf>) {
    let mut record = TargetRecord::of(section.name.clone());
    let mut folder = None;
    let _permit = permits.acquire().await;
    let mut work =
        Work { shop, request, source, prepared, permits, resolved, record: &mut record, folder: &mut folder };
    // A defect of ours in one target must not take the others along.
    let ended = AssertUnwindSafe(work.all(section)).catch_unwind().await;
    record.outcome = match ended {
        Ok(Ok(())) => Outcome::Passed,
        Ok(Err(outcome)) => outcome,
        Err(_) => Outcome::Infra {
            stage: record.stages.last().map_or(Stage::Deps, |stage| stage.stage),
            reason: InfraReason::Internal,
            message: format!("{}: a defect of Packhold ended the work on it", section.name),
            hint: "please report it with the message above".to_owned(),
        },
    };
    (record, folder)
}

struct Work<'a> {
    shop: &'a Workshop,
    request: &'a Request,
    source: &'a Source,
    prepared: &'a SharedPrepare<'a>,
    permits: &'a Semaphore,
    /// Where the images were found or made before any target was built.
    resolved: Option<Resolved>,
    record: &'a mut TargetRecord,
    folder: &'a mut Option<PathBuf>,
}

impl Work<'_> {
    async fn all(&mut self, section: &TargetSection) -> StageResult<()> {
        let resolved = match self.resolved.take() {
            Some(resolved) => resolved,
            None => resolve(self.shop, self.request, self.source, section).await,
        };
        if let Some(plan) = &resolved.plan {
            self.record.package_version.clone_from(&plan.version.full);
        }
        self.record.stages.extend(resolved.stage);
        let images = resolved.images?;
        let plan = match resolved.plan {
            Some(plan) => plan,
            None => plan(self.request, self.source, section)?,
        };
        self.record.images = vec![images.base.id, images.builder.id, images.deps.id];
        let built = self.build(&plan, &images).await?;
        self.record.artifacts.clone_from(&built.artifacts);
        self.folder.clone_from(&built.folder);
        let verified = self.verify(&plan, &images, &built).await;
        // Both are told: a package that is wrong in one way may be so in the other.
        if matches!(verified, Err(Outcome::Infra { .. })) || self.request.reproducible.is_none() {
            return verified;
        }
        let reproduced = self.reproduce(&plan, &images, &built).await;
        verified.and(reproduced)
    }

    async fn reproduce(
        &mut self,
        plan: &TargetPlan,
        images: &TargetImages,
        built: &Built,
    ) -> StageResult<()> {
        let Some(check) = self.request.reproducible else { return Ok(()) };
        let prepared = self.prepared.outputs().await?;
        let mut recorder = Recorder::start(self.shop, Some(&plan.section.name), Stage::Reproduce);
        let (shop, tree, prepared) = (self.shop, &self.source.tree, prepared.as_ref());
        let again = Again { shop, plan, tree, images, prepared, first: built, check };
        let mut found = Reproducibility::default();
        let result = reproduce(&mut recorder, &again, &mut found).await;
        self.record.reproducibility = Some(found);
        self.finish(recorder, result)
    }

    fn finish<T>(&mut self, recorder: Recorder, result: StageResult<T>) -> StageResult<T> {
        let outcome = match &result {
            Ok(_) => Outcome::Passed,
            Err(outcome) => outcome.clone(),
        };
        self.record.stages.push(recorder.finish(outcome));
        result
    }

    async fn build(&mut self, plan: &TargetPlan, images: &TargetImages) -> StageResult<Built> {
        let prepared = self.prepared.key().await?;
        let commit = &self.source.tree.commit;
        let key = build_key(BuildInputs { plan, commit, image: images.deps.id, prepared });
        self.record.build_key = Some(key);
        let mut recorder = Recorder::start(self.shop, Some(&plan.section.name), Stage::Build);
        if self.request.rebuild {
            return self.build_now(recorder, plan, images).await;
        }
        match reuse_build(self.shop, &mut recorder, key).await {
            Ok(None) => self.build_now(recorder, plan, images).await,
            Ok(Some(built)) => self.finish(recorder, Ok(built)),
            Err(outcome) => self.finish(recorder, Err(outcome)),
        }
    }

    async fn build_now(
        &mut self,
        mut recorder: Recorder,
        plan: &TargetPlan,
        images: &TargetImages,
    ) -> StageResult<Built> {
        let prepared = match self.prepared.outputs().await {
            Ok(prepared) => prepared,
            Err(outcome) => return self.finish(recorder, Err(outcome)),
        };
        let (shop, tree) = (self.shop, &self.source.tree);
        let of = BuildOf { plan, tree, images, prepared: prepared.as_ref() };
        let result = build(shop, &mut recorder, of, &Conditions::default()).await;
        self.finish(recorder, result)
    }

    async fn verify(&mut self, plan: &TargetPlan, images: &TargetImages, built: &Built) -> StageResult<()> {
        let target = &plan.section.name;
        let section = self.request.pipeline.verify.for_target(target);
        let mut recorder = Recorder::start(self.shop, Some(target), Stage::Verify);
        let found = self.further_builders(&section, target.architecture).and_then(|others| {
            let previous = previous(self.request, self.source, target)?;
            Ok((others, previous))
        });
        let (others, previous) = match found {
            Ok(found) => found,
            Err(outcome) => return self.finish(recorder, Err(outcome)),
        };
        let before: Vec<Digest> =
            previous.iter().flat_map(|previous| &previous.packages).map(|file| file.digest).collect();
        let engine = match self.shop.engine.info().await {
            Ok(engine) => engine,
            Err(error) => return self.finish(recorder, Err(infrastructure(Stage::Verify, &error))),
        };
        let key = verify_key(VerifyInputs {
            builder: &plan.builder,
            image: images.base.id,
            others: &others,
            artifacts: &built.artifacts,
            previous: &before,
            section: &section,
            // What was skipped for want of an init system is tried where there is one.
            init: self.request.init && engine.init && !plan.builder.emulated,
        });
        self.record.verify_key = Some(key);
        if let Some(result) = self.reuse_checks(&mut recorder, key).await {
            return self.finish(recorder, result);
        }
        let env = environment(&plan.package, target, Some((plan, &self.source.tree)));
        let request = VerifyRequest {
            name: target,
            builder: &plan.builder,
            base: &images.base,
            others: &others,
            packages: &files(&built.artifacts, built.folder.as_deref()),
            expected: Some(&plan.version.full),
            previous: previous.as_ref(),
            section: &section,
            env: &env,
        };
        let mut verified = Verified::default();
        let result = verify(self.shop, &mut recorder, request, self.permits, &mut verified).await;
        self.record.take(verified.checks, verified.warnings, verified.identities);
        self.finish(recorder, result)
    }

    fn further_builders(
        &self,
        section: &VerifySection,
        architecture: Option<Architecture>,
    ) -> StageResult<Vec<Arc<Builder>>> {
        let load = |name: &String| {
            builder_of(self.request, name, architecture)
                .map_err(|error| Outcome::Broken { message: error.to_string(), hint: error.hint() })
        };
        section.images.iter().map(load).collect()
    }

    async fn reuse_checks(&mut self, recorder: &mut Recorder, key: Digest) -> Option<StageResult<()>> {
        if self.request.rebuild {
            return None;
        }
        match reuse_verify(self.shop, recorder, key).await {
            Ok(None) => None,
            Ok(Some(before)) => {
                let identities = before.artifacts.into_iter();
                let identities = identities.filter_map(|file| Some((file.name, file.package?))).collect();
                self.record.take(before.checks, before.warnings, identities);
                Some(Ok(()))
            }
            Err(outcome) => Some(Err(outcome)),
        }
    }
}
