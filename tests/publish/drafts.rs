//! What a publication that adds little reads and writes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use packhold::publish::{Folder, Options, Repository};

use crate::apt::{channel, options, publication, repository};
use crate::deb::{ar_of, tar_of};
use crate::wrapped::Wrapped;

fn small_deb(folder: &Path, name: &str, version: &str, arch: &str) -> PathBuf {
    let control = format!(
        "Package: {name}\nVersion: {version}\nArchitecture: {arch}\nMaintainer: Nobody <nobody@example.org>\nSection: admin\n\
         Description: {name} of the tests\n"
    );
    let paths =
        [format!("./usr/bin/{name}"), format!("./usr/share/{name}/{version}"), "./usr/share/all".to_owned()];
    let control = tar_of(&[("./control", control)]);
    let ar = ar_of(&[
        ("debian-binary", b"2.0\n"),
        ("control.tar", &control),
        ("data.tar", &tar_of(&paths.map(|path| (path, "")))),
    ]);
    let file = folder.join(format!("{name}_{version}_{arch}.deb"));
    fs::write(&file, ar).unwrap();
    file
}

fn small_rpm(folder: &Path, name: &str, version: &str) -> PathBuf {
    let config = rpm::BuildConfig::v4().compression(rpm::CompressionType::None).source_date(1_700_000_000);
    let mut builder = rpm::PackageBuilder::new(name, version, "MIT", "x86_64", "a package of the tests");
    builder.using_config(config).add_changelog_entry(
        "Nobody <nobody@example.org> - 1",
        "- one",
        1_700_000_000,
    );
    let options = rpm::FileOptions::new(format!("/usr/bin/{name}"));
    builder.with_file_contents(format!("{name} {version}\n"), options).unwrap();
    let file = folder.join(format!("{name}-{version}-1.x86_64.rpm"));
    builder.build().unwrap().write_file(&file).unwrap();
    file
}

/// Names that are not in the order of their numbers.
fn name(number: usize) -> String {
    format!("agent-{:03}", number * 37 % 997)
}

/// The index files of a suite under their plain names, with their contents.
fn indexes(root: &Path, suite: &str) -> BTreeMap<String, Vec<u8>> {
    let main = root.join("dists").join(suite).join("main");
    let mut found = BTreeMap::new();
    for folder in [main.clone(), main.join("binary-amd64"), main.join("binary-arm64")] {
        for entry in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_file() {
                let name = entry.strip_prefix(&main).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read(&entry).unwrap());
            }
        }
    }
    found
}

#[tokio::test]
async fn a_suite_that_grew_package_by_package_has_the_index_files_of_one_that_is_made_at_once() {
    let (work, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let repository = repository(root.path(), Options { keep: Some(1), ..options() });
    let snapshot = channel("snapshot");
    let arch = |number: usize| ["amd64", "all", "arm64"][number % 3];
    let package = |number: usize, version: &str| small_deb(work.path(), &name(number), version, arch(number));
    let publish = async |id: String, packages: &[PathBuf]| {
        repository.publish(&publication(&id, "snapshot", "bookworm", packages), None).await.unwrap()
    };
    let first: Vec<PathBuf> = (0..120).map(|number| package(number, "1")).collect();
    publish("first".to_owned(), &first).await;
    // New ones at the beginning, in the middle and at the end, and newer ones that drop older ones.
    for (number, version) in
        [(120, "1"), (0, "2"), (121, "1"), (1, "2"), (122, "1"), (2, "2"), (69, "0.5"), (72, "3")]
    {
        publish(format!("{number} {version}"), &[package(number, version)]).await;
    }
    let compare = async |to: &str| {
        let to = channel(to);
        repository.promote("all", &snapshot, &to, &[], None).await.unwrap();
        let (grown, made) =
            (indexes(root.path(), "bookworm-snapshot"), indexes(root.path(), &format!("bookworm-{to}")));
        assert_eq!(grown.keys().collect::<Vec<_>>(), made.keys().collect::<Vec<_>>());
        assert_eq!(grown.len(), 10);
        for (name, bytes) in &grown {
            assert!(bytes == &made[name], "{to}: {name}");
        }
    };
    compare("first").await;
    let packages =
        String::from_utf8(indexes(root.path(), "bookworm-snapshot")["binary-amd64/Packages"].clone())
            .unwrap();
    assert!(packages.contains("Version: 3\n") && !packages.contains("Version: 0.5\n"));
    // Nobody knows the blocks of what was brought back.
    repository.roll_back(&snapshot, None).await.unwrap();
    publish("after".to_owned(), &[package(123, "1")]).await;
    compare("second").await;
}

/// The metadata files of a tree, whose names are digests.
fn metadata(root: &Path, channel: &str) -> BTreeSet<String> {
    let repomd =
        fs::read_to_string(root.join(format!("rpm/{channel}/rocky-9/x86_64/repodata/repomd.xml"))).unwrap();
    let names = repomd.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
    names.filter(|name| name.ends_with(".xml.gz")).collect()
}

#[tokio::test]
async fn a_tree_that_grew_package_by_package_has_the_metadata_of_one_that_is_made_at_once() {
    let (work, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let repository = repository(root.path(), Options { keep: Some(1), ..options() });
    let snapshot = channel("snapshot");
    let package = |number: usize, version: &str| small_rpm(work.path(), &name(number), version);
    let publish = async |id: String, packages: &[PathBuf]| {
        repository.publish(&publication(&id, "snapshot", "rocky-9", packages), None).await.unwrap()
    };
    let first: Vec<PathBuf> = (0..120).map(|number| package(number, "1")).collect();
    publish("first".to_owned(), &first).await;
    for (number, version) in [(120, "1"), (0, "2"), (121, "1"), (69, "0.5"), (72, "3")] {
        publish(format!("{number} {version}"), &[package(number, version)]).await;
    }
    let compare = async |to: &str| {
        repository.promote("all", &snapshot, &channel(to), &[], None).await.unwrap();
        let made = metadata(root.path(), to);
        assert_eq!(made.len(), 3);
        assert_eq!(metadata(root.path(), "snapshot"), made, "{to}");
    };
    compare("first").await;
    repository.roll_back(&snapshot, None).await.unwrap();
    publish("after".to_owned(), &[package(123, "1")]).await;
    compare("second").await;
}

#[tokio::test]
async fn adding_a_package_reads_no_package_and_no_index_that_it_is_not_in() {
    let (work, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let open = || {
        let place = Wrapped::unlocked(Folder::open(root.path()).unwrap());
        let reads = place.reads();
        (Repository::open(place, Options { guard: Some(BTreeSet::new()), ..options() }).unwrap(), reads)
    };
    let of = |format: &str, packages: &[PathBuf]| publication("run", "stable", format, packages);
    let debs: Vec<PathBuf> = (0..20)
        .map(|number| small_deb(work.path(), &name(number), "1", ["amd64", "arm64"][number % 2]))
        .collect();
    let rpms: Vec<PathBuf> = (0..20).map(|number| small_rpm(work.path(), &name(number), "1")).collect();
    for (distro, first, more) in [
        ("bookworm", debs, small_deb(work.path(), &name(20), "1", "amd64")),
        ("rocky-9", rpms, small_rpm(work.path(), &name(20), "1")),
    ] {
        open().0.publish(&of(distro, &first), None).await.unwrap();
        let (repository, reads) = open();
        repository.publish(&of(distro, &[more]), None).await.unwrap();
        let reads = reads.lock().unwrap();
        assert!(!reads.is_empty());
        for key in reads.iter() {
            assert!(!key.ends_with(".deb") && !key.ends_with(".rpm"), "{key}");
            // Whether files under plain names are those of the index is seen by looking at them, where nothing is signed.
            assert!(!key.contains("binary-arm64/by-hash/"), "{key}");
        }
    }
}
