use std::collections::BTreeMap;

use super::owner::{OWNER_LABEL, Owner};
use crate::engine::{Engine, EngineError, Found, Object, Query};

/// What [`reap`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reaped {
    /// Containers that were removed, running or not.
    pub containers: usize,
    /// Snapshots that were removed.
    pub snapshots: usize,
}

/// Removes every container and snapshot whose owner is a process of this host that has ended. Objects of living owners and of
/// other hosts stay. Idempotent, and safe beside other processes that do the same.
pub async fn reap(engine: &dyn Engine) -> Result<Reaped, EngineError> {
    let mut reaped = Reaped::default();
    for found in engine.find(&Query::ContainersLabelled(OWNER_LABEL.to_owned())).await? {
        let Found::Container { id, labels, .. } = found else { continue };
        if is_dead(&labels) {
            engine.remove(&Object::Container(id)).await?;
            reaped.containers += 1;
        }
    }
    // One that others are made of can go when they have gone.
    loop {
        let before = reaped.snapshots;
        let mut refused = None;
        for found in engine.find(&Query::SnapshotsLabelled(OWNER_LABEL.to_owned())).await? {
            let Found::Snapshot { id, labels } = found else { continue };
            if !is_dead(&labels) {
                continue;
            }
            match engine.remove(&Object::Snapshot(id)).await {
                Ok(()) => reaped.snapshots += 1,
                Err(error @ EngineError::Refused { .. }) => refused = Some(error),
                Err(error) => return Err(error),
            }
        }
        match refused {
            None => return Ok(reaped),
            Some(error) if reaped.snapshots == before => {
                tracing::warn!(%error, "a snapshot stays for now");
                return Ok(reaped);
            }
            Some(_) => {}
        }
    }
}

fn is_dead(labels: &BTreeMap<String, String>) -> bool {
    let owner = labels.get(OWNER_LABEL).and_then(|text| text.parse::<Owner>().ok());
    owner.is_some_and(|owner| owner.is_dead())
}
