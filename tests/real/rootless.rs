//! The embedded engine of an ordinary user gives what root's engine gives.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;

use crate::common::{Workplace, git, succeed};
use crate::rootless::{Place, USER};

/// The archived run of the tiny agent by root, in Docker, with its images: an ordinary user's engine then need not make them.
fn by_root() -> (Workplace, Value) {
    let place = Workplace::new("tinyagent");
    let pipeline = place.repository.join("packhold.toml");
    let text = fs::read_to_string(&pipeline).unwrap();
    let text = text.replace("images = false", "images = true").replace("\"service\", ", "");
    fs::write(&pipeline, text).unwrap();
    git(&place.repository, &["commit", "--quiet", "--all", "--message", "Keep images"]);
    let run = place.run(&["--target", "debian-12/deb"]);
    assert_eq!(run.exit, 0, "{:#}", run.record());
    let record = run.record().clone();
    (place, record)
}

/// Name → digest.
fn packages(record: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let artifacts = record["targets"][0]["artifacts"].as_array().unwrap().iter();
    artifacts.map(|artifact| (text(&artifact["name"]), text(&artifact["digest"]))).collect()
}

#[test]
fn an_ordinary_user_builds_verifies_archives_and_replays_the_same_packages() {
    let (root, then) = by_root();
    let user = Place::new();
    let home = user.path().join("home");
    for (from, name) in [(&root.archive, "archive"), (&root.repository, "tinyagent")] {
        succeed("cp", Command::new("cp").arg("-a").arg(from).arg(home.join(name)).output().unwrap());
    }
    let owner = format!("{USER}:");
    succeed("chown", Command::new("chown").args(["-R", &owner]).arg(&home).output().unwrap());
    let packhold = |arguments: &[&str]| -> Output {
        let mut command = user.command(&user.path().join("packhold"));
        command.args(arguments).args(["--engine", "embedded", "--archive"]).arg(home.join("archive"));
        command.current_dir(home.join("tinyagent")).output().unwrap()
    };

    let plan = succeed("plan", packhold(&["plan"]));
    for words in
        ["memory, processes and processors", "no device node", "no systemd can run there: debian-12/deb"]
    {
        assert!(plan.contains(words), "{words}: {plan}");
    }
    let run = packhold(&["run", "--rebuild", "--format", "json"]);
    let lines = succeed("run", run);
    let record: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!(record["engine"]["kind"], "embedded");
    assert_eq!(packages(&record), packages(&then));
    assert!(packages(&record).iter().any(|(name, _)| name.ends_with("_amd64.deb")), "{record:#}");
    let of = |role: &str, record: &Value| {
        let images = record["images"].as_array().unwrap().iter();
        images.filter(|image| image["role"] == role).map(|image| image["id"].clone()).collect::<Vec<_>>()
    };
    for role in ["base", "builder", "deps"] {
        assert_eq!(of(role, &record), of(role, &then), "{role}");
    }
    // What it cannot do is said where it would have been done.
    assert!(lines.contains("are not limited"), "no warning of limits");

    let replay = succeed("replay", packhold(&["archive", "replay", "latest", "--format", "json"]));
    let told: Value = serde_json::from_str(replay.lines().last().unwrap()).unwrap();
    let files = told["targets"][0]["artifacts"].as_array().unwrap();
    assert_eq!(files.len(), packages(&then).len());
    for file in files {
        assert_eq!(file["comparison"]["verdict"], "identical", "{file:#}");
    }
    // Nothing of a container stays, and what was stored can be removed by whom it belongs to.
    let engine = home.join(".local/share/packhold/engine");
    assert_eq!(fs::read_dir(engine.join("containers")).unwrap().count(), 0);
    let mut unshare = user.command(&user.path().join("packhold"));
    unshare.args(["unshare", "rm", "-r"]).arg(&engine);
    succeed("unshare", unshare.output().unwrap());
    assert!(!engine.exists());
}

#[test]
fn a_user_without_subordinate_ids_is_told_what_is_missing() {
    let user = Place::new();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65533", "--regid", "65533", "--clear-groups", "env", "-i"]);
    command.args(["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/nonexistent"]);
    command.arg(user.path().join("packhold")).args(["clean", "--engine", "embedded"]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("65536 subordinate ids of the user 65533 in /etc/subuid"), "{said}");
}
