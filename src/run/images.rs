use super::source::Source;
use super::{Request, RunError, builder_for};
use crate::config::TargetSection;
use crate::model::{Outcome, Stage, StageRecord};
use crate::plan::{Dependencies, TargetPlan, plan_target};
use crate::stage::{DepsRequest, Recorder, StageResult, TargetImages, Workshop, deps};
use crate::support::Hint;

/// A target's plan and its images, with the record of the stage that found or made them.
#[derive(Clone)]
pub(super) struct Resolved {
    pub plan: Option<TargetPlan>,
    pub stage: Option<StageRecord>,
    pub images: StageResult<TargetImages>,
    /// What the packaging declares, where the images are there.
    pub declared: Dependencies,
}

impl Resolved {
    /// A target without images.
    pub fn without(outcome: Outcome) -> Self {
        Self { plan: None, stage: None, images: Err(outcome), declared: Dependencies::default() }
    }
}

/// Plans a target of the commit.
pub(super) fn plan(request: &Request, source: &Source, section: &TargetSection) -> StageResult<TargetPlan> {
    let broken = |message: String, hint: String| Outcome::Broken { message, hint };
    let builder = builder_for(request, &section.name)
        .map_err(|error: RunError| broken(error.to_string(), error.hint()))?;
    let at = request.pipeline.targets.iter().position(|target| target.name == section.name);
    let packaging = at.map(|at| source.packaging[at].clone()).unwrap_or_default();
    plan_target(&request.pipeline, section, builder, &source.tree.commit, &packaging)
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
        Err(outcome) => return Resolved::without(outcome),
    };
    let mut recorder = Recorder::start(shop, Some(&plan.section.name), Stage::Deps);
    let request = DepsRequest {
        builder: &plan.builder,
        declared: &plan.declared,
        own: &plan.section.deps,
        plan: Some(&plan),
    };
    let found = deps(shop, &mut recorder, request).await;
    let outcome = found.as_ref().err().cloned().unwrap_or(Outcome::Passed);
    let (images, declared) = match found {
        Ok((images, declared)) => (Ok(images), declared),
        Err(outcome) => (Err(outcome), Dependencies::default()),
    };
    Resolved { stage: Some(recorder.finish(outcome)), plan: Some(plan), images, declared }
}
