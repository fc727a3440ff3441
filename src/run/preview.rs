use std::collections::BTreeMap;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{Request, RunError, builder_for, locked, open_shop, platform, source};
use crate::engine::Shortcoming;
use crate::model::{Outcome, Scenario, SourceRecord, TargetName};
use crate::plan::plan_target;
use crate::stage::{Foreseen, ImagePolicy, Reporter, foresee};

/// What a run would do, and why.
#[derive(Clone, Debug)]
pub struct Preview {
    /// What would be built.
    pub source: SourceRecord,
    /// The targets in the pipeline's order.
    pub targets: Vec<TargetPreview>,
    /// What the engine cannot do here, and could elsewhere.
    pub shortcomings: Vec<Shortcoming>,
    /// The targets whose verification asks for an init system that the engine does not run, in the pipeline's order.
    pub without_init: Vec<TargetName>,
}

/// What a run would do for one target.
#[derive(Clone, Debug)]
pub struct TargetPreview {
    /// The target.
    pub target: TargetName,
    /// The platform that its containers would have, and what emulates it: `linux/amd64`.
    pub platform: String,
    /// The version that its packages would carry; empty if it cannot be built.
    pub version: String,
    /// What would be done, or what is wrong and what to do about it.
    pub steps: Result<Foreseen, (String, String)>,
}

/// Says what [`execute`](super::execute) would do. Nothing is built, pulled or stored.
pub async fn preview(mut request: Request, cancel: CancellationToken) -> Result<Preview, RunError> {
    let engine = request.engine.info().await?;
    platform::settle(&mut request, &engine)?;
    let scratch = request.folders.scratch()?;
    let (events, _nobody) = tokio::sync::mpsc::unbounded_channel();
    let mut shop = open_shop(&request, Timestamp::now(), scratch.path(), Reporter::new(events), cancel)?;
    let found = source::source(&shop, &request).await?;
    let mut wrong = BTreeMap::new();
    if let Some(file) = &request.lock {
        match locked::check(&shop, &request, &found, &file.lock).await {
            Ok(images) => shop.policy = ImagePolicy::Locked(images),
            Err(outcomes) => wrong = locked::refuse(&request, &outcomes),
        }
    }
    let mut targets = Vec::new();
    for (section, packaging) in request.pipeline.targets.iter().zip(&found.packaging) {
        let builder = builder_for(&request, &section.name)?;
        let plan = plan_target(&request.pipeline, section, builder, &found.tree.commit, packaging);
        let (version, steps) = match plan {
            Err(error) => (String::new(), Err((error.message, error.hint))),
            Ok(plan) if wrong.contains_key(&section.name) => {
                let outcome = wrong.get(&section.name).and_then(|resolved| resolved.images.clone().err());
                let words = |outcome: Outcome| {
                    let hint = outcome.hint().unwrap_or("see what is wrong with the others").to_owned();
                    (outcome.message().unwrap_or_default().to_owned(), hint)
                };
                (plan.version.full.clone(), Err(outcome.map(words).unwrap_or_default()))
            }
            Ok(plan) => {
                let shared = request.pipeline.prepare.is_some();
                let steps = foresee(&shop, &plan, &found.tree, shared).await;
                (plan.version.full.clone(), steps.map_err(|error| (error.to_string(), error.hint())))
            }
        };
        let platform = platform::words(&engine, &section.name);
        targets.push(TargetPreview { target: section.name.clone(), platform, version, steps });
    }
    // An empty folder of logs is of no use to anybody.
    let _ = std::fs::remove_dir(&shop.logs);
    let asks =
        |name: &&TargetName| request.pipeline.verify.for_target(name).scenarios.contains(&Scenario::Service);
    let names = request.pipeline.targets.iter().map(|section| &section.name);
    let lacks_init =
        |name: &&TargetName| request.init && (!engine.init || platform::foreign(&engine, name).is_some());
    let without_init = names.filter(lacks_init).filter(asks).cloned().collect();
    Ok(Preview { source: found.record, targets, shortcomings: engine.shortcomings, without_init })
}
