//! Packages that the pipeline describes: the demo agent without debian/ and without a spec file.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use packhold::compare::{PackedFile, contents};
use serde_json::Value;

use crate::common::{Workplace, git, succeed};

/// A repository of the agent at a tag: its sources, and a description of its package.
fn repository(place: &Workplace) {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let sources = ["LICENSE", "Makefile", "README.md", "etc", "man", "src", "systemd", "tests"];
    let sources = sources.map(|name| fixtures.join("demo-agent").join(name));
    let described = ["packhold.toml", "scripts"].map(|name| fixtures.join("declared-agent").join(name));
    let copy = Command::new("cp").arg("-R").args(sources).args(described).arg(&place.repository).output();
    succeed("cp", copy.unwrap());
    git(&place.repository, &["init", "--quiet", "--template="]);
    commit(place, &[]);
}

/// Commits everything as the release 1.0.0, whatever was before.
fn commit(place: &Workplace, arguments: &[&str]) {
    git(&place.repository, &["add", "--all"]);
    let message = ["commit", "--quiet", "--message", "Report what the host does"];
    git(&place.repository, &[&message, arguments].concat());
    git(&place.repository, &["tag", "--force", "--annotate", "--message", "hostpulse 1.0.0", "v1.0.0"]);
}

/// The binary packages of a run: name → digest.
fn packages(record: &Value) -> BTreeMap<String, String> {
    let targets = record["targets"].as_array().unwrap().iter();
    let artifacts = targets.flat_map(|target| target["artifacts"].as_array().unwrap());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let named = artifacts.map(|artifact| (text(&artifact["name"]), text(&artifact["digest"])));
    named.filter(|(name, _)| name.ends_with(".deb") || name.ends_with(".x86_64.rpm")).collect()
}

/// Path → permission bits, bytes and where a link leads: what both formats must have alike. Their own are changelog, copyright and licence;
/// what the program makes itself is in no deb.
fn alike(package: &Path) -> BTreeMap<String, (u32, u64, Option<String>)> {
    let name = package.file_name().unwrap().to_str().unwrap();
    let files = contents(name, &fs::read(package).unwrap()).unwrap().files.into_iter();
    let own = [
        "/usr/share/doc/",
        "/usr/share/licenses/",
        "/usr/lib/.build-id",
        "/etc/hostpulse/host-id",
        "/var/log/hostpulse/",
    ];
    let files = files.filter(|file| !own.iter().any(|own| file.path.starts_with(own)));
    // Where a distro has its units: one is a link to the other.
    let path =
        |path: &str| path.strip_prefix("/lib/").map_or(path.to_owned(), |rest| format!("/usr/lib/{rest}"));
    // They are compiled in two images; and a link has bytes in an rpm alone.
    let size = |file: &PackedFile| {
        if file.path == "/usr/bin/hostpulse" || file.link.is_some() { 0 } else { file.size }
    };
    // A folder that has files is in an rpm alone.
    let files = files.filter(|file| !["/etc/hostpulse", "/usr/share/hostpulse"].contains(&&*file.path));
    files.map(|file| (path(&file.path), (file.mode & 0o7777, size(&file), file.link))).collect()
}

#[test]
fn one_description_gives_a_deb_and_an_rpm_with_the_same_files_that_are_verified_and_replayed() {
    let place = Workplace::without_repository();
    repository(&place);
    let finished = place.run(&[]);
    assert_eq!(finished.exit, 0, "{:#}\n{}", finished.record()["targets"], finished.output.join("\n"));
    for target in finished.record()["targets"].as_array().unwrap() {
        let checks = target["checks"].as_array().unwrap();
        let passed = |scenario: &str| {
            checks.iter().any(|check| check["scenario"] == scenario && check["outcome"]["state"] == "passed")
        };
        for scenario in ["install", "smoke", "remove", "purge", "service", "lint"] {
            assert!(passed(scenario), "{scenario}: {checks:#?}");
        }
    }
    let dest = place.path("restored");
    let restore = place.command(&["archive", "restore", "latest", "--to", dest.to_str().unwrap()]).output();
    succeed("archive restore", restore.unwrap());
    let files = packages(finished.record());
    let package = |start: &str, folder: &str| {
        let name = files.keys().find(|name| name.starts_with(start)).unwrap_or_else(|| panic!("{files:#?}"));
        alike(&dest.join(folder).join(name))
    };
    let (deb, rpm) = (package("hostpulse_", "debian-12_deb"), package("hostpulse-1", "debian-rpm_rpm"));
    assert_eq!(deb, rpm);
    assert_eq!(deb["/usr/bin/hp"].2.as_deref(), Some("hostpulse"));
    assert_eq!(deb["/etc/hostpulse/hostpulse.conf"].0, 0o640);
    assert_eq!(deb["/var/log/hostpulse"].0, 0o750);
    assert!(deb.contains_key("/usr/share/hostpulse/sample/net/dev"), "{deb:#?}");

    // The archive has the packaging in the source tree: no description is looked at again.
    fs::remove_dir_all(&place.repository).unwrap();
    fs::create_dir(&place.repository).unwrap();
    let replay = place.command(&["archive", "replay", "latest", "--format", "json"]).output().unwrap();
    let told: Value = serde_json::from_str(succeed("replay", replay).lines().last().unwrap()).unwrap();
    let files = told["targets"].as_array().unwrap().iter().flat_map(|t| t["artifacts"].as_array().unwrap());
    let verdicts: Vec<&Value> = files.map(|file| &file["comparison"]["verdict"]).collect();
    assert!(verdicts.len() > 4 && verdicts.iter().all(|verdict| *verdict == "identical"), "{told:#}");
    place.assert_clean(&finished, &[]);
}

#[test]
fn ejected_packaging_gives_the_same_packages() {
    let place = Workplace::without_repository();
    repository(&place);
    let pipeline = place.repository.join("packhold.toml");
    let text = fs::read_to_string(&pipeline).unwrap();
    // What is built is the question here.
    let skip = "[verify]\nskip = [\"service\", \"upgrade\", \"reinstall\", \"remove\", \"purge\", \"no-docs\", \"integrity\", \"lint\"]\n\
                [archive]\nimages = false\n";
    fs::write(&pipeline, format!("{text}\n{skip}")).unwrap();
    commit(&place, &["--amend"]);
    let before = place.run(&[]);
    assert_eq!(before.exit, 0, "{:#}\n{}", before.record()["targets"], before.output.join("\n"));

    let told = succeed("eject", place.command(&["eject", "--format", "json"]).output().unwrap());
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["packaging"], serde_json::json!([["debian-rpm/rpm", "rpm/hostpulse.spec"]]));
    let again = place.command(&["eject"]).output().unwrap();
    assert_eq!(again.status.code(), Some(2), "it would have replaced what it wrote");
    edit(&pipeline, &told);
    commit(&place, &["--amend"]);
    let after = place.run(&[]);
    assert_eq!(after.exit, 0, "{:#}\n{}", after.record()["targets"], after.output.join("\n"));
    assert!(!fs::read_to_string(&pipeline).unwrap().contains("summary"));
    assert_ne!(before.record()["source"]["tree"], after.record()["source"]["tree"]);
    let (first, second) = (packages(before.record()), packages(after.record()));
    assert!(first.len() >= 2 && first.keys().eq(second.keys()), "{first:#?}\n{second:#?}");
    for (name, digest) in first.iter().filter(|(name, _)| name.ends_with(".deb")) {
        assert_eq!(second[name], *digest, "{name}");
    }
    // An rpm names the digest of its source package, which holds the pipeline.
    let payloads = [before, after].map(|run| {
        let (id, dest) =
            (run.record()["id"].as_str().unwrap(), place.path(run.record()["id"].as_str().unwrap()));
        let restore = place.command(&["archive", "restore", id, "--to", dest.to_str().unwrap()]).output();
        succeed("archive restore", restore.unwrap());
        let name = first.keys().find(|name| name.ends_with(".rpm")).unwrap();
        let rpm = dest.join("debian-rpm_rpm").join(name);
        let format = "%{PAYLOADDIGEST} %{POSTIN} %{PREIN} [%{REQUIRES} %{REQUIREVERSION} ]";
        let query =
            Command::new("rpm").args(["-qp", "--nosignature", "--qf", format]).arg(&rpm).output().unwrap();
        (succeed("rpm", query), contents(name, &fs::read(rpm).unwrap()).unwrap())
    });
    assert!(payloads[0].0.len() > 64, "{payloads:#?}");
    assert_eq!(payloads[0], payloads[1]);
}

/// Does to a pipeline what `eject` says.
fn edit(pipeline: &Path, told: &Value) {
    let text = fs::read_to_string(pipeline).unwrap();
    let mut lines: Vec<Option<&str>> = text.lines().map(Some).collect();
    for words in told["delete"].as_array().unwrap() {
        let numbers: Vec<usize> =
            words.as_str().unwrap().split(' ').filter_map(|word| word.parse().ok()).collect();
        lines[numbers[0] - 1..*numbers.last().unwrap()].fill(None);
    }
    let mut text: String = lines.into_iter().flatten().map(|line| format!("{line}\n")).collect();
    for pair in told["packaging"].as_array().unwrap() {
        let head = format!("[target.\"{}\"]\n", pair[0].as_str().unwrap());
        text = text.replace(&head, &format!("{head}packaging = \"{}\"\n", pair[1].as_str().unwrap()));
    }
    fs::write(pipeline, text).unwrap();
}
