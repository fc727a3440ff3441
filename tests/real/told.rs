//! What CI servers are told of a build that fails, with what the build printed in between.

use std::fs;

use serde_json::Value;

use crate::common::{Workplace, fixture, git};

/// A commit whose build prints what GitHub's runner and GitLab would take for their own, and then does not compile.
fn shouting() -> Workplace {
    let place = Workplace::new("compile-error");
    let rules = place.repository.join("debian/rules");
    let plain = fs::read_to_string(fixture("tinyagent").join("debian/rules")).unwrap();
    let shouts = "override_dh_auto_build:\n\t@echo '::error file=innocent.c,line=1::not ours'\n\t@echo '::set-env name=PATH::/tmp'\n\tdh_auto_build\n";
    fs::write(rules, format!("{plain}\n{shouts}")).unwrap();
    git(&place.repository, &["commit", "--quiet", "--all", "--message", "Shout"]);
    place
}

#[test]
fn github_and_gitlab_are_told_of_a_failed_build_and_take_nothing_that_it_prints_for_a_command() {
    let place = shouting();
    let summary = place.path("summary.md");
    fs::write(&summary, "Of an earlier step\n").unwrap();
    let mut command = place.command(&["run", "--format", "plain"]);
    command.env("GITHUB_ACTIONS", "true").env("GITHUB_WORKSPACE", &place.repository);
    let output = command.env("GITHUB_STEP_SUMMARY", &summary).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{printed}");

    let lines: Vec<&str> = printed.lines().collect();
    let at = |wanted: &dyn Fn(&str) -> bool| lines.iter().position(|line| wanted(line)).expect(&printed);
    let begin = at(&|line| line.starts_with("::stop-commands::"));
    let token = lines[begin].strip_prefix("::stop-commands::").unwrap();
    let end = at(&|line| line == format!("::{token}::"));
    let shouted = at(&|line| line.contains("::error file=innocent.c"));
    assert!(begin < shouted && shouted < end, "{printed}");
    let commands = || lines[..begin].iter().chain(&lines[end + 1..]).filter(|line| line.starts_with("::"));
    assert_eq!(commands().count(), 1, "{printed}");
    let error = commands().next().unwrap();
    assert!(
        error.starts_with("::error ") && error.contains("debian-12/deb") && error.contains("build"),
        "{error}"
    );
    let summary = fs::read_to_string(summary).unwrap();
    assert!(summary.starts_with("Of an earlier step\n"), "{summary}");
    assert!(summary.contains("debian-12/deb") && summary.contains("ended with exit status 2"), "{summary}");

    let mut command = place.command(&["run", "--format", "plain"]);
    command.env("GITLAB_CI", "true").env("CI_PROJECT_DIR", place.path(""));
    let output = command.output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{printed}");
    assert!(!printed.contains("::stop-commands::"), "{printed}");
    let junit = fs::read_to_string(place.path("packhold-junit.xml")).unwrap();
    assert!(junit.contains("<failure") && junit.contains("tinyagent.c:5:"), "{junit}");
    let quality = fs::read_to_string(place.path("gl-code-quality-report.json")).unwrap();
    assert!(serde_json::from_str::<Value>(&quality).unwrap().is_array(), "{quality}");
}
