use super::owner::{OWNER_LABEL, Owner};
use crate::engine::{Engine, EngineError, Found, Object, Query};

/// What [`reap`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reaped {
    /// Containers that were removed, running or not.
    pub containers: usize,
}

/// Removes every container whose owner is a process of this host that has ended. Objects of living owners and of
/// other hosts stay. Idempotent, and safe beside other processes that do the same.
pub async fn reap(engine: &dyn Engine) -> Result<Reaped, EngineError> {
    let mut reaped = Reaped::default();
    for found in engine.find(&Query::ContainersLabelled(OWNER_LABEL.to_owned())).await? {
        let Found::Container { id, labels, .. } = found else { continue };
        let owner = labels.get(OWNER_LABEL).and_then(|text| text.parse::<Owner>().ok());
        if owner.is_some_and(|owner| owner.is_dead()) {
            engine.remove(&Object::Container(id)).await?;
            reaped.containers += 1;
        }
    }
    Ok(reaped)
}
