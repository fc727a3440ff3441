//! What a run made otherwise than the run before.

use std::collections::BTreeMap;
use std::path::Path;

use super::RunError;
use super::pages::{is_package, read_package};
use crate::archive::{Archive, Run, RunFilter};
use crate::compare::{Comparison, Contents, compare, contents};
use crate::config::package_changes;
use crate::model::{Artifact, ArtifactKind, Digest, ImageRecord, RunRecord, TargetRecord};
use crate::report::Side;
use crate::report::changes::{Changes, FileChange, ImagePackages, RelationChange, TargetChanges};

/// How many earlier runs are looked at to find one that made something.
const LOOKED_AT: usize = 50;

/// What is in packages, by their digests.
pub(super) type Inside = BTreeMap<Digest, Result<Contents, String>>;

/// What is different from the last run before that built a target of this run, in whose packages is what `inside` says. `beside` is the
/// folder in which the other's page may be.
pub(super) fn since(
    archive: &Archive,
    run: &Run,
    inside: &Inside,
    beside: Option<&Path>,
) -> Result<Option<Changes>, RunError> {
    let record = &run.record;
    let filter = RunFilter {
        package: Some(record.package.clone()),
        until: Some(record.started),
        ..RunFilter::default()
    };
    let built = |target: &&TargetRecord| target.artifacts.iter().any(is_package);
    let wanted: Vec<&TargetRecord> = record.targets.iter().filter(built).collect();
    if wanted.is_empty() {
        return Ok(None);
    }
    let earlier = archive.search(&filter, LOOKED_AT)?;
    for summary in earlier.into_iter().filter(|summary| summary.id != record.id) {
        // What is damaged is skipped, as if it were not there.
        let Ok(before) = archive.run(summary.id.as_str()) else { continue };
        let then = |target: &TargetRecord| {
            let found = before.record.targets.iter().find(|then| then.target == target.target);
            found.filter(built).cloned()
        };
        let pairs: Vec<_> = wanted.iter().filter_map(|now| Some((then(now)?, *now))).collect();
        if pairs.is_empty() {
            continue;
        }
        let targets =
            pairs.iter().map(|(then, now)| of_target(archive, inside, (&before.record, then), (record, now)));
        let page = format!("{}.html", before.record.id);
        return Ok(Some(Changes {
            targets: targets.collect(),
            page: beside.filter(|folder| folder.join(&page).exists()).map(|_| page),
            before: Side::of(&before.record),
        }));
    }
    Ok(None)
}

/// What is different of a target of two runs. `inside` says what is in packages, as far as it is known.
pub(super) fn of_target(
    archive: &Archive,
    inside: &Inside,
    then: (&RunRecord, &TargetRecord),
    now: (&RunRecord, &TargetRecord),
) -> TargetChanges {
    TargetChanges {
        target: now.1.target.clone(),
        files: files(archive, inside, then.1, now.1),
        images: images(then, now),
    }
}

/// The packages of a target that users install, by their names.
fn packages(target: &TargetRecord) -> Vec<(String, &Artifact)> {
    let all = target.artifacts.iter().filter(|artifact| artifact.kind == ArtifactKind::Package);
    all.map(|artifact| (package_of(artifact), artifact)).collect()
}

/// The name of the package in a file: as it says itself, or as the file's name has it (`NAME_…` or `NAME-VERSION-RELEASE.ARCH.rpm`).
fn package_of(artifact: &Artifact) -> String {
    let by_name = || match artifact.name.strip_suffix(".rpm") {
        Some(stem) => stem.rsplitn(3, '-').nth(2).unwrap_or(stem),
        None => artifact.name.split('_').next().unwrap_or_default(),
    };
    artifact.package.as_ref().map_or_else(|| by_name().to_owned(), |package| package.name.clone())
}

fn files(archive: &Archive, inside: &Inside, then: &TargetRecord, now: &TargetRecord) -> Vec<FileChange> {
    let (then, now) = (packages(then), packages(now));
    let mut names: Vec<&String> = now.iter().chain(&then).map(|(name, _)| name).collect();
    names.sort();
    names.dedup();
    let find = |all: &[(String, &Artifact)], wanted: &String| {
        all.iter().find(|(name, _)| name == wanted).map(|(_, artifact)| (*artifact).clone())
    };
    let changes = names.into_iter().map(|name| {
        let (old, new) = (find(&then, name), find(&now, name));
        let (comparison, relations) = match (&old, &new) {
            (Some(old), Some(new)) => compared(archive, inside, old, new),
            _ => (None, Vec::new()),
        };
        FileChange {
            package: name.clone(),
            old: old.map(|artifact| artifact.size),
            new: new.map(|artifact| artifact.size),
            comparison,
            relations,
        }
    });
    changes.collect()
}

fn compared(
    archive: &Archive,
    inside: &Inside,
    old: &Artifact,
    new: &Artifact,
) -> (Option<Comparison>, Vec<RelationChange>) {
    if old.digest == new.digest {
        return (Some(Comparison::Identical), Vec::new());
    }
    let (Ok(before), Ok(after)) = (read_package(archive, old), read_package(archive, new)) else {
        return (None, Vec::new());
    };
    let comparison = compare(&new.name, &before, &after);
    let known = inside.get(&new.digest).cloned();
    let after = known.unwrap_or_else(|| contents(&new.name, &after).map_err(|error| error.to_string()));
    let relations = match (contents(&old.name, &before), after) {
        (Ok(before), Ok(after)) => relations(&before, &after),
        _ => Vec::new(),
    };
    (Some(comparison), relations)
}

fn relations(before: &Contents, after: &Contents) -> Vec<RelationChange> {
    let of = |contents: &Contents, kind: &str| -> Vec<String> {
        let found = contents.relations.iter().find(|(known, _)| known == kind);
        found.map(|(_, all)| all.clone()).unwrap_or_default()
    };
    let mut kinds: Vec<&String> =
        before.relations.iter().chain(&after.relations).map(|(kind, _)| kind).collect();
    kinds.sort();
    kinds.dedup();
    let changes = kinds.into_iter().map(|kind| {
        let (old, new) = (of(before, kind), of(after, kind));
        let without = |all: &[String], others: &[String]| -> Vec<String> {
            all.iter().filter(|one| !others.contains(one)).cloned().collect()
        };
        RelationChange { kind: kind.clone(), added: without(&new, &old), removed: without(&old, &new) }
    });
    changes.filter(|change| !(change.added.is_empty() && change.removed.is_empty())).collect()
}

/// The images of a target that have other packages than then.
pub(super) fn images(
    then: (&RunRecord, &TargetRecord),
    now: (&RunRecord, &TargetRecord),
) -> Vec<ImagePackages> {
    fn of<'a>((record, target): (&'a RunRecord, &TargetRecord)) -> Vec<&'a ImageRecord> {
        record.images.iter().filter(|image| target.images.contains(&image.id)).collect()
    }
    let before = of(then);
    let changes = of(now).into_iter().filter_map(|image| {
        let old = before.iter().find(|old| old.role == image.role)?;
        let packages = package_changes(&old.packages, &image.packages);
        Some(ImagePackages { role: image.role, packages })
    });
    changes.filter(|change| !change.packages.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_package_is_found_in_the_name_of_its_file() {
        let artifact = |name: &str| Artifact {
            name: name.to_owned(),
            kind: ArtifactKind::Package,
            size: 0,
            digest: crate::model::Digest::of(""),
            package: None,
        };
        assert_eq!(package_of(&artifact("host-pulse_1.0-1_amd64.deb")), "host-pulse");
        assert_eq!(package_of(&artifact("host-pulse-1.0-1.x86_64.rpm")), "host-pulse");
    }

    #[test]
    fn relations_that_came_and_went_are_told() {
        let with = |all: &[&str]| Contents {
            relations: vec![("Depends".to_owned(), all.iter().map(|one| (*one).to_owned()).collect())],
            ..Contents::default()
        };
        let told = relations(&with(&["a", "b (>= 1)"]), &with(&["a", "b (>= 2)"]));
        assert_eq!(
            (&told[0].added[..], &told[0].removed[..]),
            (&["b (>= 2)".to_owned()][..], &["b (>= 1)".to_owned()][..])
        );
        assert!(relations(&with(&["a"]), &with(&["a"])).is_empty());
    }
}
