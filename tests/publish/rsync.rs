//! Repositories in folders that rsync reaches.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use packhold::publish::{Place, PublishError, Repository, Rsync};

use crate::apt::{apt_finds, channel, options, publication};
use crate::packages::{deb, rpm, run};
use crate::processes::{names, numbered, publishing};
use crate::server::Server;
use crate::wrapped::Wrapped;
use crate::yum::dnf_finds;

/// rsync's daemon, whose module `module` is a folder, and which writes down what arrives.
struct Daemon {
    folder: tempfile::TempDir,
    server: Server,
}

impl Daemon {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display();
        fs::create_dir(folder.path().join("module")).unwrap();
        let config = format!(
            "use chroot = no\nuid = {0}\ngid = {0}\n[module]\npath = {path}/module\nread only = no\ntransfer logging = yes\n\
             log file = {path}/log\nlog format = %o %f\n",
            rustix::process::getuid().as_raw()
        );
        fs::write(folder.path().join("config"), config).unwrap();
        let server = Server::start(|address| {
            let (host, port) = address.split_once(':').unwrap();
            let mut command = Command::new("rsync");
            command.args(["--daemon", "--no-detach", "--address", host, "--port", port]).arg("--config");
            command.arg(folder.path().join("config"));
            command
        });
        Self { folder, server }
    }

    fn remote(&self) -> String {
        format!("rsync://{}/module/packages", self.server.address)
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("module/packages")
    }

    /// The files that have arrived, in order.
    fn arrived(&self) -> Vec<String> {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap();
        let of = |line: &str| Some(line.split_once(" recv ")?.1.split_once("packages/")?.1.to_owned());
        log.lines().filter_map(of).collect()
    }
}

fn package(work: &Path, name: &str) -> PathBuf {
    deb(work, name, "1", "amd64", &["usr/bin/agent"], "")
}

#[tokio::test]
async fn packages_and_metadata_reach_a_daemon_before_the_anchor_that_names_them() {
    let (work, copies, daemon) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), Daemon::new());
    let repository =
        || Repository::open(Rsync::open(&daemon.remote(), copies.path()).unwrap(), options()).unwrap();
    let mut first = publication("run 1", "stable", "bookworm", &[package(work.path(), "a")]);
    let tree = [rpm(work.path(), "a", "1", "x86_64", "")];
    first.packages.extend(publication("run 1", "stable", "rocky-9", &tree).packages);
    repository().publish(&first, None).await.unwrap();
    assert_eq!(apt_finds(&daemon.root(), "bookworm", None).into_iter().collect::<Vec<_>>(), ["a 1"]);
    assert_eq!(dnf_finds(&daemon.root().join("rpm/stable/rocky-9/x86_64")), ["a 1-1"]);
    let second = publication("run 2", "stable", "bookworm", &[package(work.path(), "b")]);
    let before = daemon.arrived();
    repository().publish(&second, None).await.unwrap();
    let second = daemon.arrived().split_off(before.len());
    for (arrived, anchor, named) in [
        (&before, "dists/bookworm/Release", ["pool/bookworm/main/a/a/a_1_amd64.deb", "by-hash"]),
        (
            &before,
            "rpm/stable/rocky-9/x86_64/repodata/repomd.xml",
            ["Packages/a/a-1-1.x86_64.rpm", "-primary.xml.gz"],
        ),
        (&second, "dists/bookworm/Release", ["pool/bookworm/main/b/b/b_1_amd64.deb", "by-hash"]),
    ] {
        let at =
            arrived.iter().position(|key| key == anchor).unwrap_or_else(|| panic!("{anchor}: {arrived:?}"));
        for part in named {
            let last = arrived.iter().rposition(|key| key.contains(part));
            assert!(last.is_some_and(|last| last < at), "{part} comes before {anchor}: {arrived:?}");
        }
    }
    assert!(!second.iter().any(|key| key.contains("a_1_amd64.deb")), "what is there does not travel again");
    // Other readers find what the anchor names under plain names, too.
    let plain = fs::read_to_string(daemon.root().join("dists/bookworm/main/binary-amd64/Packages")).unwrap();
    assert_eq!(plain.matches("Package: ").count(), 2);
    assert!(!daemon.root().join(".packhold/lock").exists(), "what belongs to the copy stays there");
    repository().roll_back(&channel("stable"), None).await.unwrap();
    assert_eq!(apt_finds(&daemon.root(), "bookworm", None).len(), 1);
}

#[test]
fn four_processes_of_one_machine_publish_with_rsync_and_nothing_is_lost() {
    let (work, copies, daemon) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), Daemon::new());
    let packages = numbered(work.path(), 0..4);
    let start = |package: &PathBuf| -> Child {
        publishing(daemon.remote().as_ref(), std::slice::from_ref(package))
            .env("PACKHOLD_TEST_COPIES", copies.path())
            .spawn()
            .unwrap()
    };
    let children: Vec<Child> = packages.iter().map(start).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(apt_finds(&daemon.root(), "bookworm", None), names(0..4));
}

#[tokio::test]
async fn what_another_machine_has_published_meanwhile_stays() {
    let (work, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let [here, there] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let remote = root.path().join("packages").to_str().unwrap().to_owned();
    let machine = |copies: &Path| Rsync::open(&remote, copies).unwrap();
    let publish = |name: &str| publication(name, "stable", "bookworm", &[package(work.path(), name)]);
    let [first, second, third, fourth] = ["p00", "p01", "p02", "p03"].map(publish);
    Repository::open(machine(here.path()), options()).unwrap().publish(&first, None).await.unwrap();
    Repository::open(machine(there.path()), options()).unwrap().publish(&second, None).await.unwrap();
    // The other machine is quicker while this one is about to send its anchor.
    let other = Repository::open(machine(there.path()), options()).unwrap();
    let meanwhile = Box::pin(async move { _ = other.publish(&third, None).await.unwrap() });
    // The lock of a machine keeps its own publishers apart only, so it may stay.
    let place = machine(here.path());
    let _lock = place.lock().await.unwrap();
    let place = Wrapped::interrupted(place, meanwhile);
    Repository::open(place, options()).unwrap().publish(&fourth, None).await.unwrap();
    let root = root.path().join("packages");
    assert_eq!(apt_finds(&root, "bookworm", None), names(0..4));
    // What is known of the files in packages of other machines is there, too.
    let contents = run(Command::new("zcat").arg(root.join("dists/bookworm/main/Contents-amd64.gz")));
    assert_eq!(contents.split_whitespace().nth(1), Some("p00,p01,p02,p03"));
}

#[tokio::test]
async fn what_is_removed_goes_when_everything_else_has_come() {
    let (root, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let place = Rsync::open(root.path().to_str().unwrap(), copies.path()).unwrap();
    place.put("pool/old", b"old".to_vec()).await.unwrap();
    place.put("pool/kept", b"kept".to_vec()).await.unwrap();
    place.settle().await.unwrap();
    place.delete("pool/old").await.unwrap();
    place.put("pool/new", b"new".to_vec()).await.unwrap();
    assert!(root.path().join("pool/old").exists());
    place.settle().await.unwrap();
    let there = |name: &str| root.path().join("pool").join(name).exists();
    assert_eq!((there("old"), there("kept"), there("new")), (false, true, true));
    // What another machine has removed is not there either; what lies beside the repository is nobody's business.
    fs::remove_file(root.path().join("pool/kept")).unwrap();
    fs::write(root.path().join("notes"), "of the owner").unwrap();
    let _lock = place.lock().await.unwrap();
    assert_eq!(place.size("pool/kept").await.unwrap(), None);
    place.settle().await.unwrap();
    assert!(root.path().join("notes").exists());
}

#[test]
fn the_remote_shell_is_the_one_that_rsync_is_told() {
    let (work, copies, root) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let shell = work.path().join("shell");
    fs::write(
        &shell,
        format!("#!/bin/sh\necho \"$1\" >>{}/hosts\nshift\nexec sh -c \"$*\"\n", work.path().display()),
    )
    .unwrap();
    fs::set_permissions(&shell, Permissions::from_mode(0o755)).unwrap();
    let folder = root.path().join("our packages");
    let place = format!("rsync:packages.example.org:{}", folder.display());
    let packages = numbered(work.path(), 0..2);
    let mut command = publishing(place.as_ref(), &packages);
    command.env("RSYNC_RSH", &shell).env("PACKHOLD_TEST_COPIES", copies.path());
    assert!(command.status().unwrap().success());
    assert_eq!(apt_finds_in_spaces(&folder), names(0..2));
    let hosts = fs::read_to_string(work.path().join("hosts")).unwrap();
    assert!(hosts.lines().all(|host| host == "packages.example.org") && hosts.lines().count() > 3, "{hosts}");
}

/// As [`apt_finds`], for a folder whose name has a space, which no line of sources can name.
fn apt_finds_in_spaces(folder: &Path) -> std::collections::BTreeSet<String> {
    let link = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(folder, link.path().join("root")).unwrap();
    apt_finds(&link.path().join("root"), "bookworm", None)
}

#[tokio::test]
async fn what_rsync_says_is_told() {
    let (work, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (remote, words) in [
        (format!("{}/none/deeper", work.path().display()), "No such file or directory"),
        ("rsync://127.0.0.1:9/module".to_owned(), "Connection refused"),
    ] {
        let place = Rsync::open(&remote, copies.path()).unwrap();
        let Err(error) = place.lock().await else { panic!("{remote} is there") };
        assert!(matches!(error, PublishError::Rsync { .. }), "{error:?}");
        assert!(error.to_string().contains(&remote) && error.to_string().contains(words), "{error}");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_packhold"))
        .args(["publish", "--rollback", "--channel", "stable", "--unsigned", "--to"])
        .arg(format!("rsync:{}/none/deeper", work.path().display()))
        .env("HOME", work.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("Hint: rsync has to be on both machines"), "{said}");
}
