use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use packhold::model::Format;
use packhold::publish::{
    Addition, Channel, Folder, Options, Publication, PublishError, Published, Repository, Wanted,
};

use crate::clients::Apt;
use crate::packages::{deb, run};
use crate::signer::Key;

pub fn channel(name: &str) -> Channel {
    Channel::new(name).unwrap()
}

/// The package `a` in this version.
pub fn wanted(format: Format, distro: &str, version: &str) -> Wanted {
    let (distro, version) = (distro.to_owned(), version.to_owned());
    Wanted { format, distro, package: "a".to_owned(), version, digest: None }
}

pub fn options() -> Options {
    Options { origin: "Example".to_owned(), label: "Example packages".to_owned(), ..Options::default() }
}

pub fn repository(root: &Path, options: Options) -> Repository<Folder> {
    Repository::open(Folder::open(root).unwrap(), options).unwrap()
}

pub fn publication(id: &str, channel: &str, distro: &str, paths: &[PathBuf]) -> Publication {
    let addition = |path: &PathBuf| Addition {
        path: path.clone(),
        distro: distro.to_owned(),
        component: "main".to_owned(),
        architectures: vec!["x86_64".to_owned()],
    };
    Publication {
        id: id.to_owned(),
        channel: self::channel(channel),
        packages: paths.iter().map(addition).collect(),
    }
}

/// Paragraphs by package, version and architecture, each with its fields.
fn paragraphs(text: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    for paragraph in text.split("\n\n").filter(|text| !text.trim().is_empty()) {
        let mut fields: BTreeMap<String, String> = BTreeMap::new();
        let mut last = String::new();
        for line in paragraph.lines() {
            match line.split_once(':').filter(|_| !line.starts_with(' ')) {
                Some((name, value)) => {
                    last = name.to_owned();
                    fields.insert(last.clone(), value.trim().to_owned());
                }
                None => fields.get_mut(&last).unwrap().push_str(&format!("\n{line}")),
            }
        }
        let key =
            ["Package", "Version", "Architecture"].map(|name| fields.get(name).cloned().unwrap_or_default());
        all.insert(key.join(" "), fields);
    }
    all
}

/// Packages of a suite that apt itself finds, by name and version; the suite is checked with the key, or trusted.
pub fn apt_finds(root: &Path, suite: &str, keyring: Option<&Path>) -> BTreeSet<String> {
    let client = Apt::new(&format!("file:{}", root.display()), suite, keyring);
    let apt = |program: &str| client.command(program);
    run(apt("apt-get").arg("update"));
    let names = run(apt("apt-cache").arg("pkgnames"));
    if names.trim().is_empty() {
        return BTreeSet::new();
    }
    let dump = run(apt("apt-cache").args(["show", "--all-versions"]).args(names.split_whitespace()));
    paragraphs(&dump)
        .into_values()
        .map(|fields| format!("{} {}", fields["Package"], fields["Version"]))
        .collect()
}

async fn publish(root: &Path, channel: &str, paths: &[PathBuf]) -> Published {
    repository(root, options()).publish(&publication("run", channel, "bookworm", paths), None).await.unwrap()
}

#[tokio::test]
async fn packages_and_release_say_what_apt_ftparchive_says_of_the_same_pool() {
    let (work, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let all = [
        deb(
            work.path(),
            "hostpulse",
            "1:1.0-1",
            "amd64",
            &["usr/bin/hostpulse"],
            "Section: admin\nDepends: libc6 (>= 2.36)\n",
        ),
        deb(
            work.path(),
            "hostpulse-doc",
            "1.0-1",
            "all",
            &["usr/share/doc/hostpulse/a b"],
            "Source: hostpulse (1:1.0-1)\nPriority: optional\n",
        ),
        deb(
            work.path(),
            "libpulse",
            "0.1",
            "arm64",
            &["usr/lib/libpulse.so"],
            "Conffiles-Like:\n two\n three\nMulti-Arch: same\n",
        ),
        deb(
            work.path(),
            "hostpulse-more",
            "2:1.0~rc1+git-1",
            "amd64",
            &["usr/bin/hostpulse-more", "usr/share/doc/hostpulse/a b", "etc/hostpulse/more.conf"],
            "Source: other-source (3:7-1)\nSection: non-free/net\nPriority: important\nEssential: no\nInstalled-Size: 42\n\
             Homepage: https://example.org/?a=1&b=2\nPre-Depends: dpkg (>= 1.17)\nDepends: hostpulse (= 1:1.0-1), a | b,\n c\n\
             Recommends: d\nSuggests: e\nEnhances: f\nBreaks: g (<< 1)\nConflicts: h\nReplaces: g (<< 1), h\n\
             Provides: pulse (= 1), pulse-more\nBuilt-Using: golang (= 1.0)\nTag: admin::monitoring,\n role::program\n\
             Origin: Example\nBugs: mailto:bugs@example.org\nx-lower-case: Yes\nOriginal-Maintainer: Ünïcode <u@example.org>\n",
        ),
    ];
    publish(root.path(), "stable", &all).await;
    let ftp = |what: &[&str]| {
        run(Command::new("apt-ftparchive")
            .current_dir(root.path())
            .args(["--md5=no", "--sha1=no", "--sha512=no"])
            .args(what))
    };
    let theirs = paragraphs(&ftp(&["packages", "pool"]));
    assert_eq!(theirs.len(), 4);
    let mut ours = BTreeMap::new();
    for (arch, count) in [("amd64", 3), ("arm64", 2)] {
        let text =
            fs::read_to_string(root.path().join(format!("dists/bookworm/main/binary-{arch}/Packages")))
                .unwrap();
        let found = paragraphs(&text);
        assert_eq!(found.len(), count, "{arch}");
        ours.extend(found);
    }
    assert_eq!(ours, theirs);
    let release = |text: &str| paragraphs(text).remove("  ").unwrap();
    let ours = release(&fs::read_to_string(root.path().join("dists/bookworm/Release")).unwrap());
    assert_eq!(ours["Architectures"], "amd64 arm64");
    assert_eq!(
        (ours["Suite"].as_str(), ours["Components"].as_str(), ours["Acquire-By-Hash"].as_str()),
        ("bookworm", "main", "yes")
    );
    // The state is named by digest only.
    let lines = |fields: &BTreeMap<String, String>| -> BTreeSet<Vec<String>> {
        let lines = fields["SHA256"]
            .lines()
            .map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        lines
            .filter(|words| words.len() == 3 && words[2] != "packhold.json" && words[2] != "Release")
            .collect()
    };
    let theirs = release(&ftp(&["release", "dists/bookworm"]));
    let by_hash = |words: &Vec<String>| words[2].contains("by-hash");
    assert_eq!(lines(&ours), lines(&theirs).into_iter().filter(|words| !by_hash(words)).collect());
    assert!(lines(&ours).len() >= 10);
    for words in lines(&theirs).iter().filter(|words| by_hash(words)) {
        assert!(words[2].ends_with(&words[0]), "{words:?}");
    }
    // Each path, and the packages that have it.
    let lines = |text: &str| -> BTreeSet<(String, BTreeSet<String>)> {
        let lines = text.lines().filter_map(|line| line.rsplit_once([' ', '\t']));
        lines
            .map(|(path, names)| (path.trim_end().to_owned(), names.split(',').map(str::to_owned).collect()))
            .collect()
    };
    let theirs = lines(&ftp(&["contents", "pool"]));
    assert_eq!(theirs.len(), 5, "{theirs:?}");
    let mut ours = BTreeMap::new();
    for arch in ["amd64", "arm64"] {
        let file = root.path().join(format!("dists/bookworm/main/Contents-{arch}.gz"));
        for (path, names) in lines(&run(Command::new("zcat").arg(file))) {
            ours.entry(path).or_insert_with(BTreeSet::new).extend(names);
        }
    }
    assert!(ours["etc/hostpulse/more.conf"].contains("non-free/net/hostpulse-more"), "{ours:?}");
    // Without the file with overrides of an archive it tells no sections.
    let without = |name: &String| name.rsplit('/').next().unwrap().to_owned();
    let ours = ours.into_iter().map(|(path, names)| (path, names.iter().map(without).collect()));
    assert_eq!(ours.collect::<BTreeSet<_>>(), theirs);
}

#[tokio::test]
async fn apt_reads_a_signed_suite_after_each_publication_and_refuses_a_changed_one() {
    let (work, root, key) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), Key::new());
    let repository = repository(root.path(), options());
    let mut expected = BTreeSet::new();
    for n in 1..=3 {
        let version = format!("1.{n}-1");
        let package = deb(work.path(), "hostpulse", &version, "amd64", &["usr/bin/hostpulse"], "");
        let published = repository
            .publish(&publication("run", "stable", "bookworm", &[package]), key.signer())
            .await
            .unwrap();
        assert_eq!(published.added.len(), 1);
        expected.insert(format!("hostpulse {version}"));
        assert_eq!(apt_finds(root.path(), "bookworm", Some(&key.keyring())), expected);
    }
    let dists = root.path().join("dists/bookworm");
    run(Command::new("gpgv")
        .arg("--keyring")
        .arg(key.keyring())
        .arg(dists.join("Release.gpg"))
        .arg(dists.join("Release")));
    let unsigned = deb(work.path(), "other", "1", "amd64", &["usr/bin/other"], "");
    let refused =
        repository.publish(&publication("run", "stable", "bookworm", &[unsigned]), None).await.unwrap_err();
    assert!(matches!(refused, PublishError::WouldUnsign { .. }), "{refused}");
    let changed =
        fs::read_to_string(dists.join("InRelease")).unwrap().replace("Label: Example", "Label: Exbmple");
    fs::write(dists.join("InRelease"), changed).unwrap();
    let keyring = key.keyring();
    let result = std::panic::catch_unwind(|| apt_finds(root.path(), "bookworm", Some(&keyring)));
    assert!(result.is_err());
}

#[tokio::test]
async fn a_version_never_changes_and_the_same_file_again_is_nothing_new() {
    let (work, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = deb(work.path(), "a", "1", "amd64", &["usr/bin/a"], "");
    publish(root.path(), "stable", std::slice::from_ref(&first)).await;
    let before = fs::read(root.path().join("dists/bookworm/Release")).unwrap();
    let again = publish(root.path(), "stable", &[first]).await;
    assert!(again.added.is_empty());
    assert_eq!(fs::read(root.path().join("dists/bookworm/Release")).unwrap(), before);
    let other = tempfile::tempdir().unwrap();
    let changed = deb(other.path(), "a", "1", "amd64", &["usr/bin/a", "usr/bin/b"], "");
    let refused = repository(root.path(), options())
        .publish(&publication("run", "stable", "bookworm", &[changed]), None)
        .await;
    assert!(matches!(refused, Err(PublishError::Conflict { .. })));
    assert_eq!(fs::read(root.path().join("dists/bookworm/Release")).unwrap(), before);
}

#[tokio::test]
async fn channels_promote_keep_and_roll_back() {
    let (work, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let repository = repository(root.path(), Options { keep: Some(2), ..options() });
    let version = |n: u32| {
        deb(work.path(), "a", &format!("1.{n}"), "amd64", &["usr/bin/a", &format!("usr/share/a/{n}")], "")
    };
    for n in [2, 9, 10] {
        let id = format!("run {n}");
        repository.publish(&publication(&id, "snapshot", "bookworm", &[version(n)]), None).await.unwrap();
    }
    let finds = |suite: &str| apt_finds(root.path(), suite, None).into_iter().collect::<Vec<_>>();
    assert_eq!(finds("bookworm-snapshot"), ["a 1.10", "a 1.9"]);
    let contents =
        run(Command::new("zcat").arg(root.path().join("dists/bookworm-snapshot/main/Contents-amd64.gz")));
    assert!(
        contents.contains("usr/bin/a ")
            && contents.contains("usr/share/a/10")
            && !contents.contains("usr/share/a/2 "),
        "{contents}"
    );
    let wanted = [wanted(Format::Deb, "bookworm", "1.9")];
    let (snapshot, stable) = (channel("snapshot"), channel("stable"));
    repository.promote("promotion 1", &snapshot, &stable, &wanted, None).await.unwrap();
    assert_eq!(finds("bookworm"), ["a 1.9"]);
    repository.promote("promotion 2", &snapshot, &stable, &[], None).await.unwrap();
    assert_eq!(finds("bookworm"), ["a 1.10", "a 1.9"]);
    assert_eq!(repository.roll_back(&stable, None).await.unwrap(), ["dists/bookworm"]);
    assert_eq!(finds("bookworm"), ["a 1.9"]);
    assert!(matches!(repository.roll_back(&stable, None).await, Err(PublishError::NothingBefore { .. })));
    repository.roll_back(&snapshot, None).await.unwrap();
    assert_eq!(finds("bookworm-snapshot"), ["a 1.2", "a 1.9"]);
    let missing = [wanted[0].clone(), self::wanted(Format::Deb, "bookworm", "7")];
    let refused = repository.promote("promotion 3", &snapshot, &stable, &missing, None).await;
    assert!(matches!(refused, Err(PublishError::NothingToPromote { .. })));
    // It goes on from there.
    repository.publish(&publication("run 11", "snapshot", "bookworm", &[version(11)]), None).await.unwrap();
    assert_eq!(finds("bookworm-snapshot"), ["a 1.11", "a 1.9"]);
}

#[tokio::test]
async fn a_rollback_takes_back_one_publication_in_all_suites_that_it_changed() {
    let (work, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let repository = repository(root.path(), options());
    let package = |name: &str| deb(work.path(), name, "1", "amd64", &[&format!("usr/bin/{name}")], "");
    let both = |id: &str, package: &PathBuf| {
        let mut both = publication(id, "stable", "bookworm", std::slice::from_ref(package));
        both.packages.extend(publication(id, "stable", "trixie", std::slice::from_ref(package)).packages);
        both
    };
    repository.publish(&both("run 1", &package("a")), None).await.unwrap();
    repository.publish(&both("run 2", &package("b")), None).await.unwrap();
    repository.publish(&publication("run 3", "stable", "trixie", &[package("c")]), None).await.unwrap();
    let finds = |suite: &str| apt_finds(root.path(), suite, None).into_iter().collect::<Vec<_>>();
    assert_eq!(finds("trixie"), ["a 1", "b 1", "c 1"]);
    assert_eq!(repository.roll_back(&channel("stable"), None).await.unwrap(), ["dists/trixie"]);
    assert_eq!(
        (finds("bookworm"), finds("trixie")),
        (vec!["a 1".to_owned(), "b 1".to_owned()], vec!["a 1".to_owned(), "b 1".to_owned()])
    );
    let indexes = repository.roll_back(&channel("stable"), None).await.unwrap();
    assert_eq!(indexes, ["dists/bookworm", "dists/trixie"]);
    assert_eq!((finds("bookworm"), finds("trixie")), (vec!["a 1".to_owned()], vec!["a 1".to_owned()]));
}

#[tokio::test]
async fn two_distro_releases_have_the_same_version_with_other_content() {
    let (work, root, second) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let repository = repository(root.path(), options());
    let first = deb(work.path(), "a", "1", "amd64", &["usr/bin/a"], "");
    let other = deb(second.path(), "a", "1", "amd64", &["usr/bin/a", "usr/bin/b"], "");
    repository.publish(&publication("run", "stable", "bookworm", &[first]), None).await.unwrap();
    repository.publish(&publication("run", "stable", "trixie", &[other]), None).await.unwrap();
    for suite in ["bookworm", "trixie"] {
        assert_eq!(apt_finds(root.path(), suite, None).into_iter().collect::<Vec<_>>(), ["a 1"]);
    }
}

#[tokio::test]
async fn packages_that_would_lead_out_of_the_pool_or_forge_the_index_are_refused() {
    let (work, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let repository = repository(root.path(), options());
    for (n, fields) in ["Source: ../../x\n", "Filename: pool/x.deb\n", "Section: a/../b\n", "SHA256: 00\n"]
        .iter()
        .enumerate()
    {
        let package = deb(work.path(), &format!("bad{n}"), "1", "amd64", &["usr/bin/a"], fields);
        let refused = repository.publish(&publication("run", "stable", "bookworm", &[package]), None).await;
        assert!(matches!(refused, Err(PublishError::Package { .. })), "{fields:?}: {refused:?}");
    }
    let cut = deb(work.path(), "cut", "1", "amd64", &["usr/bin/a"], "");
    let bytes = fs::read(&cut).unwrap();
    for length in [0, 8, 60, 68, 100, bytes.len() / 2, bytes.len() - 2] {
        fs::write(&cut, &bytes[..length]).unwrap();
        let refused = repository
            .publish(&publication("run", "stable", "bookworm", std::slice::from_ref(&cut)), None)
            .await;
        assert!(matches!(refused, Err(PublishError::Package { .. })), "{length}: {refused:?}");
    }
    assert!(!root.path().join("dists").exists() && !root.path().join("pool").exists());
}
