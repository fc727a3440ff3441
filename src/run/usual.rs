//! How long things usually take.

use std::collections::BTreeMap;

use crate::archive::{Archive, RunFilter};
use crate::model::{RunRecord, Stage, StageRecord, TargetName};

/// How many earlier runs are looked at.
const LOOKED_AT: usize = 10;

/// Milliseconds that a stage usually takes, by the target (`None`: it is shared by all) and the stage.
pub type UsualDurations = BTreeMap<(Option<TargetName>, Stage), u64>;

/// The median of what stages took in the last runs of a package in which they did their work and passed. An archive that cannot say
/// so knows nothing: it is a guess for people who wait, and no more.
pub fn usual_durations(archive: &Archive, package: &str) -> UsualDurations {
    let filter = RunFilter { package: Some(package.to_owned()), ..RunFilter::default() };
    let found = archive.search(&filter, LOOKED_AT).unwrap_or_default();
    let runs = found.iter().filter_map(|summary| archive.run(summary.id.as_str()).ok());
    of_runs(runs.map(|run| run.record))
}

fn of_runs(records: impl Iterator<Item = RunRecord>) -> UsualDurations {
    let mut all: BTreeMap<(Option<TargetName>, Stage), Vec<u64>> = BTreeMap::new();
    for record in records {
        let shared = record.shared.iter().map(|stage| (None, stage));
        let own = record
            .targets
            .iter()
            .flat_map(|target| target.stages.iter().map(|stage| (Some(target.target.clone()), stage)));
        let worked = |(_, stage): &(Option<TargetName>, &StageRecord)| {
            stage.outcome.passed() && stage.reused.is_none()
        };
        for (target, stage) in shared.chain(own).filter(worked) {
            all.entry((target, stage.stage)).or_default().push(stage.duration_ms);
        }
    }
    let median = |mut durations: Vec<u64>| {
        durations.sort_unstable();
        durations[durations.len() / 2]
    };
    all.into_iter().map(|(what, durations)| (what, median(durations))).collect()
}
