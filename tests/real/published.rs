//! Releases, from a tag to a signed repository that apt, dnf and zypper install from, and what these refuse.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use jiff::SignedDuration;
use packhold::engine::Engine;
use packhold::engine::docker::Docker;
use packhold::publish::{Addition, Channel, Folder, Options, Publication, Repository};
use packhold::serve::Server;
use packhold::sign::{KeySource, Keys};
use serde_json::Value;

use crate::common::{Workplace, git, succeed};
use crate::whole::demo_repository;

/// A key without a passphrase: secret and public part in files.
fn key(place: &Path, name: &str) -> (PathBuf, PathBuf) {
    let home = place.join(format!("{name}.gnupg"));
    fs::create_dir(&home).unwrap();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
    let gpg = |arguments: &[&str]| {
        let mut command = Command::new("gpg");
        command.arg("--homedir").arg(&home).args(["--batch", "--no-tty", "--quiet"]).args(arguments);
        succeed("gpg", command.output().unwrap())
    };
    let user = format!("{name} <{name}@example.org>");
    gpg(&["--passphrase", "", "--quick-gen-key", &user, "ed25519", "sign", "never"]);
    let (secret, public) = (place.join(format!("{name}.secret")), place.join(format!("{name}.asc")));
    fs::write(&secret, gpg(&["--armor", "--export-secret-keys"])).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&public, gpg(&["--armor", "--export"])).unwrap();
    let _ = Command::new("gpgconf").arg("--homedir").arg(&home).args(["--kill", "all"]).status();
    (secret, public)
}

/// A command that signs, as the README has it.
const SIGN: &str = r#"case $PACKHOLD_SIGN_KIND in text) set -- --textmode ;; binary) set -- ;; esac
exec gpg --batch --armor --digest-algo SHA512 --local-user "$PACKHOLD_SIGN_FINGERPRINT" "$@" \
    ${SOURCE_DATE_EPOCH:+--faked-system-time "$SOURCE_DATE_EPOCH!"} --detach-sign
"#;

/// Every file of a folder with its bytes.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => _ = found.insert(path.clone(), fs::read(&path).unwrap()),
            }
        }
    }
    found
}

/// Fails if a file has changed, came or went.
fn assert_same(folder: &Path, before: &BTreeMap<PathBuf, Vec<u8>>, what: &str) {
    let after = files(folder);
    let all = before.keys().chain(after.keys());
    let changed: Vec<&PathBuf> = all.filter(|path| before.get(*path) != after.get(*path)).collect();
    assert!(changed.is_empty(), "{what} changed {changed:?}");
}

/// The file that a test changes.
fn only<'a>(files: impl Iterator<Item = &'a PathBuf>, end: &str) -> PathBuf {
    let found: Vec<&PathBuf> = files.filter(|path| path.to_str().unwrap().ends_with(end)).collect();
    let [one] = found[..] else { panic!("{end}: {found:?}") };
    one.clone()
}

/// The changelogs of the packages of the second release have an entry of the commits since the first, before what people wrote.
fn tells_what_is_new(published: &BTreeMap<PathBuf, Vec<u8>>) {
    let shell = |text: &str, file: &Path| {
        succeed(text, Command::new("sh").args(["-euc", text, "sh"]).arg(file).output().unwrap())
    };
    let deb = only(published.keys(), "/hostpulse_1.1.0-1_amd64.deb");
    let text = "dpkg-deb --fsys-tarfile \"$1\" | tar -xO ./usr/share/doc/hostpulse/changelog.Debian.gz | gunzip | \
                dpkg-parsechangelog -l - --all --format dpkg";
    let told = shell(text, &deb);
    assert!(told.contains("Version: 1.1.0-1\n") && told.contains("Timestamp: 1743508800\n"), "{told}");
    assert!(told.contains("Maintainer: Packhold Demo <demo@packhold.invalid>\n"), "{told}");
    let entries = " hostpulse (1.1.0-1) unstable; urgency=medium\n .\n   * Report swap space\n .\n";
    assert!(told.contains(entries) && told.contains(" hostpulse (0.9.0-1) unstable"), "{told}");
    let rpm = only(published.keys(), "/hostpulse-1.1.0-1.deb12.x86_64.rpm");
    let told = shell("rpm -qp --nosignature --changelog \"$1\"", &rpm);
    assert_eq!(
        told.trim_end(),
        "* Tue Apr 01 2025 Packhold Demo <demo@packhold.invalid> - 1.1.0-1\n- Report swap space\n\n\
         * Sat Mar 01 2025 Packhold Demo <demo@packhold.invalid> - 0.9.0-1\n- Initial release"
    );
}

/// A fresh machine of a user, in which the builder's scripts add a repository and install from it.
struct User {
    image: String,
    scripts: tempfile::TempDir,
    host: IpAddr,
}

impl User {
    async fn new(image: &str, builders: &[&str]) -> Self {
        let scripts = tempfile::tempdir().unwrap();
        for builder in builders {
            for entry in fs::read_dir(Path::new("builders").join(builder)).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    fs::copy(&path, scripts.path().join(path.file_name().unwrap())).unwrap();
                }
            }
        }
        let engine = Docker::connect(None).await.unwrap().info().await.unwrap();
        Self { image: image.to_owned(), scripts, host: engine.host.unwrap() }
    }

    /// Runs shell text beside the scripts, with the repository at `folder` and the key in `public`.
    async fn run(&self, folder: &Path, public: &Path, description: &str, text: &str) -> Output {
        let server = Server::start(folder, self.host).await.unwrap();
        let published = self.scripts.path().join("published");
        fs::create_dir_all(&published).unwrap();
        fs::copy(public, published.join("keys.asc")).unwrap();
        fs::write(published.join("repository"), description.replace("URL/", &server.url())).unwrap();
        let mount = format!("{}:/packhold:ro", self.scripts.path().display());
        let (image, text) = (self.image.clone(), text.to_owned());
        let run = move || {
            Command::new("docker")
                .args(["run", "--rm", "--volume", &mount, &image, "sh", "-euc", &text])
                .output()
        };
        tokio::task::spawn_blocking(run).await.unwrap().unwrap()
    }

    async fn refuses(&self, folder: &Path, public: &Path, description: &str, package: &str, words: &[&str]) {
        let text = format!(
            "sh -eu /packhold/published.sh subscribe; sh -eu /packhold/published.sh install {package}; echo INSTALLED"
        );
        let output = self.run(folder, public, description, &text).await;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(!output.status.success() && !said.contains("INSTALLED"), "{said}");
        assert!(words.iter().any(|words| said.contains(words)), "{words:?}: {said}");
    }
}

const SOURCES: &str = "Types: deb\nURIs: URL/\nSuites: bookworm\nComponents: main\n\
                       Signed-By: /etc/apt/keyrings/packhold-published.asc\n";

fn repo(key: &str) -> String {
    format!(
        "[packhold-published]\nname=test\nbaseurl=URL/rpm/stable/debian-rpm/x86_64\nenabled=1\ngpgcheck=1\nrepo_gpgcheck=1\n\
         gpgkey=URL/install/{key}.asc\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_installed_and_upgraded_from_its_repository_and_what_is_not_signed_well_is_refused() {
    let place = Workplace::without_repository();
    demo_repository(&place.path("demo"));
    let (source, to) = (place.path("demo").display().to_string(), place.path("packages"));
    let (secret, public) = key(&place.path("."), "release");
    // What is verified is no matter here.
    let text = fs::read_to_string("pipelines/demo.toml").unwrap();
    let text = text.split("\n[verify").next().unwrap().split("\n[[verify").next().unwrap();
    let skip = "\n[verify]\nskip = [\"smoke\", \"reinstall\", \"remove\", \"purge\", \"service\", \"upgrade\", \"no-docs\", \"lint\"]\n";
    let pipeline = place.path("demo.toml");
    fs::write(&pipeline, format!("{text}{skip}[archive]\nimages = false\n")).unwrap();
    let release = |tag: &str, more: &[&str]| {
        let mut command = place.command(&["release", tag, pipeline.to_str().unwrap(), "--source", &source]);
        command.args(["--to", to.to_str().unwrap(), "--key", secret.to_str().unwrap(), "--format", "json"]);
        command.args(more).output().unwrap()
    };
    let told = |output: Output| -> Value {
        let text = succeed("release", output);
        serde_json::from_str(text.lines().last().unwrap()).unwrap()
    };
    let first = told(release("v1.0.0", &[]));
    // The same key, now behind a command.
    let release_by_command = |tag: &str| {
        let sign = place.path("sign");
        let text =
            format!("#!/bin/sh -eu\nexport GNUPGHOME={}\n{SIGN}", place.path("release.gnupg").display());
        fs::write(&sign, text).unwrap();
        fs::set_permissions(&sign, fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = place.command(&["release", tag, pipeline.to_str().unwrap(), "--source", &source]);
        command.args(["--to", to.to_str().unwrap(), "--format", "json"]);
        command.arg("--sign-command").arg(&sign).arg("--sign-certificate").arg(&public).output().unwrap()
    };
    assert_eq!(first["added"].as_array().unwrap().len(), 2, "{first:#}");
    let second = told(release_by_command("v1.1.0"));
    let titles: Vec<&str> = second["checked"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|target| target["stages"][0]["steps"].as_array().unwrap())
        .map(|step| step["title"].as_str().unwrap())
        .collect();
    let upgrades = titles.iter().filter(|title| **title == "upgrade from the repository").count();
    assert_eq!(upgrades, 2, "{titles:?}");
    for target in second["checked"].as_array().unwrap() {
        assert_eq!(target["outcome"]["state"], "passed", "{target:#}");
    }

    let published = files(&to);
    tells_what_is_new(&published);

    // Again, nothing is built and nothing changes.
    let again = told(release("v1.1.0", &["--no-check"]));
    assert_eq!(again["run"], second["run"]);
    assert_eq!(again["added"].as_array().unwrap().len(), 0, "{again:#}");
    assert_same(&to, &published, "publishing again");
    let older = told(release("v1.0.0", &["--no-check"]));
    assert_eq!(older["run"], first["run"]);
    assert_same(&to, &published, "publishing an older release again");
    // What is older and new is no upgrade.
    git(&place.path("demo"), &["tag", "v1.0.1", "v1.0.0"]);
    let refused = release("v1.0.1", &[]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("is no upgrade") && said.contains("--allow-downgrade hostpulse"), "{said}");
    // A tag is on one commit.
    let refused = release("v1.0.1", &["--commit", "v1.1.0"]);
    assert_eq!(refused.status.code(), Some(2));
    assert_same(&to, &published, "a refused release");

    // No part of a key is in the archive.
    let secret_text = fs::read_to_string(&secret).unwrap();
    let line = secret_text.lines().find(|line| line.len() == 64).unwrap();
    assert!(
        files(&place.archive).values().all(|bytes| !bytes.windows(64).any(|part| part == line.as_bytes()))
    );

    let fingerprint = only(published.keys().filter(|path| path.starts_with(to.join("install"))), ".asc");
    let fingerprint = fingerprint.file_stem().unwrap().to_str().unwrap().to_owned();
    let record =
        place.command(&["archive", "show", again["run"].as_str().unwrap(), "--format", "json"]).output();
    let record: Value = serde_json::from_str(&succeed("show", record.unwrap())).unwrap();
    let images = record["record"]["images"].as_array().or(record["images"].as_array()).unwrap();
    let base = |builder: &str| {
        let mut base = images.iter().filter(|image| image["role"] == "base" && image["builder"] == builder);
        base.next_back().unwrap()["id"].as_str().unwrap().to_owned()
    };
    let deb = User::new(&base("debian-12"), &["common", "deb", "debian-12"]).await;
    let rpm = User::new(&base("debian-rpm"), &["common", "rpm", "debian-rpm"]).await;
    let (deb_package, rpm_package) = ("hostpulse=1.1.0-1", "hostpulse=1.1.0-1.deb12");

    // Another key than the one that users know.
    let (_, stranger) = key(&place.path("."), "stranger");
    deb.refuses(&to, &stranger, SOURCES, deb_package, &["NO_PUBKEY"]).await;
    let other = place.path("other-key");
    copy(&to, &other);
    fs::copy(&stranger, other.join(format!("install/{fingerprint}.asc"))).unwrap();
    let words = ["repomd.xml GPG signature verification error", "Bad GPG signature"];
    rpm.refuses(&other, &public, &repo(&fingerprint), rpm_package, &words).await;

    // A package that was changed on its way, and an index.
    for (name, users, package, description, end, words) in [
        (
            "deb",
            &deb,
            deb_package,
            SOURCES.to_owned(),
            "hostpulse_1.1.0-1_amd64.deb",
            &["Hash Sum mismatch", "File has unexpected size"][..],
        ),
        (
            "rpm",
            &rpm,
            rpm_package,
            repo(&fingerprint),
            "hostpulse-1.1.0-1.deb12.x86_64.rpm",
            &["checksum doesn't match", "Checksum mismatch", "All mirrors were tried", "Hash Sum"][..],
        ),
        (
            "apt index",
            &deb,
            deb_package,
            SOURCES.to_owned(),
            "/InRelease",
            &["BADSIG", "invalid", "not signed"][..],
        ),
        ("yum index", &rpm, rpm_package, repo(&fingerprint), "/repomd.xml", &words[..]),
    ] {
        let tampered = place.path(&name.replace(' ', "-"));
        copy(&to, &tampered);
        let all = files(&tampered);
        let path = only(all.keys(), end);
        let mut bytes = all[&path].clone();
        match end.starts_with('/') {
            // A letter of the text that is signed.
            true => {
                let at = bytes.windows(4).position(|part| part == b"main" || part == b"prim").unwrap();
                bytes[at] = b'x';
            }
            false => *bytes.last_mut().unwrap() ^= 1,
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(&path, bytes).unwrap();
        users.refuses(&tampered, &public, &description, package, words).await;
    }

    // An index that is too old. yum's has no such date.
    let expired = place.path("expired");
    let options = Options { valid_for: Some(SignedDuration::from_secs(1)), ..Options::default() };
    let repository = Repository::open(Folder::open(&expired).unwrap(), options).unwrap();
    let keys = Keys::open(&[KeySource::File(secret)], None, Default::default()).unwrap();
    let addition = Addition {
        path: only(published.keys(), "hostpulse_1.1.0-1_amd64.deb"),
        distro: "bookworm".to_owned(),
        component: "main".to_owned(),
        architectures: Vec::new(),
    };
    let channel = Channel::new("stable").unwrap();
    let publication = Publication { id: "old".to_owned(), channel, packages: vec![addition] };
    repository.publish(&publication, Some(&keys)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    deb.refuses(&expired, &public, SOURCES, deb_package, &["is expired"]).await;

    // zypper reads what dnf reads.
    let zypper = "cp /packhold/published/keys.asc /tmp/ && . /packhold/debian.sh && apt_update && apt_install zypper >/dev/null && \
                  mkdir -p /etc/zypp/repos.d && cp /packhold/published/repository /etc/zypp/repos.d/published.repo && \
                  zypper --non-interactive --gpg-auto-import-keys refresh && \
                  sh -eu /packhold/userland.sh && zypper --non-interactive install hostpulse && rpm -q hostpulse && hostpulse --version";
    let output = rpm.run(&to, &public, &repo(&fingerprint), zypper).await;
    let said = succeed("zypper", output);
    assert!(said.contains("hostpulse-1.1.0-1.deb12.x86_64"), "{said}");
    let _ = Command::new("gpgconf")
        .arg("--homedir")
        .arg(place.path("release.gnupg"))
        .args(["--kill", "all"])
        .status();
}

fn copy(from: &Path, to: &Path) {
    succeed("cp", Command::new("cp").arg("-r").arg(from).arg(to).output().unwrap());
}
