use std::cell::RefCell;

use jiff::Timestamp;

use super::catalogue;
use super::error::Result;
use super::image;
use super::layout::Layout;
use super::manifest::digest_of;
use super::run::RunSummary;
use crate::model::{Digest, RunId, TargetName};

/// Which runs are looked for. A run is found if all that is given holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// The package's name.
    pub package: Option<String>,
    /// The beginning of the version as `git describe` says it, with or without a leading `v`.
    pub version: Option<String>,
    /// The beginning of the commit id.
    pub commit: Option<String>,
    /// A target that the run has.
    pub target: Option<TargetName>,
    /// The beginning of the outcome: `failed`, `failed(build`.
    pub outcome: Option<String>,
    /// Not before this.
    pub since: Option<Timestamp>,
    /// Before this.
    pub until: Option<Timestamp>,
    /// A file of the run, by its bytes; those of builders are not looked for.
    pub file: Option<Digest>,
}

/// Hands over the newest runs that fit, newest first, at most `limit`, each once.
pub(super) fn search(
    layout: &Layout,
    filter: &RunFilter,
    limit: usize,
    take: impl FnMut(RunSummary),
) -> Result<()> {
    // The catalogue is asked again where it turns out to be wrong on the way: then it goes on after the last run.
    let state = RefCell::new((take, limit, None::<RunId>));
    catalogue::ask(layout, |db| {
        let (take, left, last) = &mut *state.borrow_mut();
        if *left == 0 {
            return Ok(());
        }
        catalogue::search(db, filter, |run| {
            if last.as_ref().is_some_and(|last| run.id >= *last) {
                return Ok(true);
            }
            let has = |wanted: &Digest| -> Result<bool> {
                let manifest = image::read_manifest(layout, &run.manifest, "the manifest of a run")?;
                Ok(manifest.layers().iter().any(|layer| digest_of(layer).as_ref() == Some(wanted)))
            };
            if filter.file.as_ref().map_or(Ok(true), has)? {
                *last = Some(run.id.clone());
                *left -= 1;
                take(run);
            }
            Ok(*left > 0)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::Fixture;
    use super::*;

    #[test]
    fn runs_are_found_by_everything_that_a_list_says_of_them() {
        let fixture = Fixture::new();
        let records = [1, 2, 3].map(|number| fixture.add_run(number));
        let found = |filter: RunFilter| -> Vec<_> {
            let found = fixture.archive.search(&filter, 10).unwrap();
            found.into_iter().map(|run| run.id).collect()
        };
        let all = || records.iter().rev().map(|record| record.id.clone()).collect::<Vec<_>>();
        let none = RunFilter::default;
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(found(none()), all());
        assert_eq!(fixture.archive.search(&none(), 2).unwrap().len(), 2);
        assert_eq!(found(RunFilter { package: some(&records[0].package), ..none() }), all());
        assert!(found(RunFilter { package: some("other"), ..none() }).is_empty());
        let version = records[0].source.version.describe.clone();
        for fits in [version.as_str(), version.trim_start_matches('v'), &version[..2]] {
            assert_eq!(found(RunFilter { version: some(fits), ..none() }), all(), "{fits}");
        }
        assert!(found(RunFilter { version: some("9"), ..none() }).is_empty());
        assert_eq!(
            found(RunFilter { commit: some(&records[1].source.commit[..8]), ..none() }).first(),
            all().first()
        );
        assert!(found(RunFilter { commit: some("xyz"), ..none() }).is_empty());
        assert_eq!(found(RunFilter { target: "debian-12/deb".parse().ok(), ..none() }), all());
        assert!(found(RunFilter { target: "rocky-9/rpm".parse().ok(), ..none() }).is_empty());
        let second = Some(records[1].started);
        assert_eq!(found(RunFilter { since: second, ..none() }), all()[..2]);
        assert_eq!(found(RunFilter { until: second, ..none() }), all()[2..]);
        let artifact = records[1].targets[0].artifacts[0].digest;
        assert_eq!(found(RunFilter { file: Some(artifact), ..none() }), all()[1..2], "which run made it");
        assert!(found(RunFilter { file: Some(Digest::of("nobody")), ..none() }).is_empty());
        let outcome = records[0].outcome.summary();
        assert_eq!(found(RunFilter { outcome: some(&outcome[..4]), ..none() }), all());
        assert!(found(RunFilter { outcome: some("nothing"), ..none() }).is_empty());
    }
}
