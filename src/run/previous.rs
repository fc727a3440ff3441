use std::collections::BTreeSet;

use super::Request;
use super::source::Source;
use crate::archive::{Archive, ArchiveError, Run, RunFilter};
use crate::config::UpgradeFrom;
use crate::model::{Artifact, ArtifactKind, Outcome, Stage, TargetName, TargetRecord};
use crate::stage::{PackageFile, Previous, StageResult, infrastructure};

/// The commits of the archived runs of a package.
pub(super) fn archived_commits(archive: &Archive, package: &str) -> Result<BTreeSet<String>, ArchiveError> {
    archive.commits(package)
}

/// The release that an upgrade starts from, as the pipeline says: the last archived release of this target in the
/// history of the commit, or the one with a version.
pub(super) fn previous(
    request: &Request,
    source: &Source,
    target: &TargetName,
) -> StageResult<Option<Previous>> {
    let wanted = &request.pipeline.verify.upgrade_from;
    if *wanted == UpgradeFrom::Nothing {
        return Ok(None);
    }
    let found = find(request, source, target, wanted).map_err(|e| infrastructure(Stage::Verify, &e))?;
    match (found, wanted) {
        (None, UpgradeFrom::Version(version)) => Err(Outcome::Broken {
            message: format!("no archived run of {target} that passed has the version `{version}`"),
            hint: "see `packhold archive list`, or leave upgrade-from out to take the last release"
                .to_owned(),
        }),
        (found, _) => Ok(found),
    }
}

fn find(
    request: &Request,
    source: &Source,
    target: &TargetName,
    wanted: &UpgradeFrom,
) -> Result<Option<Previous>, ArchiveError> {
    let mut best: Option<(i64, Previous)> = None;
    let of_package = RunFilter {
        package: Some(request.pipeline.name.clone()),
        target: Some(target.clone()),
        ..RunFilter::default()
    };
    for summary in request.archive.search(&of_package, usize::MAX)? {
        let same = summary.commit == source.record.commit;
        let passed = summary.targets.iter().any(|t| t.target == *target && t.outcome == "passed");
        let in_history = source.ancestors.contains(&summary.commit);
        if same || !passed || (*wanted == UpgradeFrom::LastRelease && !in_history) {
            continue;
        }
        let run: Run = request.archive.run(summary.id.as_str())?;
        let Some(record) = run.record.targets.iter().find(|record| record.target == *target) else {
            continue;
        };
        let fits = match wanted {
            UpgradeFrom::Version(version) => has_version(&run, record, version),
            _ => run.record.source.version.release,
        };
        let epoch = run.record.source.epoch;
        if fits && best.as_ref().is_none_or(|(newest, _)| epoch > *newest) {
            let what = format!("{} of run {}", record.package_version, run.record.id);
            best = Some((epoch, Previous { what, packages: files(&record.artifacts, None) }));
        }
    }
    if let Some((_, previous)) = &best {
        // It is installed later, and nobody is to prune it until then.
        request.archive.keep(previous.packages.iter().map(|package| &package.digest))?;
    }
    Ok(best.map(|(_, previous)| previous))
}

fn has_version(run: &Run, record: &TargetRecord, version: &str) -> bool {
    let said = &run.record.source.version;
    [&said.describe, &said.deb, &said.rpm, &record.package_version].into_iter().any(|text| text == version)
}

/// The packages among artifacts, in a folder or in the archive.
pub(super) fn files(artifacts: &[Artifact], folder: Option<&std::path::Path>) -> Vec<PackageFile> {
    artifacts
        .iter()
        .filter(|artifact| artifact.kind == ArtifactKind::Package)
        .map(|artifact| PackageFile {
            name: artifact.name.clone(),
            digest: artifact.digest,
            size: artifact.size,
            path: folder.map(|folder| folder.join(&artifact.name)),
        })
        .collect()
}
