use std::collections::BTreeSet;
use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use packhold::bucket::BucketSettings;
use packhold::publish::{Access, Folder, Location, Place, Repository};

use crate::apt::{apt_finds, options, publication};
use crate::packages::deb;
use crate::wrapped::Wrapped;

/// No test: what the other tests start as a process of its own.
#[test]
#[ignore = "it is a part of other tests"]
fn publisher() {
    let Some(root) = env::var_os("PACKHOLD_TEST_ROOT") else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let access = Access {
        bucket: BucketSettings { variables: env::vars().collect(), authority: None },
        copies: env::var_os("PACKHOLD_TEST_COPIES").unwrap_or_default().into(),
    };
    for package in env::var("PACKHOLD_TEST_PACKAGES").unwrap().split('\n') {
        let publication = publication("run", "stable", "bookworm", &[PathBuf::from(package)]);
        let place: Arc<dyn Place> = match env::var_os("PACKHOLD_TEST_UNLOCKED") {
            Some(_) => Arc::new(Wrapped::unlocked(Folder::open(&root).unwrap())),
            None => Location::of(&root).unwrap().open(&access).unwrap(),
        };
        let published = Repository::open(place, options()).unwrap();
        runtime.block_on(published.publish(&publication, None)).unwrap();
    }
}

/// A process that publishes one package after the other to a place.
pub fn publishing(place: &OsStr, packages: &[PathBuf]) -> Command {
    let names: Vec<String> = packages.iter().map(|path| path.display().to_string()).collect();
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "processes::publisher", "--ignored"]);
    command.env("PACKHOLD_TEST_ROOT", place).env("PACKHOLD_TEST_PACKAGES", names.join("\n"));
    command.stdout(Stdio::null()).stderr(Stdio::inherit());
    command
}

fn start(root: &Path, packages: &[PathBuf], unlocked: bool) -> Child {
    let mut command = publishing(root.as_os_str(), packages);
    if unlocked {
        command.env("PACKHOLD_TEST_UNLOCKED", "1");
    }
    command.spawn().unwrap()
}

pub fn numbered(work: &Path, numbers: std::ops::Range<u32>) -> Vec<PathBuf> {
    let one = |n: u32| {
        deb(work, &format!("p{n:02}"), "1", "amd64", &[&format!("usr/bin/p{n}"), "usr/share/common"], "")
    };
    numbers.map(one).collect()
}

pub fn names(numbers: std::ops::Range<u32>) -> BTreeSet<String> {
    numbers.map(|n| format!("p{n:02} 1")).collect()
}

#[test]
fn eight_processes_publish_at_once_and_nothing_is_lost() {
    for unlocked in [false, true] {
        let (work, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let packages = numbered(work.path(), 0..8);
        let children: Vec<Child> = packages
            .iter()
            .map(|package| start(root.path(), std::slice::from_ref(package), unlocked))
            .collect();
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
        assert_eq!(apt_finds(root.path(), "bookworm", None), names(0..8), "unlocked: {unlocked}");
        // The file under its plain name is that of the last state, too.
        let plain =
            std::fs::read_to_string(root.path().join("dists/bookworm/main/binary-amd64/Packages")).unwrap();
        assert_eq!(plain.matches("Package: ").count(), 8);
        let contents = Command::new("zcat")
            .arg(root.path().join("dists/bookworm/main/Contents-amd64.gz"))
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&contents.stdout).lines().count(), 9);
    }
}

#[test]
fn a_publisher_that_is_killed_leaves_what_clients_read_and_others_carry_on() {
    let (work, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let packages = numbered(work.path(), 0..12);
    let began = Instant::now();
    assert!(start(root.path(), &packages[..2], false).wait().unwrap().success());
    let took = began.elapsed();
    let (mut finds, mut killed) = (names(0..2), 0);
    for round in 0..10 {
        let mut child = start(root.path(), &packages[2..], false);
        let pause = took.mul_f64(fastrand::f64() * 2.0) + Duration::from_millis(round);
        std::thread::sleep(pause);
        child.kill().unwrap();
        killed += u32::from(!child.wait().unwrap().success());
        let now = apt_finds(root.path(), "bookworm", None);
        assert!(now.is_superset(&finds), "killed after {pause:?}: {now:?} and not {finds:?}");
        finds = now;
    }
    assert!(killed > 0);
    assert!(start(root.path(), &packages, false).wait().unwrap().success());
    assert_eq!(apt_finds(root.path(), "bookworm", None), names(0..12));
    let left = std::fs::read_dir(root.path().join(".packhold/incoming")).unwrap().count();
    assert_eq!(left, 0, "files that killed publishers were writing are removed");
}
