//! Repositories of other programs, brought into a place of one's own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use packhold::model::Digest;
use packhold::publish::{ImportOptions, PublishError, read_foreign};

use crate::adopted::{suite_of_aptly, suite_of_reprepro, tree_of_createrepo};
use crate::apt::{apt_finds, options, publication, repository};
use crate::packages::{deb, rpm, run};
use crate::yum::dnf_finds;

/// What reprepro asks of a package.
const FIELDS: &str = "Section: admin\nPriority: optional\n";

/// What `packhold import` says, and its exit status.
fn import(from: &Path, to: &Path, words: &[&str]) -> (String, Option<i32>) {
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_packhold"))
        .args(["import", "--channel", "stable", "--unsigned", "--to"])
        .arg(to)
        .arg(from)
        .args(words)
        .env("HOME", home.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    (said, output.status.code())
}

/// Every file below a folder, with its content.
fn everything(folder: &Path) -> BTreeMap<String, Digest> {
    let listed = run(Command::new("find").arg(folder).args(["-type", "f"]));
    listed.lines().map(|path| (path.to_owned(), Digest::of(fs::read(path).unwrap()))).collect()
}

#[tokio::test]
async fn suites_of_reprepro_and_aptly_come_into_a_repository_with_all_their_packages() {
    let (work, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (reprepro, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    suite_of_reprepro(work.path(), reprepro.path());
    let before = everything(reprepro.path());
    let ours = deb(work.path(), "ours", "1", "amd64", &["usr/bin/ours"], "");
    let publication = publication("run", "stable", "bookworm", &[ours]);
    repository(place.path(), options()).publish(&publication, None).await.unwrap();

    let (said, status) = import(reprepro.path(), place.path(), &[]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("2 packages: 2 are new, all are there"), "{said}");
    let expected = BTreeSet::from(["old 1-1", "oldest 1-1", "ours 1"].map(str::to_owned));
    assert_eq!(apt_finds(place.path(), "bookworm", None), expected);
    assert_eq!(everything(reprepro.path()), before, "what is imported is only read");

    // The same package, of another tool and for another distro release.
    let aptly = suite_of_aptly(work.path(), home.path());
    let (said, status) = import(&aptly, place.path(), &["--distro", "trixie"]);
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(apt_finds(place.path(), "trixie", None), BTreeSet::from(["old 1-1".to_owned()]));
    assert_eq!(apt_finds(place.path(), "bookworm", None), expected);

    // Again, it brings what is new.
    let newer = deb(work.path(), "newer", "1", "amd64", &["usr/bin/newer"], FIELDS);
    let mut command = Command::new("reprepro");
    run(command.arg("--silent").arg("-b").arg(reprepro.path()).args(["includedeb", "bookworm"]).arg(newer));
    let (said, status) = import(reprepro.path(), place.path(), &[]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("3 packages: 1 are new, all are there"), "{said}");
}

#[test]
fn a_tree_of_createrepo_comes_into_a_repository_with_all_its_packages() {
    let [work, other, place] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let tree = tree_of_createrepo(work.path(), other.path());
    let data = rpm(work.path(), "data", "1", "noarch", "");
    fs::copy(&data, tree.join(data.file_name().unwrap())).unwrap();
    run(Command::new("createrepo_c").arg("--quiet").arg(&tree));
    let (said, status) = import(&tree, place.path(), &[]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("does not say for which distro release") && said.contains("--distro"), "{said}");
    let (said, status) = import(&tree, place.path(), &["--distro", "rocky-9"]);
    assert_eq!(status, Some(0), "{said}");
    let ours = place.path().join("rpm/stable/rocky-9/x86_64");
    assert_eq!(dnf_finds(&ours), ["data 1-1", "old 1-1", "older 1-1"]);
}

#[tokio::test]
async fn what_the_index_names_and_is_not_there_is_not_imported_in_part() {
    let [work, other, place] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    suite_of_reprepro(work.path(), other.path());
    let package = other.path().join("pool/main/o/old/old_1-1_amd64.deb");
    let good = fs::read(&package).unwrap();
    // Another build of the same version.
    let rebuilt = deb(work.path(), "old", "1-1", "amd64", &["usr/bin/other"], "Section: admin\n");
    fs::copy(rebuilt, &package).unwrap();
    let read = read_foreign(other.path(), &ImportOptions::default()).await;
    assert!(
        matches!(&read, Err(PublishError::Foreign { reason, .. }) if reason.contains("the index says")),
        "{read:?}"
    );
    fs::remove_file(&package).unwrap();
    let (said, status) = import(other.path(), place.path(), &[]);
    assert_eq!(status, Some(3), "{said}");
    assert!(said.contains("old_1-1_amd64.deb") && !place.path().join("dists").exists(), "{said}");
    fs::write(&package, good).unwrap();

    // What would be in the way is found before anything is changed.
    fs::create_dir_all(other.path().join("dists/trixie")).unwrap();
    let (said, status) = import(other.path(), place.path(), &[]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("several suites (bookworm, trixie)"), "{said}");
    let (said, status) = import(other.path(), place.path(), &["--suite", "sid"]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("no suite `sid`"), "{said}");
    let (said, status) = import(work.path(), place.path(), &[]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("neither dists/ nor repodata/repomd.xml"), "{said}");
}

#[tokio::test]
async fn source_packages_that_are_not_imported_are_told() {
    let [work, other, place] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    fs::create_dir(other.path().join("conf")).unwrap();
    let conf = "Codename: bookworm\nOrigin: Theirs\nLabel: Their packages\nComponents: main\nArchitectures: amd64 source\n";
    fs::write(other.path().join("conf/distributions"), conf).unwrap();
    let source = work.path().join("tool-1");
    fs::create_dir_all(source.join("debian/source")).unwrap();
    for (file, text) in [
        (
            "debian/control",
            "Source: tool\nMaintainer: Nobody <nobody@example.org>\nSection: admin\nPriority: optional\n\nPackage: tool\nArchitecture: all\nDescription: a tool\n",
        ),
        (
            "debian/changelog",
            "tool (1) unstable; urgency=medium\n\n  * New.\n\n -- Nobody <nobody@example.org>  Tue, 14 Nov 2023 22:13:20 +0000\n",
        ),
        ("debian/source/format", "3.0 (native)\n"),
        ("debian/rules", "#!/usr/bin/make -f\n"),
    ] {
        fs::write(source.join(file), text).unwrap();
    }
    run(Command::new("dpkg-source").arg("--build").arg(&source).current_dir(work.path()));
    let reprepro = |word: &str, file: &Path| {
        run(Command::new("reprepro")
            .arg("--silent")
            .arg("-b")
            .arg(other.path())
            .args([word, "bookworm"])
            .arg(file));
    };
    reprepro("includedsc", &work.path().join("tool_1.dsc"));
    reprepro("includedeb", &deb(work.path(), "tool", "1", "all", &["usr/bin/tool"], FIELDS));
    let (said, status) = import(other.path(), place.path(), &[]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("warning: main/source/Sources: 1 packages stay where they are"), "{said}");
    let release = fs::read_to_string(place.path().join("dists/bookworm/Release")).unwrap();
    assert!(release.contains("Origin: Theirs\nLabel: Their packages\n"), "{release}");
}
