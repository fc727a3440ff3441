//! Repositories that other programs wrote.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::apt::{apt_finds, options, publication, repository};
use crate::packages::{deb, rpm, run};
use crate::yum::dnf_finds;

/// A tree that createrepo_c made below `root`, with two packages that nobody has signed.
pub fn tree_of_createrepo(work: &Path, root: &Path) -> PathBuf {
    let tree = root.join("rpm/stable/rocky-9/x86_64");
    fs::create_dir_all(&tree).unwrap();
    for name in ["old", "older"] {
        let package = rpm(work, name, "1", "x86_64", "");
        fs::copy(&package, tree.join(package.file_name().unwrap())).unwrap();
    }
    run(Command::new("createrepo_c").arg("--quiet").arg(&tree));
    tree
}

/// A suite that reprepro made in `root`, with two packages.
pub fn suite_of_reprepro(work: &Path, root: &Path) {
    fs::create_dir(root.join("conf")).unwrap();
    let conf =
        "Codename: bookworm\nSuite: bookworm\nComponents: main\nArchitectures: amd64 arm64\nContents:\n";
    fs::write(root.join("conf/distributions"), conf).unwrap();
    for (name, arch) in [("old", "amd64"), ("oldest", "all")] {
        let package = deb(
            work,
            name,
            "1-1",
            arch,
            &[&format!("usr/bin/{name}")],
            "Section: admin\nPriority: optional\n",
        );
        let mut reprepro = Command::new("reprepro");
        run(reprepro.arg("--silent").arg("-b").arg(root).args(["includedeb", "bookworm"]).arg(package));
    }
}

/// A suite that aptly made in a folder below `home`, with one package.
pub fn suite_of_aptly(work: &Path, home: &Path) -> PathBuf {
    let aptly = || {
        let mut command = Command::new("aptly");
        command.env("HOME", home);
        command
    };
    run(aptly().args(["repo", "create", "ours"]));
    let old = deb(work, "old", "1-1", "amd64", &["usr/bin/old"], "Section: admin\n");
    run(aptly().args(["repo", "add", "ours"]).arg(old));
    run(aptly().args([
        "publish",
        "repo",
        "-skip-signing",
        "-distribution=bookworm",
        "-architectures=amd64",
        "ours",
    ]));
    home.join(".aptly/public")
}

#[tokio::test]
async fn a_repository_of_reprepro_is_taken_over_with_all_its_packages() {
    let (work, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    suite_of_reprepro(work.path(), root.path());
    let new = deb(work.path(), "new", "1", "amd64", &["usr/bin/new"], "");
    repository(root.path(), options())
        .publish(&publication("run", "stable", "bookworm", &[new]), None)
        .await
        .unwrap();
    let expected = BTreeSet::from(["new 1", "old 1-1", "oldest 1-1"].map(str::to_owned));
    assert_eq!(apt_finds(root.path(), "bookworm", None), expected);
    let arm64 = fs::read_to_string(root.path().join("dists/bookworm/main/binary-arm64/Packages")).unwrap();
    assert!(arm64.contains("Package: oldest") && !arm64.contains("Package: old\n"));
    let contents = run(Command::new("zcat").arg(root.path().join("dists/bookworm/main/Contents-amd64.gz")));
    for line in ["usr/bin/old ", "usr/bin/oldest ", "usr/bin/new "] {
        assert!(contents.contains(line), "{contents}");
    }
}

#[tokio::test]
async fn a_repository_of_aptly_is_taken_over_with_all_its_packages() {
    let (work, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let root = suite_of_aptly(work.path(), home.path());
    let new = deb(work.path(), "new", "1", "amd64", &["usr/bin/new"], "");
    repository(&root, options())
        .publish(&publication("run", "stable", "bookworm", &[new]), None)
        .await
        .unwrap();
    assert_eq!(apt_finds(&root, "bookworm", None), BTreeSet::from(["new 1", "old 1-1"].map(str::to_owned)));
}

#[tokio::test]
async fn a_repository_of_createrepo_is_taken_over_with_all_its_packages() {
    let (work, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let tree = tree_of_createrepo(work.path(), root.path());
    let new = rpm(work.path(), "new", "1", "x86_64", "");
    repository(root.path(), options())
        .publish(&publication("run", "stable", "rocky-9", &[new]), None)
        .await
        .unwrap();
    assert_eq!(dnf_finds(&tree), ["new 1-1", "old 1-1", "older 1-1"]);
}
