//! Real agents, unmodified, as Debian's source packages have them: debs from Debian's packaging, rpms from upstream's own
//! spec files. `tests/fixtures/fetch-sources.sh` gets them; a test whose input the mirror does not give is reported as
//! skipped with that reason.
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up fails")]

use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;

fn main() {
    let trials = [("fping", "fping"), ("nrpe", "nagios-nrpe")].map(|(pipeline, package)| {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/sources");
        let (repository, skipped) = (sources.join(package), sources.join(format!("{package}.skipped")));
        let reason = std::fs::read_to_string(skipped).ok().filter(|_| !repository.exists());
        let name = format!("{pipeline}_gives_debs_and_an_rpm_that_install_in_fresh_images");
        let trial = Trial::test(name, move || packages(pipeline, &repository));
        match reason {
            Some(reason) => trial.with_kind(format!("skipped: {}", reason.trim())).with_ignored_flag(true),
            None => trial,
        }
    });
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit();
}

fn packages(pipeline: &str, repository: &PathBuf) -> Result<(), Failed> {
    if !repository.exists() {
        return Err(
            format!("{} is missing: run tests/fixtures/fetch-sources.sh", repository.display()).into()
        );
    }
    let place = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_packhold"))
        .args(["run", pipeline, "--format", "json", "--source"])
        .arg(repository)
        .env("XDG_CACHE_HOME", place.path().join("cache"))
        .env("XDG_STATE_HOME", place.path().join("state"))
        .env("PACKHOLD_ARCHIVE", place.path().join("archive"))
        .output()
        .unwrap();
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let record: Value = serde_json::from_str(lines.lines().last().unwrap_or("null")).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:#}\n{errors}", record["targets"]);
    let targets = record["targets"].as_array().unwrap();
    let names: Vec<&str> = targets.iter().map(|target| target["target"].as_str().unwrap()).collect();
    assert_eq!(names, ["debian-12/deb", "debian-13/deb", "debian-rpm/rpm"]);
    // Rpm's database tells packages apart by their headers.
    let images = record["images"].as_array().unwrap();
    let packages = images.iter().flat_map(|image| image["packages"].as_array().unwrap());
    let headers: Vec<&Value> = packages.filter_map(|package| package.get("header_sha256")).collect();
    assert!(
        !headers.is_empty() && headers.iter().all(|header| header.as_str().unwrap().len() == 71),
        "{headers:?}"
    );
    for target in targets {
        let checks = target["checks"].as_array().unwrap();
        let done = |scenario: &str| checks.iter().any(|check| check["scenario"] == scenario);
        assert!(["install", "smoke", "remove", "purge"].into_iter().all(done), "{checks:#?}");
        // What fails is accepted with a reason by the pipeline, or is advice of the distro's lint.
        let well = |check: &Value| {
            let state = check["outcome"]["state"].as_str().unwrap();
            ["passed", "skipped"].contains(&state) || check["accepted"].is_string() || check["tier"] == "warn"
        };
        assert!(checks.iter().all(well), "{checks:#?}");
        assert!(target["warnings"].is_null(), "{}", target["warnings"]);
        let extension = if target["target"] == "debian-rpm/rpm" { ".rpm" } else { ".deb" };
        let packages = target["artifacts"].as_array().unwrap().iter();
        assert!(
            packages
                .clone()
                .any(|a| a["kind"] == "package" && a["name"].as_str().unwrap().ends_with(extension))
        );
    }
    Ok(())
}
