use std::collections::BTreeMap;

use super::environment::{put_scripts, script, watch};
use super::image_store::{Wanted, install_spec, peek};
use super::{Recorder, Workshop, diagnose};
use crate::config::{Builder, StageLimits};
use crate::model::{ImageRole, Stage};
use crate::sandbox::scope;

/// Tries a builder's network in a container of its userland: does it resolve names, does the mirror answer? `None` if
/// the engine has no such image or the builder has no `doctor.sh`.
pub async fn probe(shop: &Workshop, builder: &Builder) -> Option<Result<(), String>> {
    if !builder.has("doctor.sh") {
        return None;
    }
    let wanted = Wanted { builder, role: ImageRole::Base, key: builder.userland_key() };
    let (id, place) = peek(shop, wanted).await.ok()??;
    if place == "in the archive" {
        return None;
    }
    let mut recorder = Recorder::start(shop, None, Stage::Deps);
    let spec = install_spec(shop, &wanted.container(), id);
    let tried = scope(&shop.engine, spec, &shop.cancel, |sandbox| async move {
        put_scripts(&sandbox, builder).await.map_err(|e| e.to_string())?;
        let command = script(builder, "doctor.sh", &[], BTreeMap::new());
        let limits = StageLimits { time: std::time::Duration::from_secs(120), ..StageLimits::default() };
        let step = recorder.step(&sandbox, "try the network", &command, &watch(&limits)).await;
        let step = step.map_err(|outcome| outcome.message().unwrap_or_default().to_owned())?;
        if step.end.succeeded() {
            return Ok(());
        }
        let unresolved = diagnose::contract_lines(recorder.tail(), "unresolvable");
        Err(if unresolved.is_empty() {
            "the mirror does not answer; check proxy, firewall and the engine's network".to_owned()
        } else {
            format!(
                "the name {} is not resolved inside containers; check the engine's DNS settings",
                unresolved.join(", ")
            )
        })
    });
    Some(tried.await.unwrap_or_else(|error| Err(error.to_string())))
}
