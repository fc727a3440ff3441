//! A year later: archived runs are built again from the archive alone.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::bad_world::OwnEngine;
use crate::common::{Workplace, git, succeed};

/// Mounted read-only until it is dropped.
struct ReadOnly(std::path::PathBuf);

impl ReadOnly {
    fn of(folder: &std::path::Path, at: std::path::PathBuf) -> Self {
        fs::create_dir(&at).unwrap();
        succeed("mount (as root)", Command::new("mount").arg("--bind").args([folder, &at]).output().unwrap());
        let mounted = Self(at);
        let again = Command::new("mount").args(["-o", "remount,bind,ro"]).arg(&mounted.0).output();
        succeed("mount (as root)", again.unwrap());
        mounted
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// The tiny agent, archived with its images.
fn with_images() -> Workplace {
    let place = Workplace::new("tinyagent");
    let pipeline = place.repository.join("packhold.toml");
    let text = fs::read_to_string(&pipeline).unwrap();
    fs::write(&pipeline, text.replace("images = false", "images = true")).unwrap();
    git(&place.repository, &["commit", "--quiet", "--all", "--message", "Keep images"]);
    place
}

#[test]
fn a_copy_alone_gives_the_same_packages_a_year_later_with_no_network_and_an_empty_engine() {
    let place = with_images();
    let run = place.run(&["--target", "debian-12/deb"]);
    assert_eq!(run.exit, 0, "{:#}", run.record());
    let copy = place.path("copy");
    let copied = place.command(&["archive", "copy", "latest", "--to", copy.to_str().unwrap()]).output();
    succeed("archive copy", copied.unwrap());
    let archived = packhold::archive::Archive::open(&copy).unwrap();
    let images = run.record()["images"].as_array().unwrap();
    for role in ["base", "builder", "deps", "verify"] {
        let of_role: Vec<&Value> = images.iter().filter(|image| image["role"] == role).collect();
        assert!(!of_role.is_empty(), "{role}");
        for image in of_role {
            archived.image(&image["id"].as_str().unwrap().parse().unwrap()).unwrap();
        }
    }
    fs::remove_dir_all(&place.archive).unwrap();
    fs::remove_dir_all(&place.repository).unwrap();
    fs::create_dir(&place.repository).unwrap();
    let read_only = ReadOnly::of(&copy, place.path("media"));
    let engine = OwnEngine::start(&place.path("engine"));

    // The program has no interface but a loopback that is down, and the clock of next year; the engine has no network at all.
    let wanted = place.command(&["archive", "replay", "latest", "--format", "json"]);
    let mut replay = Command::new("unshare");
    replay.args(["--net", "faketime", "+365 days"]).arg(wanted.get_program()).args(wanted.get_args());
    for (name, value) in wanted.get_envs() {
        replay.env(name, value.unwrap_or_default());
    }
    replay.env("PACKHOLD_ARCHIVE", &read_only.0).env("DOCKER_HOST", engine.address());
    let output = replay.current_dir(&place.repository).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}\n{errors}");
    let then = run.record()["targets"][0]["artifacts"].as_array().unwrap();
    assert_identical(&said, then.len());

    // Nor does it take a daemon: with the sockets of Docker and podman hidden, this program runs the containers itself, from an
    // engine's folder in which nothing is yet.
    drop(engine);
    let wanted = place.command(&["archive", "replay", "latest", "--format", "json"]);
    let mut replay = Command::new("unshare");
    replay.args(["--net", "--mount", "sh", "-euc", WITHOUT_DAEMON, "sh"]);
    replay.arg(wanted.get_program()).args(wanted.get_args());
    for (name, value) in wanted.get_envs() {
        replay.env(name, value.unwrap_or_default());
    }
    replay.env("PACKHOLD_ARCHIVE", &read_only.0).env("XDG_DATA_HOME", place.path("data"));
    replay
        .env("XDG_CACHE_HOME", place.path("empty-cache"))
        .env_remove("DOCKER_HOST")
        .env_remove("CONTAINER_HOST");
    let output = replay.current_dir(&place.repository).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}\n{errors}");
    assert_identical(&said, then.len());
    let told: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    let engines = told["environment"].as_array().unwrap().iter().find(|member| member["member"] == "engine");
    let engines = engines.unwrap()["what"].as_str().unwrap();
    assert!(engines.starts_with("docker ") && engines.contains("→ embedded "), "{engines}");
}

/// Runs a command where nothing listens on the sockets of Docker and podman, in a network whose only interface is a loopback.
const WITHOUT_DAEMON: &str = r#"
test "$(tail -n +3 /proc/net/dev | cut -d : -f 1 | tr -d ' ')" = lo
for socket in /run/docker.sock /run/podman/podman.sock "${XDG_RUNTIME_DIR:-/nonexistent}/podman/podman.sock"; do
    if [ -e "$socket" ]; then mount --bind /dev/null "$socket"; fi
done
! curl --silent --max-time 5 --unix-socket /var/run/docker.sock http://localhost/_ping
exec "$@"
"#;

/// What a replay has told: so many files, each the same as then.
fn assert_identical(said: &str, many: usize) {
    let told: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    let files = told["targets"][0]["artifacts"].as_array().unwrap();
    assert!(files.iter().any(|file| file["name"].as_str().unwrap().ends_with("_amd64.deb")), "{told:#}");
    for file in files {
        assert_eq!(file["comparison"]["verdict"], "identical", "{file:#}");
        assert_eq!(file["archived"], file["built"]);
    }
    assert_eq!(files.len(), many);
}

#[test]
fn what_a_build_takes_from_the_clock_is_told_by_the_member_that_differs() {
    let place = with_images();
    let rules = place.repository.join("debian/rules");
    let text = fs::read_to_string(&rules).unwrap();
    fs::write(
        &rules,
        text + "\noverride_dh_install:\n\tdh_install\n\tdate +%s.%N > debian/tinyagent/usr/built\n",
    )
    .unwrap();
    git(&place.repository, &["commit", "--quiet", "--all", "--message", "Remember the time"]);
    let run = place.run(&["--target", "debian-12/deb"]);
    assert!(!run.record()["targets"][0]["artifacts"].as_array().unwrap().is_empty(), "{:#}", run.record());
    let keep = place.path("keep");
    let replay =
        place.command(&["archive", "replay", "latest", "--keep", keep.to_str().unwrap()]).output().unwrap();
    let said = String::from_utf8_lossy(&replay.stdout).into_owned();
    assert_eq!(replay.status.code(), Some(1), "{said}{}", String::from_utf8_lossy(&replay.stderr));
    assert!(said.contains("data.tar/usr/built: line 1: `"), "{said}");
    assert!(said.contains("packages   in its deps image are those that were recorded"), "{said}");
    assert!(said.contains("not everything is what it was"), "{said}");
    let kept = |which: &str| fs::read_dir(keep.join("debian-12_deb").join(which)).unwrap().count();
    assert!(kept("archived") > 0 && kept("archived") == kept("built"));

    let report = place.path("report.xml");
    let arguments = ["archive", "drill", "--sample", "5", "--seed", "1", "--junit", report.to_str().unwrap()];
    let drill = place.command(&arguments).output().unwrap();
    let said = String::from_utf8_lossy(&drill.stdout).into_owned();
    assert_eq!(drill.status.code(), Some(1), "{said}");
    let id = run.record()["id"].as_str().unwrap();
    assert!(said.lines().count() == 1 && said.starts_with(id) && said.ends_with("differs\n"), "{said}");
    let report = fs::read_to_string(report).unwrap();
    assert!(report.contains(&format!("name=\"{id}\"")) && report.contains("<failure"), "{report}");
}
