//! Bad input: exit code 2, a message that names the object, a hint, and nothing left behind.

use std::fs;

use crate::common::{Expected, Workplace, expected, git};

/// Runs a fixture whose pipeline or commit cannot be used.
fn refused(fault: &str) {
    let place = Workplace::new(fault);
    let seed = place.seed();
    let finished = place.run(&[]);
    finished.assert_is(&expected(fault));
    place.assert_clean(&finished, &[&seed]);
}

/// Runs with arguments that cannot be used, or in a folder that cannot.
fn refuses(place: &Workplace, arguments: &[&str], error: &str, hint: &str) {
    let seed = place.seed();
    let finished = place.run(arguments);
    finished.assert_is(&Expected {
        exit: 2,
        error: vec![error.to_owned()],
        hint: hint.to_owned(),
        state: None,
        stage: None,
        reason: None,
        message: Vec::new(),
        log: String::new(),
    });
    place.assert_clean(&finished, &[&seed]);
}

#[test]
fn an_unknown_key_is_refused_with_its_line() {
    refused("unknown-key");
}

#[test]
fn an_unknown_builder_is_refused_with_its_line() {
    refused("unknown-builder");
}

#[test]
fn an_unknown_target_is_refused() {
    let place = Workplace::new("tinyagent");
    refuses(
        &place,
        &["--target", "debian-13/deb"],
        "no target `debian-13/deb`",
        "did you mean `debian-12/deb`?",
    );
}

#[test]
fn an_unknown_commit_is_refused() {
    let place = Workplace::new("tinyagent");
    refuses(
        &place,
        &["--commit", "v1.0.1"],
        "`v1.0.1` is not a commit, a tag or a branch",
        "did you mean `v1.0.0`?",
    );
}

#[test]
fn a_pipeline_that_does_not_exist_is_refused() {
    let place = Workplace::new("tinyagent");
    refuses(&place, &["demoo"], "there is no pipeline `demoo`", "did you mean `demo`?");
}

#[test]
fn a_folder_that_is_no_repository_is_refused() {
    let place = Workplace::without_repository();
    let folder = place.repository.display().to_string();
    refuses(
        &place,
        &["demo", "--source", &folder],
        &format!("{folder} is not in a git repository"),
        "git init",
    );
}

#[test]
fn a_repository_without_commits_is_refused() {
    let place = Workplace::without_repository();
    git(&place.repository, &["init", "--quiet", "--template="]);
    let folder = place.repository.display().to_string();
    refuses(&place, &["demo", "--source", &folder], "has no commits", "commit the sources first");
}

#[test]
fn a_commit_without_its_debian_folder_is_broken() {
    refused("no-debian-folder");
}

#[test]
fn a_commit_without_its_spec_file_is_broken() {
    refused("no-spec-file");
}

#[test]
fn a_dirty_working_tree_is_said_so_and_not_built() {
    let place = Workplace::new("no-debian-folder");
    let clean = place.run(&[]);
    fs::write(place.repository.join("tinyagent.c"), "#error not this one\n").unwrap();
    let dirty = place.run(&[]);
    dirty.assert_is(&expected("no-debian-folder"));
    let (clean, record) = (&clean.record()["source"], &dirty.record()["source"]);
    assert_eq!((&clean["dirty"], &record["dirty"]), (&false.into(), &true.into()));
    assert_eq!(clean["tree"], record["tree"], "uncommitted changes are in the source tree");
    assert!(dirty.record()["warnings"][0].as_str().unwrap().contains("uncommitted changes"));
    place.assert_clean(&dirty, &[]);
}

#[test]
fn two_clones_of_a_commit_give_the_same_source_and_the_same_packages() {
    let first = Workplace::new("tinyagent");
    let second = Workplace::without_repository();
    git(&second.repository, &["clone", "--quiet", first.repository.to_str().unwrap(), "."]);
    let runs = [&first, &second].map(|place| {
        let finished = place.run(&[]);
        finished.assert_is(&expected("tinyagent"));
        let record = finished.record().clone();
        place.assert_clean(&finished, &[record["id"].as_str().unwrap()]);
        record
    });
    assert_eq!(runs[0]["source"]["tree"], runs[1]["source"]["tree"]);
    let packages = runs.each_ref().map(|record| &record["targets"][0]["artifacts"]);
    assert!(packages[0].as_array().is_some_and(|artifacts| !artifacts.is_empty()), "{}", runs[0]);
    assert_eq!(packages[0], packages[1]);
    assert!(
        runs.iter().all(|run| run["targets"][0]["stages"][1]["reused"].is_null()),
        "the second was not built"
    );
}
