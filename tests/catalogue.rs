//! Every class of the catalogue of broken packages (tests/fixtures/catalogue) is found, for its own reason, and the clean
//! package passes everything. `make.sh` of the catalogue makes the packages.
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;

fn main() {
    let mut trials = Vec::new();
    for format in ["deb", "rpm"] {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/catalogue").join(format);
        let entries = fs::read_dir(sources).unwrap().map(|entry| entry.unwrap().path());
        let mut classes: Vec<String> =
            entries.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
        classes.sort();
        trials.push(Trial::test(format!("{format}::clean"), move || clean(format)));
        trials.extend(
            classes
                .into_iter()
                .map(|class| Trial::test(format!("{format}::{class}"), move || broken(format, &class))),
        );
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// Nothing is wrong with the clean package, and every scenario looked at it.
fn clean(format: &str) -> Result<(), Failed> {
    let record = verify(format, "clean", &[], 0)?;
    for scenario in [
        "install",
        "integrity",
        "smoke",
        "reinstall",
        "remove",
        "purge",
        "service",
        "upgrade",
        "rollback",
        "no-docs",
        "lint",
    ] {
        let mut checks = checks(&record).filter(|check| check["scenario"] == scenario);
        if !checks.any(|check| check["outcome"]["state"] == "passed") {
            return Err(format!("nothing of {scenario} passed: {record:#}").into());
        }
    }
    Ok(())
}

/// What is wrong is found in its scenario, and told by its reason and object; what is no consequence of it is not told.
fn broken(format: &str, class: &str) -> Result<(), Failed> {
    let expected = expected(&folder(format, class).join("expected"));
    let scenario = &expected["scenario"][0];
    // Those before it are what it starts from; others would only cost time.
    let lifecycle = ["install", "integrity", "smoke", "reinstall", "remove", "purge"];
    let scenarios: Vec<&str> = match lifecycle.iter().position(|word| word == scenario) {
        Some(0) => vec!["install"],
        Some(_) => vec!["install", scenario],
        None => vec![scenario],
    };
    let record = verify(format, class, &scenarios, 1)?;
    let reason = &expected["reason"][0];
    let also: Vec<&String> = expected.get("also").into_iter().flatten().collect();
    let mut found = false;
    for check in checks(&record).filter(|check| fails(check)) {
        let told = check["outcome"]["reason"].as_str().unwrap_or_default();
        if told != reason {
            if !also.iter().any(|word| *word == told) {
                return Err(format!("{told} has nothing to do with it: {check:#}").into());
            }
            continue;
        }
        let text = format!("{} {} {}", check["object"], check["outcome"]["message"], check["evidence"]);
        found |= check["scenario"] == **scenario && text.contains(&expected["object"][0]);
    }
    if found { Ok(()) } else { Err(format!("{expected:?} is not told: {record:#}").into()) }
}

fn checks(record: &Value) -> impl Iterator<Item = &Value> {
    record["checks"].as_array().into_iter().flatten()
}

/// Whether the package does not pass because of a check.
fn fails(check: &Value) -> bool {
    check["outcome"]["state"] == "failed" && check["tier"] == "require" && check["accepted"].is_null()
}

fn folder(format: &str, class: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/catalogue").join(format).join(class)
}

/// The lines `key: value` of a class.
fn expected(path: &Path) -> BTreeMap<String, Vec<String>> {
    let text = fs::read_to_string(path)
        .unwrap_or_else(|error| panic!("{}: {error}: run make.sh of the catalogue first", path.display()));
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text.lines() {
        let (key, value) = line.split_once(": ").unwrap();
        all.entry(key.to_owned()).or_default().push(value.to_owned());
    }
    all
}

/// Runs `packhold verify` on a class, with only some scenarios or with all, and gives the record.
fn verify(format: &str, class: &str, scenarios: &[&str], code: i32) -> Result<Value, Failed> {
    let folder = folder(format, class);
    let place = tempfile::tempdir().unwrap();
    let target = if format == "deb" { "debian-12/deb" } else { "debian-rpm/rpm" };
    let mut command = Command::new(env!("CARGO_BIN_EXE_packhold"));
    command.args(["verify", "--format", "json", "--target", target, "--pipeline"]);
    command.arg(folder.join("verify.toml"));
    for scenario in scenarios {
        command.args(["--scenario", scenario]);
    }
    // Without the release before, a package starts from a smaller image.
    if scenarios.is_empty() || scenarios.iter().any(|word| ["upgrade", "rollback"].contains(word)) {
        for file in packages(&folder.join("old"), format) {
            command.arg("--upgrade-from").arg(file);
        }
    }
    let output = command
        .args(packages(&folder.join("new"), format))
        .env("XDG_STATE_HOME", place.path().join("state"))
        .env("PACKHOLD_ARCHIVE", place.path().join("archive"))
        .output()
        .unwrap();
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.code() != Some(code) {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{}: {errors}\n{}", output.status, tail(&lines)).into());
    }
    Ok(serde_json::from_str(lines.lines().last().unwrap_or("null")).unwrap())
}

fn packages(folder: &Path, format: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == format)).collect();
    files.sort();
    files
}

/// The end of what was said.
fn tail(lines: &str) -> String {
    let lines: Vec<&str> = lines.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
