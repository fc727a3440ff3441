//! Clients that read over HTTP while others publish.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::future::BoxFuture;
use packhold::publish::{Folder, Options, Repository};
use packhold::serve::Server;

use crate::apt::{channel, options, publication};
use crate::clients::{Apt, Dnf};
use crate::packages::{deb, rpm};
use crate::signer::Key;
use crate::wrapped::Wrapped;

/// How often something is published for apt, and as often for dnf.
const PUBLICATIONS: u32 = 50;

/// How long each file takes to be written, so that clients come between any two.
const PAUSE: Duration = Duration::from_millis(3);

/// A client that does the same again and again.
struct Reader {
    thread: JoinHandle<Vec<String>>,
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicUsize>,
}

impl Reader {
    fn start(commands: impl Fn() -> Vec<Command> + Send + 'static) -> Self {
        let (stop, rounds) = <(Arc<AtomicBool>, Arc<AtomicUsize>)>::default();
        let (stopped, done) = (stop.clone(), rounds.clone());
        let thread = std::thread::spawn(move || {
            let mut said = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                for mut command in commands() {
                    let output = command.stdin(Stdio::null()).output().unwrap();
                    if !output.status.success() {
                        let text = [output.stdout, output.stderr].concat();
                        said.push(String::from_utf8_lossy(&text).into_owned());
                        break;
                    }
                }
                done.fetch_add(1, Ordering::Relaxed);
            }
            said
        });
        Self { thread, stop, rounds }
    }

    /// apt of a machine that updates its lists and fetches the package.
    fn apt(url: &str, keyring: &Path) -> Self {
        let client = Apt::new(url, "bookworm", Some(keyring));
        Self::start(move || {
            let (mut update, mut download) = (client.command("apt-get"), client.command("apt-get"));
            update.arg("update");
            download.args(["download", "agent"]);
            vec![update, download]
        })
    }

    /// dnf of a machine that reads the tree anew and fetches the package.
    fn dnf(url: &str) -> Self {
        let client = Dnf::new(&format!("{url}rpm/stable/rocky-9/x86_64"));
        Self::start(move || {
            let mut install = client.command();
            install.args(["--refresh", "--assumeyes", "--nogpgcheck", "install", "--downloadonly", "agent"]);
            vec![install]
        })
    }

    /// Waits until it has read once from beginning to end.
    fn has_read(&self) -> BoxFuture<'static, ()> {
        let rounds = self.rounds.clone();
        Box::pin(async move {
            let seen = rounds.load(Ordering::Relaxed);
            // One that is under way has begun before.
            while rounds.load(Ordering::Relaxed) < seen + 2 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
    }

    /// How often it has read, and what it said where it failed.
    fn end(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let said = self.thread.join().unwrap();
        (self.rounds.load(Ordering::Relaxed), said)
    }
}

/// A repository with a suite and one with a tree, both over HTTP.
struct Site {
    work: tempfile::TempDir,
    debs: tempfile::TempDir,
    rpms: tempfile::TempDir,
    key: Key,
    servers: [Server; 2],
}

impl Site {
    async fn new() -> Self {
        let [work, debs, rpms] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
        let serve = |root: &Path| {
            let root = root.to_owned();
            async move { Server::start(&root, Ipv4Addr::LOCALHOST.into()).await.unwrap() }
        };
        let servers = [serve(debs.path()).await, serve(rpms.path()).await];
        Self { work, debs, rpms, key: Key::new(), servers }
    }

    fn options() -> Options {
        Options { keep: Some(3), ..options() }
    }

    async fn publish_deb(&self, place: Wrapped<Folder>, version: u32) {
        let (work, version) = (self.work.path().to_owned(), format!("1.{version}"));
        let make = move || deb(&work, "agent", &version, "amd64", &["usr/bin/agent"], "");
        let package = tokio::task::spawn_blocking(make).await.unwrap();
        let publication = publication("run", "stable", "bookworm", &[package]);
        let repository = Repository::open(place, Self::options()).unwrap();
        repository.publish(&publication, self.key.signer()).await.unwrap();
    }

    /// An rpm takes long to make: the second version comes and goes.
    async fn publish_rpm(&self, place: Wrapped<Folder>, packages: &[PathBuf; 2], number: u32) {
        let repository = Repository::open(place, Self::options()).unwrap();
        if number > 1 && number % 2 == 1 {
            repository.roll_back(&channel("stable"), None).await.unwrap();
        } else {
            let package = &packages[usize::from(number > 1)];
            let publication = publication("run", "stable", "rocky-9", std::slice::from_ref(package));
            repository.publish(&publication, None).await.unwrap();
        }
    }

    fn rpms(&self) -> [PathBuf; 2] {
        ["1", "2"].map(|version| rpm(self.work.path(), "agent", version, "x86_64", ""))
    }
}

fn folder(root: &tempfile::TempDir) -> Folder {
    Folder::open(root.path()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn apt_and_dnf_read_a_whole_state_at_any_time_of_a_hundred_publications() {
    let site = Site::new().await;
    let rpms = site.rpms();
    let slow = |root| Wrapped::slow(folder(root), PAUSE);
    site.publish_deb(slow(&site.debs), 0).await;
    site.publish_rpm(slow(&site.rpms), &rpms, 1).await;
    let (apt, dnf) =
        (Reader::apt(&site.servers[0].url(), &site.key.keyring()), Reader::dnf(&site.servers[1].url()));
    let debs = async {
        for number in 1..=PUBLICATIONS {
            site.publish_deb(slow(&site.debs), number).await;
        }
    };
    let trees = async {
        for number in 2..=PUBLICATIONS + 1 {
            site.publish_rpm(slow(&site.rpms), &rpms, number).await;
        }
    };
    tokio::join!(debs, trees);
    for (name, reader) in [("apt", apt), ("dnf", dnf)] {
        let (rounds, failures) = reader.end();
        assert!(failures.is_empty(), "{name} failed {} times of {rounds}: {}", failures.len(), failures[0]);
        assert!(rounds >= 3, "{name} has read {rounds} times");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn apt_and_dnf_show_it_if_an_anchor_comes_before_what_it_names() {
    let site = Site::new().await;
    let rpms = site.rpms();
    site.publish_deb(Wrapped::slow(folder(&site.debs), PAUSE), 0).await;
    site.publish_rpm(Wrapped::slow(folder(&site.rpms), PAUSE), &rpms, 1).await;
    let apt = Reader::apt(&site.servers[0].url(), &site.key.keyring());
    let dnf = Reader::dnf(&site.servers[1].url());
    tokio::join!(apt.has_read(), dnf.has_read());
    // HTTP counts seconds: what is written within one is no newer.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let debs = site.publish_deb(Wrapped::backwards(folder(&site.debs), apt.has_read()), 1);
    let trees = site.publish_rpm(Wrapped::backwards(folder(&site.rpms), dnf.has_read()), &rpms, 2);
    tokio::join!(debs, trees);
    for (name, reader) in [("apt", apt), ("dnf", dnf)] {
        let (rounds, failures) = reader.end();
        assert!(!failures.is_empty(), "{name} has read {rounds} times");
    }
}
