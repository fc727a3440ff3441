//! Building in the images of a lock, or not at all.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use tokio::sync::Semaphore;

use super::Request;
use super::images::{Resolved, plan, resolve};
use super::prepared::SharedPrepare;
use super::source::Source;
use crate::config::Lock;
use crate::model::{Outcome, TargetName};
use crate::plan::{Declared, Dependencies, LockNeed, TargetPlan, locked_images};
use crate::stage::{LockedImages, StageResult, Workshop, refused, userland_key};

/// The images of a lock that a run needs. Nothing is made or loaded. An error says for which target (`None`: the shared
/// prepare stage) what does not hold any more. A target that cannot be planned needs none.
pub(super) async fn check(
    shop: &Workshop,
    request: &Request,
    source: &Source,
    lock: &Lock,
) -> Result<LockedImages, BTreeMap<Option<TargetName>, Outcome>> {
    let mut images = LockedImages::default();
    let mut wrong = BTreeMap::new();
    let mut expected = Vec::new();
    let mut take = |need: Result<LockNeed<'_>, Outcome>, target: Option<&TargetName>| {
        let found = need.and_then(|need| {
            let found =
                locked_images(lock, need).map_err(|why| refused(format!("the lock does not hold: {why}")))?;
            Ok((need.builder.place(), found))
        });
        match found {
            Ok((builder, found)) => {
                found.into_iter().for_each(|(what, image)| images.add(&builder, what, image))
            }
            Err(outcome) => drop(wrong.insert(target.cloned(), outcome)),
        }
    };
    if let Some(stage) = &request.pipeline.prepare {
        let builder = super::builder_of(request, &stage.builder, None);
        let builder = builder.map_err(|error| refused(error.to_string()));
        match builder {
            Err(outcome) => take(Err(outcome), None),
            Ok(builder) => {
                let userland = userland_key(shop, &builder).await;
                let (declared, own) = (Some(&[][..]), &stage.deps[..]);
                let need = userland.map(|userland| LockNeed {
                    target: None,
                    builder: &builder,
                    userland,
                    declared,
                    own,
                });
                take(need, None);
            }
        }
    }
    for section in &request.pipeline.targets {
        let Ok(plan) = plan(request, source, section) else { continue };
        let userland = userland_key(shop, &plan.builder).await;
        let known = declared(shop, &plan, lock);
        let need = userland.map(|userland| LockNeed {
            target: Some(&section.name),
            builder: &plan.builder,
            userland,
            declared: known.as_ref().map(Dependencies::lines),
            own: &plan.section.deps,
        });
        take(need, Some(&section.name));
        if let Some(locked) = lock.targets.get(&section.name) {
            expected.push((&section.name, &locked.declared));
        }
    }
    for (target, declared) in expected {
        images.expect(target, declared);
    }
    if wrong.is_empty() { Ok(images) } else { Err(wrong) }
}

/// What a target's packaging declares, if it is known without a container: a spec file is read in the locked builder image, and was
/// before.
fn declared(shop: &Workshop, plan: &TargetPlan, lock: &Lock) -> Option<Dependencies> {
    match &plan.declared {
        Declared::Listed(list) => Some(list.clone()),
        Declared::SpecFile(spec) => {
            let builder = &lock.builders.get(&plan.builder.place())?.builder;
            shop.declared_lists.get(builder.id, &plan.builder, spec)
        }
    }
}

/// Why nothing is built: what became of each target.
pub(super) fn refuse(
    request: &Request,
    wrong: &BTreeMap<Option<TargetName>, Outcome>,
) -> BTreeMap<TargetName, Resolved> {
    let refusal = |name: &TargetName| {
        let outcome = wrong.get(&Some(name.clone())).or_else(|| wrong.get(&None)).cloned();
        let why =
            || Outcome::Skipped { why: "the lock does not hold for all of the run: nothing is built".into() };
        Resolved::without(outcome.unwrap_or_else(why))
    };
    request.pipeline.targets.iter().map(|target| (target.name.clone(), refusal(&target.name))).collect()
}

/// The images of every target before any of them is built. If one is not as locked, none of the targets has images.
pub(super) async fn resolve_all(
    shop: &Workshop,
    request: &Request,
    source: &Source,
    prepared: &SharedPrepare<'_>,
) -> BTreeMap<TargetName, Resolved> {
    let permits = Semaphore::new(request.jobs.max(1));
    let one = |section| {
        let permits = &permits;
        async move {
            let _permit = permits.acquire().await;
            resolve(shop, request, source, section).await
        }
    };
    let all = join_all(request.pipeline.targets.iter().map(one));
    let (all, shared): (Vec<Resolved>, StageResult<_>) =
        futures_util::future::join(all, prepared.key()).await;
    let mut all: BTreeMap<TargetName, Resolved> =
        request.pipeline.targets.iter().map(|target| target.name.clone()).zip(all).collect();
    if shop.images.refused() {
        for resolved in all.values_mut().filter(|resolved| resolved.images.is_ok()) {
            let why = "an image of the run is not the locked one: nothing is built".to_owned();
            resolved.images = Err(shared.clone().err().unwrap_or(Outcome::Skipped { why }));
        }
    }
    all
}
