//! What dead runs left on engines: on every one that this machine has, whichever is used today.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::args::EngineChoice;
use super::context;
use crate::engine::{Engine, EngineError};
use crate::sandbox::{Reaped, reap};

/// How long an engine may take that nobody has chosen.
const PATIENCE: Duration = Duration::from_secs(20);

/// What became of one engine's leftovers.
#[derive(Debug)]
pub(super) enum Asked {
    /// They were removed.
    Reaped(Reaped),
    /// There is no such engine here, and why that is known.
    NotHere(String),
    /// It could not be asked, or not to the end.
    Failed(String),
}

/// Removes what dead runs left on every engine but the one of kind `except`.
pub(super) async fn reap_everywhere(except: Option<&str>) -> Vec<(&'static str, Asked)> {
    let engines = [
        ("docker", EngineChoice::Docker),
        ("podman", EngineChoice::Podman),
        ("embedded", EngineChoice::Embedded),
    ];
    let wanted = engines.into_iter().filter(|(name, _)| except != Some(*name));
    let asked = wanted.map(|(name, choice)| async move {
        let asked = tokio::time::timeout(PATIENCE, ask(choice)).await;
        (name, asked.unwrap_or_else(|_| Asked::Failed(format!("no answer within {} s", PATIENCE.as_secs()))))
    });
    futures_util::future::join_all(asked).await
}

/// The same beside the engine that was chosen, for what begins to work with it; tells people what was found.
pub(super) async fn reap_beside(engine: &Arc<dyn Engine>) -> Result<(), EngineError> {
    let kind = engine.info().await?.kind;
    for (name, asked) in reap_everywhere(Some(&kind)).await {
        match asked {
            Asked::Reaped(Reaped { containers: 0, snapshots: 0 }) | Asked::NotHere(_) => {}
            Asked::Reaped(reaped) => eprintln!(
                "removed what dead runs left on the {name} engine: {} containers, {} snapshots",
                reaped.containers, reaped.snapshots
            ),
            Asked::Failed(why) => {
                tracing::debug!(why, "the {name} engine was not asked for what dead runs left")
            }
        }
    }
    Ok(())
}

async fn ask(choice: EngineChoice) -> Asked {
    if let Some(why) = is_missing(choice) {
        return Asked::NotHere(why);
    }
    let engine = match context::engine(choice).await {
        Ok(engine) => engine,
        Err(error) => return Asked::Failed(error.to_string()),
    };
    match reap(engine.as_ref()).await {
        Ok(reaped) => Asked::Reaped(reaped),
        Err(error) => Asked::Failed(error.to_string()),
    }
}

/// Why there is no such engine here, where that is seen without asking it.
fn is_missing(choice: EngineChoice) -> Option<String> {
    let place = match choice {
        EngineChoice::Auto => return None,
        EngineChoice::Docker => context::docker_address(),
        EngineChoice::Podman => context::podman_address(),
        EngineChoice::Embedded => {
            let folder = context::engine_folder();
            return (!folder.exists()).then(|| format!("there is no {}", folder.display()));
        }
    };
    let path = place.strip_prefix("unix://").unwrap_or(&place);
    (path.starts_with('/') && !Path::new(path).exists()).then(|| format!("there is no {path}"))
}
