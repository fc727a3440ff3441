//! The store of the embedded engine beside what it must agree with: Docker, overlayfs, a registry.

#[path = "common/busybox.rs"]
mod busybox;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Read};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use packhold::engine::embedded::store::{Lease, Registries, Store};
use packhold::engine::{CommitSpec, EngineError, ImageId, Progress};
use packhold::model::Digest;
use packhold::remote::Credentials;
use tokio::io::AsyncReadExt;

/// What changes a root file system in all ways that an overlay has to tell: a folder in the place of one with other content, a deleted
/// file and folder, a file in the place of a link and of a folder, links, owners and modes.
const CHANGE: &str = "set -e
    mkdir -p /a/b/c /gone/deep /was-folder /stays && echo one > /a/one && echo x > /gone/deep/file && ln -s one /link";
const CHANGE_AGAIN: &str = "set -e
    rm -rf /gone && rm /a/one && rm -rf /a/b && mkdir /a/b && echo new > /a/b/new
    rm /link && echo file > /link && rmdir /was-folder && ln -s /nowhere /was-folder
    echo linked > /stays/x && ln /stays/x /stays/y && chmod 4711 /stays/x && chown 12:34 /stays && mkfifo /stays/pipe
    touch \"/stays/$(printf 'n%.0s' $(seq 1 150))\" && rm /bin/false";

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect("`.ci/setup.sh test` installs it");
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Removes what a test leaves in Docker.
struct Removed(Vec<[String; 3]>);

impl Drop for Removed {
    fn drop(&mut self) {
        for arguments in self.0.iter().rev() {
            let _ = Command::new("docker").args(arguments).output();
        }
    }
}

impl Removed {
    fn container(&mut self, id: &str) {
        self.0.push(["rm", "--force", id].map(str::to_owned));
    }

    fn image(&mut self, id: &str) {
        self.0.push(["rmi", "--force", id].map(str::to_owned));
    }
}

/// Layers by their digests, and the digest of the configuration, of a `docker save` archive.
fn parts_of(archive: &Path) -> (Vec<Digest>, Digest) {
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(fs::File::open(archive).expect("an archive")).entries().expect("a tar") {
        let mut entry = entry.expect("an entry");
        let path = entry.path().expect("a name").display().to_string();
        if let Ok(Some(link)) = entry.link_name() {
            let target = link.display().to_string();
            files.insert(path, format!("-> {}", target.trim_start_matches("../")).into_bytes());
            continue;
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("its content");
        files.insert(path, bytes);
    }
    let manifest: serde_json::Value = serde_json::from_slice(&files["manifest.json"]).expect("a manifest");
    let content = |name: &serde_json::Value| {
        let bytes = &files[name.as_str().expect("a name")];
        match std::str::from_utf8(bytes).ok().and_then(|text| text.strip_prefix("-> ")) {
            Some(target) => Digest::of(&files[target]),
            None => Digest::of(bytes),
        }
    };
    let layers = manifest[0]["Layers"].as_array().expect("layers").iter().map(content).collect();
    (layers, content(&manifest[0]["Config"]))
}

async fn load(store: &Store, archive: &Path, tag: &str) -> ImageId {
    let file = tokio::fs::File::open(archive).await.expect("an archive");
    store.load(Box::pin(file), tag).await.expect("the image loads").id
}

async fn save(store: &Store, id: &ImageId, to: &Path) {
    let mut bytes = Vec::new();
    let mut stream = store.save(id).await.expect("the image is there");
    stream.read_to_end(&mut bytes).await.expect("the image is whole");
    fs::write(to, bytes).expect("a temporary file");
}

/// Paths of a tar with what the root file system of a container tells of them, but for what engines put there themselves.
fn listing(tar: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in tar::Archive::new(tar).entries().expect("a tar") {
        let mut entry = entry.expect("an entry");
        let path = entry.path().expect("a name").display().to_string();
        let path = path.trim_start_matches("./").trim_end_matches('/').to_owned();
        let first = path.split('/').next().unwrap_or_default();
        if ["", "dev", "proc", "sys", "etc", ".dockerenv"].contains(&first) {
            continue;
        }
        let header = entry.header().clone();
        let link = entry.link_name().expect("a link").map(|link| link.display().to_string());
        let mut content = String::new();
        if header.entry_type().is_file() && header.size().expect("a size") < 1000 {
            entry.read_to_string(&mut content).expect("its content");
        }
        // A hard link may be told from either side.
        let hard =
            header.entry_type().is_hard_link() || path.starts_with("stays/x") || path.starts_with("stays/y");
        found.push(match hard {
            true => path,
            false => format!(
                "{path} {:?} {:o} {}:{} {link:?} {content:?}",
                header.entry_type(),
                header.mode().expect("a mode") & 0o7777,
                header.uid().expect("an owner"),
                header.gid().expect("a group"),
            ),
        });
    }
    found.sort();
    found
}

/// An overlay that is mounted while this lives.
struct Overlay(PathBuf);

impl Overlay {
    fn mount(lease: &Lease, at: &Path, upper: &Path) -> Self {
        let (merged, work) = (at.join("merged"), at.join("work"));
        for dir in [&merged, &work, upper] {
            fs::create_dir_all(dir).expect("a temporary folder");
        }
        let lower: Vec<_> = lease.lower.iter().rev().map(|path| path.display().to_string()).collect();
        let options = format!(
            "lowerdir={},upperdir={},workdir={},redirect_dir=off,metacopy=off",
            lower.join(":"),
            upper.display(),
            work.display()
        );
        run("mount", &["-t", "overlay", "overlay", "-o", &options, &merged.display().to_string()]);
        Self(merged)
    }

    fn sh(&self, script: &str) {
        run("chroot", &[&self.0.display().to_string(), "/bin/sh", "-c", script]);
    }

    fn listing(&self) -> Vec<String> {
        let tar = Command::new("tar").arg("-C").arg(&self.0).args(["-c", "."]).output().expect("tar");
        listing(&tar.stdout)
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).output();
    }
}

#[tokio::test]
async fn docker_and_the_store_see_the_same_files_and_give_each_other_the_same_images() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| dir.path().join(name);
    let text = |name: &str| path(name).display().to_string();
    let mut removed = Removed(Vec::new());
    fs::write(path("busybox.tar"), busybox::busybox_image()).expect("a temporary file");
    run("docker", &["load", "--quiet", "--input", &text("busybox.tar")]);
    let store = Store::open(&path("store")).expect("a store");
    let base = load(&store, &path("busybox.tar"), "busybox:test").await;

    // What Docker makes, overlayfs shows of our trees.
    let mut image = base.to_string();
    for script in [CHANGE, CHANGE_AGAIN] {
        let container = run("docker", &["create", "--network=none", &image, "/bin/sh", "-c", script]);
        removed.container(&container);
        run("docker", &["start", "--attach", &container]);
        image = run("docker", &["commit", &container]);
        removed.image(&image);
    }
    run("docker", &["save", "--output", &text("docker.tar"), &image]);
    let loaded = load(&store, &path("docker.tar"), "docker:test").await;
    assert_eq!(loaded.to_string(), image);
    let export = |image: &str, removed: &mut Removed| {
        let container = run("docker", &["create", image, "/bin/sh"]);
        removed.container(&container);
        listing(&Command::new("docker").args(["export", &container]).output().expect("docker").stdout)
    };
    let wanted = export(&image, &mut removed);
    assert!(wanted.iter().any(|line| line.starts_with("a/b/new")), "{wanted:?}");
    let lease = store.lease(&loaded, dir.path()).expect("the image is there");
    assert_eq!(Overlay::mount(&lease, &path("seen"), &path("seen/upper")).listing(), wanted);
    save(&store, &loaded, &path("ours.tar")).await;
    assert_eq!(parts_of(&path("ours.tar")), parts_of(&path("docker.tar")));

    // What overlayfs keeps of the same changes, Docker shows of our layers.
    let mut image = base;
    for (at, script) in [CHANGE, CHANGE_AGAIN].into_iter().enumerate() {
        let lease = store.lease(&image, dir.path()).expect("the image is there");
        let (place, upper) = (path(&format!("made-{at}")), path(&format!("upper-{at}")));
        Overlay::mount(&lease, &place, &upper).sh(script);
        let spec = CommitSpec { tag: format!("made:{at}"), labels: BTreeMap::new(), comment: String::new() };
        image = store.commit(&lease, &upper, &spec).await.expect("the change is taken").id;
    }
    save(&store, &image, &path("made.tar")).await;
    run("docker", &["load", "--quiet", "--input", &text("made.tar")]);
    removed.image(&image.to_string());
    assert_eq!(export(&image.to_string(), &mut removed), wanted);
    run("docker", &["save", "--output", &text("again.tar"), &image.to_string()]);
    assert_eq!(parts_of(&path("again.tar")), parts_of(&path("made.tar")));
}

struct Server {
    process: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Debian's docker-registry on loopback, which wants a login: `ci` with the password `correct horse`.
fn registry(dir: &Path) -> Server {
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("a port").port();
    let address = format!("127.0.0.1:{port}");
    fs::write(dir.join("users"), "ci:$2b$04$vNG/b2lJCjy2FPxc5HNOoOAwR4Y2g4HOAUYFk9GN9fSxb3poJzN7a\n")
        .expect("a temporary file");
    let config = format!(
        "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
         storage: {{filesystem: {{rootdirectory: {0}/registry}}}}\n\
         auth: {{htpasswd: {{realm: test, path: {0}/users}}}}\nhttp: {{addr: \"{address}\"}}\n",
        dir.display()
    );
    fs::write(dir.join("config.yml"), config).expect("a temporary file");
    let process = Command::new("docker-registry")
        .arg("serve")
        .arg(dir.join("config.yml"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("`.ci/setup.sh test` installs it");
    let server = Server { process, address };
    let start = Instant::now();
    while TcpStream::connect(&server.address).is_err() {
        assert!(start.elapsed() < Duration::from_secs(30), "it does not start");
        std::thread::sleep(Duration::from_millis(50));
    }
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_comes_from_a_registry_with_a_login_and_keeps_its_identity() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| dir.path().join(name);
    let server = registry(dir.path());
    let store = Store::open(&path("store")).expect("a store");
    let archive = Box::pin(Cursor::new(busybox::busybox_image()));
    let image = store.load(archive, "busybox:test").await.expect("the image loads");
    save(&store, &image.id, &path("image.tar")).await;
    run(
        "skopeo",
        &[
            "copy",
            "--quiet",
            "--insecure-policy",
            "--dest-tls-verify=false",
            "--dest-creds=ci:correct horse",
            &format!("docker-archive:{}", path("image.tar").display()),
            &format!("docker://{}/team/busybox:1", server.address),
        ],
    );
    let with = |password: &'static str| Registries {
        credentials: Arc::new(move |_| {
            Ok(Credentials::Basic { user: "ci".to_owned(), password: password.to_owned() })
        }),
        ..Registries::default()
    };
    let fresh = Store::open(&path("fresh")).expect("a store");
    let name = format!("{}/team/busybox:1", server.address);
    for store in [fresh.clone(), fresh.clone().with_registries(with("wrong"))] {
        match store.pull(&name, None, "pulled:1", Progress::default()).await {
            Err(EngineError::Pull { message, .. }) => {
                assert!(message.contains("refuses access") && !message.contains("wrong"), "{message}");
            }
            other => panic!("{other:?}"),
        }
    }
    let fresh = fresh.with_registries(with("correct horse"));
    let pulled = fresh.pull(&name, None, "pulled:1", Progress::default()).await.expect("the image is there");
    assert_eq!((pulled.id, &pulled.layers), (image.id, &image.layers));
    save(&fresh, &pulled.id, &path("pulled.tar")).await;
    assert_eq!(parts_of(&path("pulled.tar")), parts_of(&path("image.tar")));
    let digest = run(
        "skopeo",
        &[
            "inspect",
            "--tls-verify=false",
            "--creds=ci:correct horse",
            "--format={{.Digest}}",
            &format!("docker://{name}"),
        ],
    );
    assert_eq!(pulled.repo_digests, [format!("{}/team/busybox@{digest}", server.address)]);
}
