//! A shell where a build failed, on each engine, with and without a terminal.

use std::fs;
use std::io::Write;
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::common::{Workplace, containers_of, git, succeed};
use crate::screen::Screen;

const TARGET: &str = "debian-12/deb";

/// The agent that does not compile, with a file that its prepare script makes, archived after it failed; with its images, where another
/// engine is to have them.
fn failed_build(images: bool) -> (Workplace, Value) {
    let place = Workplace::new("compile-error");
    let pipeline = place.repository.join("packhold.toml");
    let text = fs::read_to_string(&pipeline).unwrap();
    let text = text.replace("images = false", &format!("images = {images}"));
    let target = "[target.\"debian-12/deb\"]\n";
    let ours = "prepare = \"echo it was prepared >made\"\nenv = { LEVEL = \"2\" }\n";
    fs::write(&pipeline, text.replace(target, &format!("{target}{ours}"))).unwrap();
    git(&place.repository, &["commit", "--quiet", "--all", "--message", "Prepare something"]);
    let run = place.run(&["--target", TARGET]);
    assert_eq!(run.exit, 1, "{:#}", run.record());
    (place, run.record().clone())
}

/// Runs `packhold shell` with an input, and checks that it leaves nothing.
fn shell(place: &Workplace, arguments: &[&str], input: &str) -> Output {
    let mut command = place.command(&["shell", TARGET]);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert_eq!(containers_of(pid), [""; 0], "containers are left");
    place.assert_clean_host(&[]);
    output
}

#[test]
fn a_shell_stands_where_the_build_failed_on_every_engine() {
    let (place, record) = failed_build(true);
    let id = record["id"].as_str().unwrap();
    commands_are_run(&place, id);
    for engine in ["docker", "embedded"] {
        a_person_works(&place, engine);
    }
    place.assert_clean_host(&[]);
    let engine = place.path(".local/share/packhold/engine/containers");
    assert_eq!(fs::read_dir(engine).unwrap().count(), 0);
}

/// Without a terminal.
fn commands_are_run(place: &Workplace, id: &str) {
    let input = "cat made\nhead -n 1 tinyagent.c\npwd\nid -u\necho level $LEVEL of $PACKHOLD_TARGET\n\
                 cat /proc/net/dev | grep -c :\ngrep CapEff /proc/self/status\nexit 5\n";
    for engine in ["docker", "embedded"] {
        let output = shell(place, &["--engine", engine], input);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let expected = "it was prepared\n#include <stdio.h>\n/build/source\n10000\nlevel 2 of debian-12/deb\n\
                        1\nCapEff:\t0000000000000000\n";
        assert_eq!(out, expected, "{engine}: {err}");
        assert_eq!(output.status.code(), Some(5), "{engine}: {err}");
        for words in [id, "network off", "build the packages: to run it: /bin/sh -eu /packhold/build.sh"] {
            assert!(err.contains(words), "{engine}: {words}: {err}");
        }
    }
    // What is said to run it again does, and fails as it did.
    let again = shell(place, &["--run", id], "/bin/sh -eu /packhold/build.sh 2>&1\n");
    let said = String::from_utf8_lossy(&again.stdout).into_owned();
    assert!(said.contains("tinyagent.c:5:") && !again.status.success(), "{said}");
    // After the failed step there is what it has left.
    let after =
        shell(place, &["--after"], "ls debian/files debian/tmp debian/.debhelper 2>/dev/null | wc -l\n");
    assert_ne!(String::from_utf8_lossy(&after.stdout).trim(), "0");
    let error = String::from_utf8_lossy(&after.stderr).into_owned();
    assert!(error.contains("was run again and ended with exit status 2"), "{error}");
}

/// At a terminal.
fn a_person_works(place: &Workplace, engine: &str) {
    let mut command = place.command(&["shell", TARGET, "--engine", engine]);
    command.env("TERM", "screen");
    let screen = Screen::start(place.path(&format!("tmux-{engine}")), 100, 30, &command);
    let prompt = "[debian-12/deb build] ~/source$";
    screen.wait_for(prompt, |lines| lines.last_command().starts_with(prompt));
    screen.type_line("stty size; tty; cat made; echo $TERM");
    for shown in ["30 100", "/dev/pts/", "it was prepared"] {
        screen.wait_for_text(shown);
    }
    screen.resize(71, 22);
    screen.type_line("stty size");
    screen.wait_for_text("22 71");
    // ctrl-c is for what runs in there.
    screen.type_line("sleep 1000");
    screen.wait_for_text("sleep 1000");
    screen.press(&["C-c"]);
    screen.type_line("echo interrupted $?");
    screen.wait_for_text("interrupted 130");
    screen.type_line("exit 7");
    let lines = screen.wait_for_text("exit status 7");
    assert!(lines.iter().any(|line| line == "the container is removed"), "{engine}: {lines:#?}");
}

/// What a screen shows last.
trait LastCommand {
    fn last_command(&self) -> &str;
}

impl LastCommand for [String] {
    fn last_command(&self) -> &str {
        self.iter().rev().find(|line| !line.is_empty()).map_or("", String::as_str)
    }
}

#[test]
fn why_and_diff_tell_of_a_real_failure() {
    let (place, record) = failed_build(false);
    let id = record["id"].as_str().unwrap();
    let text = succeed("why", place.command(&["why", TARGET]).output().unwrap());
    for words in [
        "failed(build, step-exit)",
        "it does not compile: tinyagent.c:5:",
        "packhold shell debian-12/deb --run",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let json = succeed("why", place.command(&["why", id, "--format", "json"]).output().unwrap());
    let told: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(told["targets"][0]["failure"]["step"]["exit"], 2, "{told:#}");
    let fault = place.repository.join("tinyagent.c");
    let text = fs::read_to_string(&fault).unwrap().replace("puts(\"tinyagent\")", "puts(\"tinyagent\");");
    fs::write(&fault, text).unwrap();
    git(&place.repository, &["commit", "--quiet", "--all", "--message", "Mend it"]);
    let mended = place.run(&["--target", TARGET]);
    assert_eq!(mended.exit, 0, "{:#}", mended.record());
    let diff = place.command(&["diff", id, "latest"]).output().unwrap();
    let text = succeed("diff", diff);
    for words in ["~ tinyagent.c", "failed(build, step-exit) → passed", "package tinyagent: – → "] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let diff = place.command(&["diff", id, "latest", "--format", "json"]).output().unwrap();
    let told: Value = serde_json::from_str(&succeed("diff", diff)).unwrap();
    assert_eq!(told["source"]["changed"], serde_json::json!(["tinyagent.c"]));
    let unknown = place.command(&["why", "rocky-9/rpm"]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(2));
}
