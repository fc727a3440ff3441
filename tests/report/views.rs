//! The forms that other tools read.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use packhold::model::RunRecord;
use packhold::report::{self, Severity, Tails};
use serde_json::Value;

use super::fixture::{EVIL, Fixture};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn assert_success(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Checks a document with Jenkins' schema.
fn assert_junit(file: &Path) {
    let schema = fixture("reports/junit-10.xsd");
    let output = Command::new("xmllint").args(["--noout", "--schema"]).arg(schema).arg(file).output();
    assert_success(&output.expect("`.ci/setup.sh test` installs libxml2-utils"));
}

/// Runs somebody else's validator.
fn validate(kind: &str, files: &[PathBuf]) -> Output {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/validators/bin/python");
    let output = Command::new(python).arg(fixture("validate.py")).arg(kind).args(files).output();
    output.expect("`.ci/setup.sh test` makes target/validators")
}

/// Checks a document with the schema of OASIS.
fn assert_sarif(file: &Path) {
    assert_success(&validate("sarif", &[file.to_owned(), fixture("reports/sarif-schema-2.1.0.json")]));
}

#[test]
fn a_run_record_is_as_its_schema_says() {
    let fixture = Fixture::new();
    let path = |name: &str| fixture.dir.path().join(name);
    std::fs::write(path("schema.json"), RunRecord::schema().as_value().to_string()).unwrap();
    let wrong = [
        ("/outcome/state", "well"),
        ("/pipeline_digest", "sha256:0"),
        ("/started", "today"),
        ("/targets/0/target", "debian-12"),
        ("/targets/0/stages/0/stage", "dance"),
    ];
    let mut files = vec![path("schema.json")];
    let mut write = |name: String, record: &Value| {
        std::fs::write(path(&name), record.to_string()).unwrap();
        files.push(path(&name));
    };
    for passes in [true, false] {
        let record = serde_json::to_value(fixture.add(u32::from(passes), passes)).unwrap();
        write(format!("good-{passes}.json"), &record);
        for (number, (place, value)) in wrong.iter().enumerate() {
            let mut record = record.clone();
            *record.pointer_mut(place).unwrap() = (*value).into();
            write(format!("wrong-{passes}-{number}.json"), &record);
        }
    }
    let output = validate("schema", &files);
    assert_success(&output);
    let refused = String::from_utf8(output.stdout).unwrap();
    for file in &files[1..] {
        let is_refused = refused.lines().any(|line| line.starts_with(&*file.to_string_lossy()));
        assert_eq!(is_refused, file.to_string_lossy().contains("wrong-"), "{}: {refused}", file.display());
    }
}

fn tails() -> Tails {
    Tails::from([("debian-12_deb.build.log".to_owned(), vec![format!("\u{1b}[31m{EVIL}]]>")])])
}

#[test]
fn every_case_of_a_run_is_in_its_junit() {
    let fixture = Fixture::new();
    let file = fixture.dir.path().join("junit.xml");
    for passes in [true, false] {
        let record = fixture.add(u32::from(passes), passes);
        let text = report::junit(&record, &tails());
        std::fs::write(&file, &text).unwrap();
        assert_junit(&file);
        let count = |what: &str| text.matches(what).count();
        let cases: usize =
            record.targets.iter().map(|target| target.stages.len() + target.checks.len()).sum();
        // The stage verify is told by its checks; a target without stages has a case of its own.
        assert_eq!(count("<testcase"), cases + record.shared.len(), "{text}");
        assert_eq!((count("<failure"), count("<error")), if passes { (0, 0) } else { (2, 1) }, "{text}");
        assert_eq!(count("<skipped"), if passes { 0 } else { 3 }, "{text}");
    }
}

#[test]
fn findings_are_sarif_that_its_schema_accepts() {
    let fixture = Fixture::new();
    let record = fixture.add(1, false);
    let file = fixture.dir.path().join("report.sarif");
    std::fs::write(&file, report::sarif(&record, "packaging/packhold file.toml")).unwrap();
    assert_sarif(&file);
    let document: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let run = &document["runs"][0];
    let results: Vec<(&str, &str)> = run["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| (result["ruleId"].as_str().unwrap(), result["level"].as_str().unwrap()))
        .collect();
    let expected = [
        ("cron-fails", "error"),
        ("lint/no-manual-page", "warning"),
        ("lint/bad-distribution", "note"),
        ("not-reproducible", "error"),
        ("oom", "error"),
    ];
    assert_eq!(results, expected);
    // What no package is to blame for is no result.
    assert_eq!(run["invocations"][0]["executionSuccessful"], false);
    let notified = &run["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"];
    assert!(notified.as_str().unwrap().contains("the mirror does not answer"));
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    for result in run["results"].as_array().unwrap() {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
        let place = &result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"];
        assert_eq!(place, "packaging/packhold%20file.toml");
    }
    assert_eq!(run["results"][2]["suppressions"][0]["status"], "accepted");

    let passed = fixture.add(2, true);
    std::fs::write(&file, report::sarif(&passed, "p.toml")).unwrap();
    assert_sarif(&file);
}

#[test]
fn a_finding_is_the_same_in_the_next_run() {
    let fixture = Fixture::new();
    let (first, second) = (fixture.add(1, false), fixture.add(2, false));
    let identities = |record| -> Vec<_> {
        let all = report::findings(record);
        all.iter()
            .filter(|finding| finding.severity != Severity::Accepted)
            .map(report::Finding::identity)
            .collect()
    };
    let mut told = identities(&first);
    assert_eq!(told, identities(&second));
    told.sort();
    told.dedup();
    assert_eq!(told.len(), 5, "and each is another one");
}

#[test]
fn gitlab_gets_what_it_needs_of_each_finding() {
    let record = Fixture::new().add(1, false);
    let all: Vec<Value> = serde_json::from_str(&report::code_quality(&record, "p.toml")).unwrap();
    assert_eq!(all.len(), 6);
    for entry in &all {
        for field in ["description", "check_name", "fingerprint"] {
            assert!(entry[field].as_str().is_some_and(|text| !text.is_empty()), "{entry}");
        }
        assert!(
            ["info", "minor", "major", "critical", "blocker"].contains(&entry["severity"].as_str().unwrap())
        );
        assert_eq!(entry["location"]["path"], "p.toml");
        assert_eq!(entry["location"]["lines"]["begin"], 1);
    }
}

#[test]
fn each_line_for_github_is_one_command() {
    let record = Fixture::new().add(1, false);
    let text = report::github_commands(&record, "p.toml");
    assert_eq!(text.lines().count(), 6, "{text}");
    for line in text.lines() {
        assert!(
            line.starts_with("::error file=p.toml,line=1,title=") || line.starts_with("::warning "),
            "{line}"
        );
    }
}

#[test]
fn a_summary_has_no_markup_of_strangers() {
    let record = Fixture::new().add(1, false);
    let text = report::markdown(&record);
    assert!(text.contains("| target | version | deps | build | verify |"), "{text}");
    assert!(!text.contains("<img") && !text.contains("<script"), "{text}");
}

#[test]
fn reports_of_an_archived_run_are_written_as_they_are_asked_for() {
    let fixture = Fixture::new();
    let record = fixture.add(1, false);
    let path = |name: &str| fixture.dir.path().join(name);
    let mut command = Command::new(env!("CARGO_BIN_EXE_packhold"));
    command.arg("report").arg(record.id.as_str()).env("PACKHOLD_ARCHIVE", fixture.archive.path());
    for (form, name) in [("junit", "j.xml"), ("sarif", "s.json"), ("html", "h.html"), ("markdown", "m.md")] {
        command.arg("--report").arg(format!("{form}={}", path(name).display()));
    }
    assert_success(&command.output().unwrap());
    assert_junit(&path("j.xml"));
    assert_sarif(&path("s.json"));
    assert!(std::fs::read_to_string(path("h.html")).unwrap().starts_with("<!DOCTYPE html>"));
    assert!(std::fs::read_to_string(path("m.md")).unwrap().contains(record.id.as_str()));

    let mut wrong = Command::new(env!("CARGO_BIN_EXE_packhold"));
    let output = wrong.args(["report", "--report", "xml=a"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("code-quality"));
}
