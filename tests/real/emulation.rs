//! Packages for another architecture, in an emulator: built, verified, archived and built again.

use std::path::{Path, PathBuf};
use std::process::Command;

use packhold::model::Architecture;
use serde_json::Value;

use crate::common::{Finished, Workplace, succeed};

const TARGET: &str = "debian-12/deb/arm64";

/// `rest` is the rest of the pipeline. The service scenario is not left out: it has to be skipped by itself.
fn pipeline(skip: &str) -> String {
    format!(
        "[package]\nname = \"hostpulse\"\n[target.\"{TARGET}\"]\n[verify]\nskip = [{skip}]\n\
         [[verify.smoke]]\nrun = \"hostpulse --version\"\noutput = \"^hostpulse [0-9]\"\n\
         [[verify.smoke]]\nrun = \"uname -m\"\noutput = \"^aarch64$\"\n"
    )
}

/// Folders of a test, and an engine whose images the next time finds again: they take minutes to make.
fn place() -> Workplace {
    let mut place = Workplace::without_repository();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/demo-agent/make-repository.sh");
    succeed("make-repository.sh", Command::new(script).arg(&place.repository).output().unwrap());
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/emulation");
    place.env.push(("XDG_DATA_HOME".to_owned(), images.display().to_string()));
    place
}

fn run(place: &Workplace, commit: &str, skip: &str) -> Finished {
    let file = place.path("pipeline.toml");
    std::fs::write(&file, pipeline(skip)).unwrap();
    let source = place.repository.display().to_string();
    let file = file.display().to_string();
    let finished = place.run(&[
        &file,
        "--source",
        &source,
        "--commit",
        commit,
        "--engine",
        "embedded",
        "--registry",
        "none",
    ]);
    assert_eq!(finished.exit, 0, "{:#}\n{}", finished.record()["targets"], finished.output.join("\n"));
    finished
}

/// The states of the checks of a scenario.
fn states<'a>(target: &'a Value, scenario: &str) -> Vec<&'a str> {
    let checks = target["checks"].as_array().unwrap().iter().filter(|check| check["scenario"] == scenario);
    checks.map(|check| check["outcome"]["state"].as_str().unwrap()).collect()
}

/// e_machine (elf(5)) of a little-endian program.
fn machine(program: &Path) -> u16 {
    let bytes = std::fs::read(program).unwrap();
    u16::from_le_bytes([bytes[18], bytes[19]])
}

#[test]
fn an_arm64_deb_is_built_installed_upgraded_archived_and_built_again_in_an_emulator() {
    let known = packhold::engine::emulators();
    assert!(
        known.iter().any(|emulator| emulator.architecture == Architecture::Arm64 && emulator.fixed),
        "no emulator for arm64 is registered with flag F: run `.ci/setup.sh test`"
    );
    let place = place();
    let before = run(&place, "v1.0.0", "\"reinstall\", \"purge\", \"no-docs\", \"lint\", \"service\"");
    let after = run(&place, "v1.1.0", "\"reinstall\", \"no-docs\", \"lint\"");
    let record = after.record();
    let target = &record["targets"][0];
    assert_eq!(target["target"], TARGET);
    for scenario in ["install", "integrity", "smoke", "remove", "purge"] {
        let states = states(target, scenario);
        assert!(
            !states.is_empty() && states.iter().all(|state| *state == "passed"),
            "{scenario}: {target:#}"
        );
    }
    // What takes an init system is skipped, the rest of an upgrade is not.
    assert_eq!(states(target, "service"), ["skipped"], "{target:#}");
    let upgrade = states(target, "upgrade");
    let (skipped, done): (Vec<&str>, Vec<&str>) =
        upgrade.into_iter().partition(|state: &&str| *state == "skipped");
    assert_eq!(skipped.len(), 1, "{target:#}");
    assert!(done.len() > 10 && done.iter().all(|state| *state == "passed"), "{target:#}");

    let name = "hostpulse_1.1.0-1_arm64.deb";
    let packages: Vec<&Value> =
        target["artifacts"].as_array().unwrap().iter().filter(|file| file["kind"] == "package").collect();
    assert!(
        packages.iter().any(|file| file["name"] == name && file["package"]["arch"] == "arm64"),
        "{packages:#?}"
    );
    for image in record["images"].as_array().unwrap() {
        assert_eq!(image["platform"], "linux/arm64", "{image:#}");
        let foreign = |package: &&Value| !["arm64", "all"].contains(&package["arch"].as_str().unwrap());
        assert_eq!(image["packages"].as_array().unwrap().iter().find(foreign), None);
    }
    let restored = place.path("restored");
    let restore = ["archive", "restore", "latest", "--to", restored.to_str().unwrap()];
    succeed("archive restore", place.command(&restore).output().unwrap());
    let deb = find(&restored, name);
    let unpack = Command::new("dpkg-deb").arg("--extract").arg(&deb).arg(place.path("unpacked")).output();
    succeed("dpkg-deb", unpack.unwrap());
    assert_eq!(machine(&place.path("unpacked/usr/bin/hostpulse")), Architecture::Arm64.elf().machine);
    let receipt = place.command(&["archive", "show", "latest", "--receipt"]).output().unwrap();
    let receipt = succeed("archive show --receipt", receipt);
    assert!(
        receipt.contains("?arch=arm64&distro=debian-12") && receipt.contains("\"linux/arm64\""),
        "{receipt}"
    );

    let replay = ["archive", "replay", "latest", "--engine", "embedded", "--format", "json"];
    let replay = succeed("archive replay", place.command(&replay).output().unwrap());
    let told: Value = serde_json::from_str(replay.lines().last().unwrap()).unwrap();
    let files = told["targets"][0]["artifacts"].as_array().unwrap();
    assert!(files.iter().any(|file| file["name"] == name), "{told:#}");
    assert!(files.iter().all(|file| file["comparison"]["verdict"] == "identical"), "{told:#}");
    let kept = [&before, &after].map(|finished| finished.record()["id"].as_str().unwrap());
    place.assert_clean(&after, &kept);
}

/// The one file of that name below a folder.
fn find(folder: &Path, name: &str) -> PathBuf {
    let found = Command::new("find").arg(folder).args(["-type", "f", "-name", name]).output().unwrap();
    PathBuf::from(succeed("find", found).trim_end())
}
