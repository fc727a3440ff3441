use std::sync::Arc;

use super::source::Source;
use super::{Request, RunError, builder_of};
use crate::config::TargetSection;
use crate::model::{Format, Outcome, Stage, StageRecord};
use crate::plan::{TargetPlan, plan_target};
use crate::stage::{DepsRequest, Recorder, StageResult, TargetImages, Workshop, deps};
use crate::support::Hint;

/// A target's plan and its images, with the record of the stage that found or made them.
#[derive(Clone)]
pub(super) struct Resolved {
    pub plan: Option<TargetPlan>,
    pub stage: Option<StageRecord>,
    pub images: StageResult<TargetImages>,
}

/// Plans a target of the commit.
pub(super) fn plan(request: &Request, source: &Source, section: &TargetSection) -> StageResult<TargetPlan> {
    let broken = |message: String, hint: String| Outcome::Broken { message, hint };
    let builder = builder_of(request, &section.name.builder)
        .map_err(|error: RunError| broken(error.to_string(), error.hint()))?;
    let at = request.pipeline.targets.iter().position(|target| target.name == section.name);
    let packaging = at.map(|at| source.packaging[at].clone()).unwrap_or_default();
    plan_target(&request.pipeline.name, section, builder, &source.tree.commit, &packaging)
        .map_err(|error| broken(error.message, error.hint))
}

/// Plans a target and finds or makes its images.
pub(super) async fn resolve(
    shop: &Workshop,
    request: &Request,
    source: &Source,
    section: &TargetSection,
) -> Resolved {
    let plan = match plan(request, source, section) {
        Ok(plan) => plan,
        Err(outcome) => return Resolved { plan: None, stage: None, images: Err(outcome) },
    };
    let mut recorder = Recorder::start(shop, Some(&plan.section.name), Stage::Deps);
    // deps.sh looks for a template NAME.in beside the name of the spec file.
    let packaging = match plan.section.name.format {
        Format::Deb => "",
        Format::Rpm => plan.section.packaging.rsplit('/').next().unwrap_or_default(),
    };
    let builder = Arc::clone(&plan.builder);
    let request = DepsRequest {
        builder: &builder,
        declared: &plan.declared,
        own: &plan.section.deps,
        files: &plan.deps_files,
        packaging,
        plan: Some(&plan),
    };
    let images = deps(shop, &mut recorder, request).await;
    let outcome = images.as_ref().err().cloned().unwrap_or(Outcome::Passed);
    Resolved { stage: Some(recorder.finish(outcome)), plan: Some(plan), images }
}
