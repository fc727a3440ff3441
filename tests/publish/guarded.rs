//! What would be no upgrade for users is refused, whoever else publishes at that moment.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use packhold::publish::{Folder, Options, Place, PublishError, Published, Repository, Result};

use crate::apt::{apt_finds, options, publication, repository};
use crate::packages::{deb, rpm};
use crate::wrapped::Wrapped;
use crate::yum::dnf_finds;

fn guarded(allowed: &[&str]) -> Options {
    let allowed: BTreeSet<String> = allowed.iter().map(|name| (*name).to_owned()).collect();
    Options { guard: Some(allowed), ..options() }
}

fn refused(published: Result<Published>) {
    match published {
        Err(PublishError::Guard(error)) => assert!(error.to_string().contains("is no upgrade"), "{error}"),
        other => panic!("{other:?}"),
    }
}

fn folder(root: &Path) -> Folder {
    Folder::open(root).unwrap()
}

/// A package `a` for the distro release, and what its users find.
type Case = (&'static str, fn(&Path, &str) -> PathBuf, fn(&Path) -> Vec<String>);

const CASES: [Case; 2] = [
    (
        "bookworm",
        |work, version| deb(work, "a", version, "amd64", &["usr/bin/a"], ""),
        |root| apt_finds(root, "bookworm", None).into_iter().collect(),
    ),
    (
        "rocky-9",
        |work, version| rpm(work, "a", version, "x86_64", ""),
        |root| dnf_finds(&root.join("rpm/stable/rocky-9/x86_64")),
    ),
];

#[tokio::test]
async fn a_version_that_another_publisher_overtakes_is_refused_when_it_is_tried_again() {
    for (distro, make, finds) in CASES {
        let (work, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let of = |version: &str| publication(version, "stable", distro, &[make(work.path(), version)]);
        repository(root.path(), guarded(&[])).publish(&of("1"), None).await.unwrap();
        let (path, higher) = (root.path().to_owned(), of("3"));
        let other = async move {
            let other = Repository::open(Wrapped::unlocked(folder(&path)), guarded(&[])).unwrap();
            other.publish(&higher, None).await.unwrap();
        };
        let late = Wrapped::interrupted(folder(root.path()), Box::pin(other));
        refused(Repository::open(late, guarded(&[])).unwrap().publish(&of("2"), None).await);
        let (names, one, three) = (finds(root.path()), "1", "3");
        let versions: Vec<&str> = names.iter().map(|name| &name[2..3]).collect();
        assert_eq!(versions, [one, three], "{names:?}");
    }
}

#[tokio::test]
async fn a_publisher_that_waits_for_the_lock_is_measured_by_what_it_finds_then() {
    for (distro, make, finds) in CASES {
        let (work, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let of = |version: &str| publication(version, "stable", distro, &[make(work.path(), version)]);
        let (lower, higher) = (of("2"), of("3"));
        let held = folder(root.path()).lock().await.unwrap();
        let path = root.path().to_owned();
        let waiting =
            tokio::spawn(async move { repository(&path, guarded(&[])).publish(&lower, None).await });
        tokio::time::sleep(Duration::from_millis(100)).await;
        let other = Repository::open(Wrapped::unlocked(folder(root.path())), guarded(&[])).unwrap();
        other.publish(&higher, None).await.unwrap();
        drop(held);
        refused(waiting.await.unwrap());
        assert_eq!(finds(root.path()).len(), 1);
    }
}

#[tokio::test]
async fn of_several_packages_one_that_is_no_upgrade_keeps_all_out() {
    let (work, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let deb = |name: &str, version: &str| deb(work.path(), name, version, "amd64", &["usr/bin/a"], "");
    let ours = repository(root.path(), guarded(&[]));
    let first = rpm(work.path(), "a", "2", "x86_64", "");
    ours.publish(&publication("1", "stable", "rocky-9", &[first]), None).await.unwrap();
    let mut both = publication("2", "stable", "bookworm", &[deb("b", "1")]);
    let lower = rpm(work.path(), "a", "1", "x86_64", "");
    both.packages.extend(publication("2", "stable", "rocky-9", &[lower]).packages);
    refused(ours.publish(&both, None).await);
    for folder in ["dists", "pool"] {
        assert!(!root.path().join(folder).exists(), "{folder}");
    }
    assert_eq!(dnf_finds(&root.path().join("rpm/stable/rocky-9/x86_64")), ["a 2-1"]);
    // The same again is no step back, and what is meant so is told.
    let published = repository(root.path(), guarded(&["a"])).publish(&both, None).await.unwrap();
    assert_eq!(published.lowered, ["a 1-1 for rocky-9"]);
    assert!(ours.publish(&both, None).await.unwrap().added.is_empty());
}
