//! Repositories in buckets of S3-compatible storage.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;

use packhold::bucket::BucketSettings;
use packhold::publish::{Bucket, Place, PublishError, Repository};

use crate::apt::{apt_finds, channel, options, publication};
use crate::gate::Gate;
use crate::packages::{deb, rpm};
use crate::processes::{names, numbered, publishing};
use crate::server::{Server, s3, s3_variables, s3_with};
use crate::yum::dnf_finds;

/// Storage with a bucket `packages`, in which a repository is to be below `team/repository`.
struct Storage {
    folder: tempfile::TempDir,
    server: Server,
}

impl Storage {
    fn new() -> Self {
        Self::with(s3)
    }

    fn with(start: impl FnOnce(&Path) -> Server) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("packages")).unwrap();
        let server = start(folder.path());
        Self { folder, server }
    }

    /// The repository's files, as the storage keeps them.
    fn root(&self) -> PathBuf {
        self.folder.path().join("packages/team/repository")
    }
}

fn settings(address: &str) -> BucketSettings {
    let variables = s3_variables(address).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    BucketSettings { variables, authority: None }
}

fn bucket(address: &str, prefix: &str) -> Bucket {
    Bucket::open("packages", prefix, &settings(address)).unwrap()
}

#[test]
fn eight_processes_publish_into_a_bucket_at_once_and_nothing_is_lost() {
    let (work, storage) = (tempfile::tempdir().unwrap(), Storage::new());
    let gate = Gate::before(&storage.server.address);
    let packages = numbered(work.path(), 0..8);
    let start = |package: &PathBuf| -> Child {
        publishing("s3://packages/team/repository".as_ref(), std::slice::from_ref(package))
            .envs(s3_variables(&gate.address))
            .spawn()
            .unwrap()
    };
    let children: Vec<Child> = packages.iter().map(start).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(apt_finds(&storage.root(), "bookworm", None), names(0..8));
    let refused = |passed: &crate::gate::Passed| passed.path.ends_with("/Release") && passed.status == 412;
    assert!(gate.passed().iter().any(refused), "none came between another's reading and writing");
    let plain = fs::read_to_string(storage.root().join("dists/bookworm/main/binary-amd64/Packages")).unwrap();
    assert_eq!(plain.matches("Package: ").count(), 8);
}

#[tokio::test]
async fn what_is_there_is_not_sent_to_a_bucket_again_and_names_stay_as_they_are() {
    let (work, storage) = (tempfile::tempdir().unwrap(), Storage::new());
    let gate = Gate::before(&storage.server.address);
    let repository = || Repository::open(bucket(&gate.address, "team/repository"), options()).unwrap();
    let debs: Vec<PathBuf> = ["1.0~rc1+git1", "1.0"]
        .map(|version| deb(work.path(), "agent", version, "amd64", &["usr/bin/agent"], ""))
        .into();
    let publish = |n: usize| publication(&format!("run {n}"), "stable", "bookworm", &debs[..n]);
    repository().publish(&publish(1), None).await.unwrap();
    let first = gate.passed();
    let kind = |end: &str| {
        let of = |passed: &&crate::gate::Passed| passed.method == "PUT" && passed.path.ends_with(end);
        first.iter().find(of).unwrap_or_else(|| panic!("{end}: {first:?}")).content_type.clone()
    };
    assert_eq!(kind("_amd64.deb"), "application/vnd.debian.binary-package");
    assert_eq!(kind("/dists/bookworm/Release"), "text/plain; charset=utf-8");

    // Nothing is new: only the probe is tried, and refused.
    repository().publish(&publish(1), None).await.unwrap();
    let written = |passed: Vec<crate::gate::Passed>| -> Vec<String> {
        let wrote = |p: &crate::gate::Passed| {
            ["PUT", "POST", "DELETE"].contains(&p.method.as_str()) && p.status < 300
        };
        passed.into_iter().filter(wrote).map(|passed| passed.path).collect()
    };
    assert_eq!(written(gate.passed()), Vec::<String>::new());
    repository().publish(&publish(2), None).await.unwrap();
    let second = written(gate.passed());
    assert_eq!(second.iter().filter(|path| path.contains("/pool/")).count(), 1, "{second:?}");

    // apt asks for the names that the index has.
    let finds = apt_finds(&storage.root(), "bookworm", None);
    assert_eq!(finds.into_iter().collect::<Vec<_>>(), ["agent 1.0", "agent 1.0~rc1+git1"]);
    assert!(storage.root().join("pool/bookworm/main/a/agent/agent_1.0~rc1+git1_amd64.deb").is_file());
    repository().roll_back(&channel("stable"), None).await.unwrap();
    assert_eq!(apt_finds(&storage.root(), "bookworm", None).len(), 1);

    let tree = rpm(work.path(), "agent", "1", "x86_64", "");
    repository().publish(&publication("run 3", "stable", "rocky-9", &[tree]), None).await.unwrap();
    assert_eq!(dnf_finds(&storage.root().join("rpm/stable/rocky-9/x86_64")), ["agent 1-1"]);
    let everything = repository().offers(&channel("stable")).await.unwrap();
    assert_eq!(everything.len(), 2);
}

#[tokio::test]
async fn files_in_a_bucket_are_listed_copied_and_removed() {
    let storage = Storage::new();
    for prefix in ["", "team/repository"] {
        let place = bucket(&storage.server.address, prefix);
        for key in ["a/b/one", "a/c/two", "ab/three"] {
            place.put(key, key.as_bytes().to_vec()).await.unwrap();
        }
        place.copy("a/b/one", "a/one~1").await.unwrap();
        let mut listed: Vec<String> = place.list("a").await.unwrap().into_iter().map(|l| l.key).collect();
        listed.sort();
        assert_eq!(listed, ["a/b/one", "a/c/two", "a/one~1"], "{prefix}");
        assert_eq!(place.folders("a").await.unwrap(), ["b", "c"]);
        assert_eq!(place.folders("none").await.unwrap(), Vec::<String>::new());
        let found = place.get("a/one~1", 100).await.unwrap().unwrap();
        assert_eq!(found.bytes, b"a/b/one");
        assert!(matches!(place.get("a/one~1", 3).await, Err(PublishError::Foreign { .. })));
        assert!(!place.put_if_unchanged("a/one~1", b"new".to_vec(), None).await.unwrap());
        assert!(place.put_if_unchanged("a/one~1", b"new".to_vec(), Some(&found.stamp)).await.unwrap());
        assert!(!place.put_if_unchanged("a/one~1", b"newer".to_vec(), Some(&found.stamp)).await.unwrap());
        // An answer that was lost: what is there already is what was to be written.
        assert!(place.put_if_unchanged("a/one~1", b"new".to_vec(), Some(&found.stamp)).await.unwrap());
        for _ in 0..2 {
            place.delete("a/one~1").await.unwrap();
        }
        assert_eq!(place.size("a/one~1").await.unwrap(), None);
        assert_eq!(place.size("a/b/one").await.unwrap(), Some(7));
        assert!(place.put("../outside", Vec::new()).await.is_err());
        for key in ["a/b/one", "a/c/two", "ab/three"] {
            place.delete(key).await.unwrap();
        }
    }
}

#[tokio::test]
async fn large_files_reach_a_bucket_in_parts() {
    let (work, storage) = (tempfile::tempdir().unwrap(), Storage::new());
    let path = work.path().join("large");
    let content: Vec<u8> = (0..40_u32 << 18).flat_map(u32::to_le_bytes).collect();
    fs::write(&path, &content).unwrap();
    let place = bucket(&storage.server.address, "team/repository");
    place.put_file("pool/large.deb", &path).await.unwrap();
    assert!(fs::read(storage.root().join("pool/large.deb")).unwrap() == content);
}

#[tokio::test]
async fn storage_that_heeds_no_conditions_is_refused() {
    // A header that goes missing on the way would break a signature.
    let (work, storage) = (tempfile::tempdir().unwrap(), Storage::with(|folder| s3_with(folder, &[])));
    let gate = Gate::without_conditions(&storage.server.address);
    let mut settings = settings(&gate.address);
    settings.variables.push(("AWS_SKIP_SIGNATURE".to_owned(), "true".to_owned()));
    let package = deb(work.path(), "agent", "1", "amd64", &["usr/bin/agent"], "");
    let repository = Repository::open(Bucket::open("packages", "", &settings).unwrap(), options()).unwrap();
    let refused = repository.publish(&publication("run", "stable", "bookworm", &[package]), None).await;
    assert!(matches!(refused, Err(PublishError::Unconditional { .. })), "{refused:?}");
    assert!(!storage.folder.path().join("packages/dists").exists());
}

#[test]
fn the_command_line_reaches_a_bucket_and_says_why_it_may_not() {
    let (work, storage) = (tempfile::tempdir().unwrap(), Storage::new());
    let gate = Gate::before(&storage.server.address);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let place: Arc<dyn Place> = Arc::new(bucket(&gate.address, "team/repository"));
    let repository = Repository::open(place, options()).unwrap();
    for n in 1..=2 {
        let package = deb(work.path(), "agent", &n.to_string(), "amd64", &["usr/bin/agent"], "");
        let publication = publication(&format!("run {n}"), "stable", "bookworm", &[package]);
        runtime.block_on(repository.publish(&publication, None)).unwrap();
    }
    let packhold = |to: &str, word: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_packhold"))
            .args(["publish", "--rollback", "--channel", "stable", "--unsigned", "--to", to])
            .env("HOME", work.path())
            .envs(s3_variables(&gate.address))
            .env("AWS_SECRET_ACCESS_KEY", word)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (said, output.status.code())
    };
    let (said, status) = packhold("s3://packages/team/repository/", "word");
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("dists/bookworm is what it was before"), "{said}");
    assert_eq!(apt_finds(&storage.root(), "bookworm", None).into_iter().collect::<Vec<_>>(), ["agent 1"]);

    let (said, status) = packhold("s3://packages/team/repository", "other");
    assert_eq!(status, Some(3), "{said}");
    assert!(said.contains("s3://packages/team/repository refuses access"), "{said}");
    assert!(said.contains("Hint: set AWS_ACCESS_KEY_ID") && !said.contains("other\n"), "{said}");
    let (said, status) = packhold("ftp://packages/x", "word");
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("Hint: write a folder, s3://BUCKET/PREFIX"), "{said}");
}
