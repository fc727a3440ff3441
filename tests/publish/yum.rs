use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use packhold::model::Format;
use packhold::publish::{Options, PublishError};
use quick_xml::Reader;
use quick_xml::events::Event;

use crate::adopted::tree_of_createrepo;
use crate::apt::{channel, options, publication, repository, wanted};
use crate::clients::Dnf;
use crate::packages::{rpm, run};
use crate::signer::Key;

/// A metadata file of a tree, unpacked.
fn metadata(tree: &Path, kind: &str) -> String {
    let repomd = fs::read_to_string(tree.join("repodata/repomd.xml")).unwrap();
    let data = repomd.split("<data type=").find(|data| data.starts_with(&format!("\"{kind}\""))).unwrap();
    let href = data.split("location href=\"").nth(1).unwrap().split('"').next().unwrap();
    run(Command::new("zcat").arg(tree.join(href)))
}

/// What an XML file says, as lines: each element's path with its attributes, sorted, and texts. Packages are sorted.
fn said(xml: &str) -> BTreeSet<Vec<String>> {
    let mut reader = Reader::from_str(xml);
    let (mut packages, mut path, mut lines) = (BTreeSet::new(), Vec::new(), Vec::new());
    let mut text = String::new();
    loop {
        let event = reader.read_event().unwrap();
        let open = |start: &quick_xml::events::BytesStart<'_>, path: &[String]| {
            let mut attributes: Vec<String> = start
                .attributes()
                .map(|a| a.unwrap())
                .map(|a| {
                    format!(
                        "{}={}",
                        String::from_utf8_lossy(a.key.as_ref()),
                        String::from_utf8_lossy(&a.value)
                    )
                })
                // The time at which a file was put there.
                .filter(|a| !a.starts_with("file="))
                .collect();
            attributes.sort();
            format!(
                "{}/{} {}",
                path.join("/"),
                String::from_utf8_lossy(start.name().as_ref()),
                attributes.join(" ")
            )
        };
        match event {
            Event::Start(start) => {
                lines.push(open(&start, &path));
                path.push(String::from_utf8_lossy(start.name().as_ref()).into_owned());
                text.clear();
            }
            Event::Empty(start) => lines.push(open(&start, &path)),
            Event::Text(more) => text.push_str(&more.decode().unwrap()),
            Event::GeneralRef(name) => text.push_str(&format!("&{};", name.decode().unwrap())),
            Event::End(_) => {
                // `&quot;` in a text is the character itself.
                let text = std::mem::take(&mut text).trim().replace("&quot;", "\"").replace("&apos;", "'");
                if !text.is_empty() {
                    lines.push(format!("{} = {text}", path.join("/")));
                }
                path.pop();
                if path.len() == 1 {
                    packages.insert(std::mem::take(&mut lines));
                }
            }
            Event::Eof => return packages,
            _ => {}
        }
    }
}

fn packages(work: &Path) -> Vec<PathBuf> {
    let more = "Provides: pulse = 2:1.0-3, other\nRequires: /bin/sh, libc.so.6(GLIBC_2.4)(64bit), libc.so.6(GLIBC_2.34)(64bit), a >= 1:2, a < 3\n\
                Requires(pre): /usr/sbin/useradd\nRequires: other, pulse, /usr/bin/hostpulse\nConflicts: old < 1\nObsoletes: older <= 2-1\n\
                Recommends: nice\nSuggests: nicer = 1\nSupplements: (a and b)\nEnhances: c\nEpoch: 3\n";
    vec![
        rpm(work, "hostpulse", "1.0", "x86_64", more),
        rpm(work, "pulse-data", "1.0~rc1", "noarch", ""),
        rich(work),
    ]
}

/// An rpm with files, changes and dependencies of many kinds.
fn rich(folder: &Path) -> PathBuf {
    use rpm::{Dependency, DependencyFlags, FileOptions};
    let config = rpm::BuildConfig::v4().compression(rpm::CompressionType::None).source_date(1_700_000_000);
    let mut builder =
        rpm::PackageBuilder::new("rich", "2.0", "MIT OR Apache-2.0", "x86_64", "Sums up <all> & \"more\"");
    builder
        .using_config(config)
        .release("3.el9")
        .epoch(1)
        .vendor("Example & sons")
        .packager("Ann <ann@example.org>");
    builder.group("Tools/Monitoring").url("https://example.org/a?b=1&c=2").build_host("host.example.org");
    builder.description("Ünïcode, <tags> & 'quotes'.\n\n  An indented line.\n");
    builder.pre_install_script("true").post_install_script("true").pre_uninstall_script("true");
    let any = |name: &str, flags| Dependency { name: name.to_owned(), flags, version: String::new() };
    builder
        .requires(Dependency::greater_eq("a", "1:2.0-3"))
        .requires(Dependency::less("a", "2:0"))
        .requires(Dependency::any("/etc/rich/rich.conf"))
        .requires(any("before", DependencyFlags::SCRIPT_PRE))
        .requires(any("after", DependencyFlags::SCRIPT_POST))
        .requires(any("twice", DependencyFlags::SCRIPT_PREUN))
        .requires(Dependency::any("twice"))
        .requires(Dependency::any("libc.so.6(GLIBC_2.2.5)(64bit)"))
        .requires(Dependency::any("libc.so.6(GLIBC_2.34)(64bit)"))
        .requires(Dependency::any("libc.so.6(GLIBC_2.4)(64bit)"))
        .provides(Dependency::eq("virtual", "3:1~rc1-1"))
        .provides(Dependency::any("config(other) & more"))
        .conflicts(Dependency::less_eq("enemy", "1.0"))
        .obsoletes(Dependency::less("older", "0:1.0-1"))
        .recommends(Dependency::any("(b if c)"))
        .suggests(Dependency::greater("nicer", "1"))
        .enhances(Dependency::any("something"))
        .supplements(Dependency::any("(d and e)"));
    for (at, options) in [
        FileOptions::new("/usr/bin/rich"),
        FileOptions::new("/usr/sbin/rich"),
        FileOptions::new("/usr/lib/sendmail"),
        FileOptions::new("/etc/rich/rich.conf").config(),
        FileOptions::new("/usr/share/doc/rich/README & <more>").doc(),
        FileOptions::new("/opt/cabin/deep/ü"),
    ]
    .into_iter()
    .enumerate()
    {
        builder.with_file_contents(format!("content {at}\n"), options).unwrap();
    }
    builder.with_dir_entry(FileOptions::dir("/etc/rich")).unwrap();
    builder.with_dir_entry(FileOptions::dir("/var/lib/rich")).unwrap();
    builder.with_symlink(FileOptions::symlink("/usr/bin/poor", "rich")).unwrap();
    builder.with_ghost(FileOptions::ghost("/var/log/rich.log")).unwrap();
    builder.with_ghost(FileOptions::ghost("/etc/rich/cache")).unwrap();
    // More than are told, and some of one time.
    for number in (0..14_u32).rev() {
        let time = 1_700_000_000 + number / 2 * 86_400;
        builder.add_changelog_entry(
            format!("Ann & Bob <ann@example.org> - {number}"),
            format!("- <change> {number}\n- & more"),
            time,
        );
    }
    let file = folder.join("rich-2.0-3.el9.x86_64.rpm");
    builder.build().unwrap().write_file(&file).unwrap();
    file
}

#[tokio::test]
async fn the_metadata_says_what_createrepo_c_says_of_the_same_files() {
    let (work, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let all = packages(work.path());
    repository(root.path(), options())
        .publish(&publication("run", "stable", "rocky-9", &all), None)
        .await
        .unwrap();
    let tree = root.path().join("rpm/stable/rocky-9/x86_64");
    let theirs = tempfile::tempdir().unwrap();
    run(Command::new("cp").arg("-r").arg(tree.join("Packages")).arg(theirs.path()));
    run(Command::new("createrepo_c").args(["--quiet", "--general-compress-type=gz"]).arg(theirs.path()));
    for kind in ["primary", "filelists", "other"] {
        let (ours, theirs) = (said(&metadata(&tree, kind)), said(&metadata(theirs.path(), kind)));
        assert_eq!(theirs.len(), 3, "{kind}");
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs, "{kind}");
        }
        assert_eq!(ours.len(), 3, "{kind}");
    }
}

/// What dnf finds in a tree, by name, version and release.
pub fn dnf_finds(tree: &Path) -> Vec<String> {
    let client = Dnf::new(&format!("file://{}", tree.display()));
    let found = run(client.command().args(["repoquery", "--available", "--queryformat=%{name} %{evr}"]));
    let mut lines: Vec<String> = found.lines().map(str::to_owned).filter(|line| !line.is_empty()).collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn dnf_reads_a_tree_after_each_publication_promotion_and_rollback() {
    let (work, root, key) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), Key::new());
    let repository = repository(root.path(), Options { keep: Some(2), ..options() });
    let version = |n: u32| rpm(work.path(), "a", &format!("1.{n}"), "x86_64", "");
    for n in [2, 9, 10] {
        let id = format!("run {n}");
        repository
            .publish(&publication(&id, "snapshot", "rocky-9", &[version(n)]), key.signer())
            .await
            .unwrap();
    }
    let tree = |channel: &str| root.path().join(format!("rpm/{channel}/rocky-9/x86_64"));
    assert_eq!(dnf_finds(&tree("snapshot")), ["a 1.10-1", "a 1.9-1"]);
    let (snapshot, stable) = (channel("snapshot"), channel("stable"));
    let wanted = [wanted(Format::Rpm, "rocky-9", "1.9-1")];
    repository.promote("promotion 1", &snapshot, &stable, &wanted, key.signer()).await.unwrap();
    assert_eq!(dnf_finds(&tree("stable")), ["a 1.9-1"]);
    repository.promote("promotion 2", &snapshot, &stable, &[], key.signer()).await.unwrap();
    assert_eq!(dnf_finds(&tree("stable")), ["a 1.10-1", "a 1.9-1"]);
    repository.roll_back(&stable, key.signer()).await.unwrap();
    assert_eq!(dnf_finds(&tree("stable")), ["a 1.9-1"]);
    repository.roll_back(&snapshot, key.signer()).await.unwrap();
    assert_eq!(dnf_finds(&tree("snapshot")), ["a 1.2-1", "a 1.9-1"]);
    for channel in ["snapshot", "stable"] {
        let repomd = tree(channel).join("repodata/repomd.xml");
        run(Command::new("gpgv")
            .arg("--keyring")
            .arg(key.keyring())
            .arg(format!("{}.asc", repomd.display()))
            .arg(&repomd));
        // Every file that the metadata names is there, also those of rpms that came from another channel.
        let primary = metadata(&tree(channel), "primary");
        for href in primary.split("location href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(tree(channel).join(href).is_file(), "{href}");
        }
    }
}

#[tokio::test]
async fn rpms_are_signed_once_and_are_the_same_when_they_are_published_again() {
    let (work, root, key) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), Key::new());
    let url = Some("https://example.org/packages".to_owned());
    let repository = repository(root.path(), Options { sign_rpms: true, url, ..options() });
    let package = rpm(work.path(), "a", "1", "x86_64", "");
    let publication = publication("run", "stable", "rocky-9", &[package]);
    repository.publish(&publication, key.signer()).await.unwrap();
    let signed = root.path().join("rpm/stable/rocky-9/x86_64/Packages/a/a-1-1.x86_64.rpm");
    let before = fs::read(&signed).unwrap();
    let database = format!("_dbpath {}", work.path().join("rpmdb").display());
    run(Command::new("rpmkeys").args(["--define", &database, "--import"]).arg(key.armored()));
    let said = run(Command::new("rpmkeys").args(["--define", &database, "--checksig"]).arg(&signed));
    assert!(said.contains("digests signatures OK"), "{said}");
    assert!(repository.publish(&publication, key.signer()).await.unwrap().added.is_empty());
    assert_eq!(fs::read(&signed).unwrap(), before);
    assert_eq!(dnf_finds(&root.path().join("rpm/stable/rocky-9/x86_64")), ["a 1-1"]);
    let install = |file: &str| fs::read_to_string(root.path().join("install").join(file)).unwrap();
    assert!(
        install("stable-rocky-9.repo")
            .contains("gpgcheck=1\nrepo_gpgcheck=1\ngpgkey=https://example.org/packages/install/")
    );
    assert!(root.path().join("install.html").is_file());
}

#[tokio::test]
async fn dnf_of_another_architecture_finds_its_tree_by_the_page() {
    let (work, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let url = Some(format!("file://{}", root.path().display()));
    let repository = repository(root.path(), Options { url, ..options() });
    for (arch, base) in [("armv7hl", "armhfp"), ("i686", "i386")] {
        let data = rpm(work.path(), &format!("{base}-data"), "1", "noarch", "");
        let program = rpm(work.path(), base, "1", arch, "");
        let mut publication = publication(base, "stable", "fedora-43", &[program, data]);
        publication.packages[1].architectures = vec![arch.to_owned()];
        repository.publish(&publication, None).await.unwrap();
        let own = tempfile::tempdir().unwrap();
        let repos = own.path().join("repos");
        fs::create_dir(&repos).unwrap();
        fs::copy(root.path().join("install/stable-fedora-43.repo"), repos.join("a.repo")).unwrap();
        let found = run(Command::new("dnf")
            .args(["--quiet", "--disableplugin=*", "--releasever=43", &format!("--forcearch={arch}")])
            .arg(format!("--setopt=cachedir={}", own.path().join("cache").display()))
            .arg(format!("--setopt=reposdir={}", repos.display()))
            .arg(format!("--installroot={}", own.path().display()))
            .args(["repoquery", "--available", "--queryformat=%{name} %{arch}"]));
        let mut found: Vec<&str> = found.lines().filter(|line| !line.is_empty()).collect();
        found.sort_unstable();
        assert_eq!(found, [format!("{base} {arch}"), format!("{base}-data noarch")]);
    }
    for (base, there) in [("armhfp", true), ("i386", true), ("armv7hl", false), ("i686", false)] {
        assert_eq!(root.path().join("rpm/stable/fedora-43").join(base).exists(), there, "{base}");
    }
}

/// Keys that users' rpm gets of a `.repo` file of the repository, in a database of their own; what it says of a package then.
fn checked(root: &Path, repo: &str, package: &Path) -> (bool, String) {
    let (own, text) =
        (tempfile::tempdir().unwrap(), fs::read_to_string(root.join("install").join(repo)).unwrap());
    assert!(text.contains("\ngpgcheck=1\n"), "{text}");
    let keys = text.split("gpgkey=").nth(1).unwrap().split_whitespace();
    let rpmkeys = || {
        let mut command = Command::new("rpmkeys");
        command.args(["--define", &format!("_dbpath {}", own.path().join("rpmdb").display())]);
        command
    };
    for key in keys {
        let name = key.rsplit('/').next().unwrap();
        run(rpmkeys().arg("--import").arg(root.join("install").join(name)));
    }
    let output = rpmkeys().args(["--checksig", "--verbose"]).arg(package).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success() && said.contains("Signature"), said)
}

#[tokio::test]
async fn rpms_of_a_key_that_was_replaced_are_accepted_as_long_as_they_are_offered() {
    let (work, root, old, new) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), Key::new(), Key::new());
    let url = Some("https://example.org/packages".to_owned());
    let ours =
        |keep| repository(root.path(), Options { sign_rpms: true, url: url.clone(), keep, ..options() });
    let version = |n: u32| rpm(work.path(), "a", &n.to_string(), "x86_64", "");
    let of = |n: u32| publication(&format!("run {n}"), "stable", "rocky-9", &[version(n)]);
    let file = |n: u32| root.path().join(format!("rpm/stable/rocky-9/x86_64/Packages/a/a-{n}-1.x86_64.rpm"));
    ours(None).publish(&of(1), old.signer()).await.unwrap();
    let both = old.beside(&new);
    ours(None).publish(&of(2), Some(&both)).await.unwrap();
    ours(None).publish(&of(3), new.signer()).await.unwrap();
    for n in 1..=3 {
        let (fine, said) = checked(root.path(), "stable-rocky-9.repo", &file(n));
        assert!(fine, "{n}: {said}");
    }
    // Another channel gets them with their signatures.
    let (stable, testing) = (channel("stable"), channel("testing"));
    ours(None)
        .promote("promotion", &stable, &testing, &[wanted(Format::Rpm, "rocky-9", "1-1")], new.signer())
        .await
        .unwrap();
    let (fine, said) = checked(root.path(), "testing-rocky-9.repo", &file(1));
    assert!(fine, "{said}");
    // When the last of its packages is gone, so is the key.
    let keys = || {
        fs::read_to_string(root.path().join("install/stable-rocky-9.repo")).unwrap().matches(".asc").count()
    };
    assert_eq!(keys(), 2);
    ours(Some(1)).publish(&of(4), new.signer()).await.unwrap();
    assert_eq!(keys(), 1);
}

#[tokio::test]
async fn what_nobody_has_signed_in_a_tree_of_createrepo_is_told_and_signed_if_that_is_asked_for() {
    let (work, root, key) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), Key::new());
    let tree = tree_of_createrepo(work.path(), root.path());
    let url = Some(format!("file://{}", root.path().display()));
    let ours = |adopt, sign_adopted| {
        repository(
            root.path(),
            Options { sign_rpms: true, url: url.clone(), adopt, sign_adopted, ..options() },
        )
    };
    let new = publication("run", "stable", "rocky-9", &[rpm(work.path(), "new", "1", "x86_64", "")]);
    let published = ours(true, false).publish(&new, key.signer()).await.unwrap();
    let told = |name: &str| ("rpm/stable/rocky-9/x86_64".to_owned(), format!("{name}-1-1.x86_64"));
    assert_eq!(published.unsigned, [told("old"), told("older")]);
    assert!(dnf_installs(root.path(), "new").is_ok());
    let refused = dnf_installs(root.path(), "old").unwrap_err();
    assert!(refused.contains("is not signed"), "{refused}");

    let published = ours(false, true).publish(&new, key.signer()).await.unwrap();
    assert!(published.unsigned.is_empty(), "{published:?}");
    assert_eq!(published.added.len(), 2, "{published:?}");
    assert_eq!(dnf_finds(&tree), ["new 1-1", "old 1-1", "older 1-1"]);
    for name in ["old", "older"] {
        dnf_installs(root.path(), name).unwrap();
        let signed = published.added.iter().find(|key| key.contains(&format!("/{name}-1-1"))).unwrap();
        let (fine, said) = checked(root.path(), "stable-rocky-9.repo", &root.path().join(signed));
        assert!(fine, "{said}");
        let query = |path: &Path| {
            run(Command::new("rpm")
                .args(["-qp", "--nosignature", "--qf", "%{SHA256HEADER} %{PAYLOADDIGEST}"])
                .arg(path))
        };
        // Clients in the middle of an update still find the file that they were told of.
        assert_eq!(query(&root.path().join(signed)), query(&tree.join(format!("{name}-1-1.x86_64.rpm"))));
    }
    let again = ours(false, true).publish(&new, key.signer()).await.unwrap();
    assert!(again.added.is_empty() && again.unsigned.is_empty(), "{again:?}");
}

/// Lets dnf fetch a package by the repository's own description and check it; an error is what it says.
fn dnf_installs(root: &Path, package: &str) -> Result<(), String> {
    let own = tempfile::tempdir().unwrap();
    let repos = own.path().join("repos");
    fs::create_dir(&repos).unwrap();
    fs::copy(root.join("install/stable-rocky-9.repo"), repos.join("a.repo")).unwrap();
    let output = Command::new("dnf")
        .args(["--assumeyes", "--disableplugin=*", "--releasever=9", "--forcearch=x86_64", "--downloadonly"])
        .arg(format!("--setopt=cachedir={}", own.path().join("cache").display()))
        .arg(format!("--setopt=reposdir={}", repos.display()))
        .arg(format!("--installroot={}", own.path().display()))
        .args(["install", package])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    output.status.success().then_some(()).ok_or(said)
}

#[tokio::test]
async fn damaged_rpms_are_refused() {
    let (work, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let repository = repository(root.path(), options());
    let path = rpm(work.path(), "a", "1", "x86_64", "");
    let bytes = fs::read(&path).unwrap();
    let publish = async |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        repository.publish(&publication("run", "stable", "rocky-9", std::slice::from_ref(&path)), None).await
    };
    for length in [0, 50, 96, 100, 112, 200, 1000] {
        let refused = publish(&bytes[..length]).await;
        assert!(matches!(refused, Err(PublishError::Package { .. })), "{length}: {refused:?}");
    }
    // Every field of the index of a header, one after the other, points far away or is far too long.
    for at in (96 + 16..96 + 16 + 5 * 16).step_by(4) {
        let mut changed = bytes.clone();
        changed[at..at + 4].copy_from_slice(&[0x7f; 4]);
        match publish(&changed).await {
            Err(PublishError::Package { .. } | PublishError::Conflict { .. }) | Ok(_) => {}
            other => panic!("{other:?}"),
        }
    }
    let mut long = bytes.clone();
    long[96 + 16 + 12..96 + 16 + 16].copy_from_slice(&[0x7f; 4]);
    assert!(matches!(publish(&long).await, Err(PublishError::Package { .. })));
}
