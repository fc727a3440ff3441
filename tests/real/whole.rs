//! The whole way: the demo agent from commit to restored package, twice the same, and from a registry.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use packhold::model::Digest;
use serde_json::Value;

use crate::common::{Workplace, docker, git, succeed};

/// Makes the demo agent's repository.
pub fn demo_repository(dest: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/demo-agent/make-repository.sh");
    succeed("make-repository.sh", Command::new(script).arg(dest).output().unwrap());
}

/// Target → name → digest.
fn digests(record: &Value) -> Vec<(String, String, String)> {
    let mut all = Vec::new();
    for target in record["targets"].as_array().unwrap() {
        for artifact in target["artifacts"].as_array().unwrap() {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            all.push((text(&target["target"]), text(&artifact["name"]), text(&artifact["digest"])));
        }
    }
    all
}

fn image<'a>(record: &'a Value, role: &str) -> &'a Value {
    record["images"].as_array().unwrap().iter().find(|image| image["role"] == role).unwrap()
}

#[test]
fn the_same_commit_in_two_clones_gives_bit_identical_packages() {
    let place = Workplace::without_repository();
    demo_repository(&place.path("one"));
    let two = place.path("two");
    git(&place.repository, &["clone", "--quiet", place.path("one").to_str().unwrap(), two.to_str().unwrap()]);
    let first = place.run(&["demo", "--source", place.path("one").to_str().unwrap(), "--rebuild"]);
    assert_eq!(first.exit, 0, "{:#}", first.record()["targets"]);
    // Without what the first run knew, but for the engine's images.
    let fresh = Workplace::without_repository();
    let second = fresh.run(&["demo", "--source", two.to_str().unwrap()]);
    assert_eq!(second.exit, 0, "{:#}", second.record()["targets"]);
    assert_eq!(first.record()["source"]["tree"], second.record()["source"]["tree"]);
    let digests = (digests(first.record()), digests(second.record()));
    assert_eq!(digests.0, digests.1);
    for extension in ["_amd64.deb", ".x86_64.rpm"] {
        assert!(digests.0.iter().any(|(_, name, _)| name.ends_with(extension)), "{digests:#?}");
    }
    place.assert_clean(&first, &[]);

    let again = place.run(&["demo", "--source", two.to_str().unwrap()]);
    let id = first.record()["id"].as_str().unwrap();
    for target in again.record()["targets"].as_array().unwrap() {
        for (stage, what) in [("build", "packages of run"), ("verify", "checks of run")] {
            let stages = target["stages"].as_array().unwrap();
            let reused = stages.iter().find(|s| s["stage"] == stage).unwrap()["reused"].as_str().unwrap();
            assert_eq!(reused, format!("{what} {id}"));
        }
    }
    restores(&place, id, &digests.0);
    // The repositories are gone; what the changelogs tell of them is in the archive.
    assert_eq!(first.record()["source"]["changes"]["since"], "v1.0.0");
    for repository in ["one", "two"] {
        fs::remove_dir_all(place.path(repository)).unwrap();
    }
    let replay = place.command(&["archive", "replay", id, "--format", "json"]).output().unwrap();
    let told: Value = serde_json::from_str(succeed("replay", replay).lines().last().unwrap()).unwrap();
    let files = told["targets"].as_array().unwrap().iter().flat_map(|t| t["artifacts"].as_array().unwrap());
    let verdicts: Vec<&Value> = files.map(|file| &file["comparison"]["verdict"]).collect();
    assert!(verdicts.len() == digests.0.len() && verdicts.iter().all(|v| *v == "identical"), "{told:#}");
}

#[test]
fn a_release_is_upgraded_from_the_one_that_was_archived_before_it() {
    let place = Workplace::without_repository();
    demo_repository(&place.path("demo"));
    let source = place.path("demo").display().to_string();
    let arguments = ["demo", "--source", &source, "--target", "debian-12/deb", "--commit"];
    let run = |commit: &str| {
        let finished = place.run(&[&arguments[..], &[commit]].concat());
        assert_eq!(finished.exit, 0, "{:#}", finished.record()["targets"]);
        finished.record()["targets"][0]["checks"].as_array().unwrap().clone()
    };
    let of = |checks: &[Value], scenario: &str| -> Vec<Value> {
        checks.iter().filter(|check| check["scenario"] == scenario).cloned().collect()
    };
    let first = of(&run("v1.0.0"), "upgrade");
    let why = "no earlier release of this target is archived";
    assert!(matches!(&first[..], [check] if check["outcome"]["why"] == why), "{first:#?}");
    let checks = run("v1.1.0");
    let passed = |check: &Value| check["outcome"]["state"] == "passed";
    let upgrade = of(&checks, "upgrade");
    for wanted in [
        "upgrade from the release before",
        "configuration that the administrator changed survives",
        "configuration that nobody changed is that of the new release",
        "data survives",
        "services run the new program",
    ] {
        assert!(upgrade.iter().any(|c| c["check"] == wanted && passed(c)), "{wanted}: {upgrade:#?}");
    }
    let service = of(&checks, "service");
    assert!(!service.is_empty() && service.iter().all(passed), "{service:#?}");
}

/// What is archived comes back: artifacts as files, and an image in the engine under a chosen name.
fn restores(place: &Workplace, run: &str, digests: &[(String, String, String)]) {
    let dest = place.path("restored");
    let restore = place.command(&["archive", "restore", run, "--to", dest.to_str().unwrap()]).output();
    succeed("archive restore", restore.unwrap());
    for (target, name, digest) in digests {
        let bytes = fs::read(dest.join(target.replace('/', "_")).join(name)).unwrap();
        assert_eq!(Digest::of(bytes).to_string(), *digest, "{name}");
    }
    let name = format!("packhold-restored:{}", std::process::id());
    let show = place.command(&["archive", "show", run, "--format", "json"]).output();
    let record: Value = serde_json::from_str(&succeed("archive show", show.unwrap())).unwrap();
    let id = image(&record, "deps")["id"].as_str().unwrap().to_owned();
    let target = image(&record, "deps")["builder"].as_str().unwrap().to_owned();
    let target = if target == "debian-12" { "debian-12/deb" } else { "debian-rpm/rpm" };
    let arguments = ["archive", "restore", run, "--target", target, "--image", "deps", "--as", &name];
    succeed("archive restore --image", place.command(&arguments).output().unwrap());
    let loaded = docker(&["image", "inspect", "--format", "{{.Id}}", &name]);
    docker(&["image", "rm", &name]);
    assert_eq!(loaded.trim(), id);
}

#[test]
fn a_shared_prepare_stage_hands_its_outputs_to_the_targets() {
    let place = Workplace::without_repository();
    demo_repository(&place.path("demo"));
    let pipeline = r#"
        [package]
        name = "hostpulse"
        [prepare]
        builder = "debian-12"
        deps = ["gcc", "libc6-dev", "make", "zlib1g-dev"]
        script = "make VERSION=9.8.7; mkdir -p dist/bin; cp build/hostpulse dist/bin/"
        outputs = ["dist/bin"]
        [target."debian-12/deb"]
        prepare = "$PACKHOLD_PREPARED/dist/bin/hostpulse --version"
        [archive]
        images = false
    "#;
    fs::write(place.path("p.toml"), pipeline).unwrap();
    let (file, source) = (place.path("p.toml"), place.path("demo"));
    let finished = place.run(&[file.to_str().unwrap(), "--source", source.to_str().unwrap()]);
    assert_eq!(finished.exit, 0, "{:#}", finished.record());
    let shared = finished.record()["shared"].as_array().unwrap();
    assert!(shared.iter().any(|stage| stage["stage"] == "prepare" && stage["outcome"]["state"] == "passed"));
    let log = place.command(&["log", "latest", "debian-12/deb"]).output();
    let log = succeed("log", log.unwrap());
    assert!(
        log.lines().any(|line| line == "hostpulse 9.8.7"),
        "the target did not run what was prepared: {log}"
    );
    place.assert_clean(&finished, &[]);
}

/// Debian's docker-registry on loopback.
struct Registry {
    process: Child,
    address: String,
}

impl Registry {
    fn start(folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let config = folder.join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: {address}}}\n",
            folder.join("data").display()
        );
        fs::write(&config, text).unwrap();
        let log = fs::File::create(folder.join("log")).unwrap();
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("this test needs Debian's package docker-registry");
        let registry = Self { process, address };
        let start = Instant::now();
        while TcpStream::connect(&registry.address).is_err() {
            assert!(start.elapsed() < Duration::from_secs(30), "the registry does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        registry
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_base_image_is_pulled_from_a_registry_under_the_name_that_the_builder_asks_for() {
    let place = Workplace::new("tinyagent");
    let known = place.run(&["--target", "debian-12/deb"]);
    assert_eq!(known.exit, 0, "{:#}", known.record()["targets"]);
    let base = image(known.record(), "base");
    let registry = Registry::start(&place.path("registry"));
    let pushed = format!("{}/library/debian:bookworm", registry.address);
    docker(&["tag", base["id"].as_str().unwrap(), &pushed]);
    docker(&["push", "--quiet", &pushed]);
    docker(&["image", "rm", &pushed]);

    // A builder of its own, so that its base image is not in the engine's store already.
    let builders = place.path("builders");
    fs::create_dir_all(builders.join("pulled-12")).unwrap();
    let manifest = format!(
        "extends = \"debian-12\"\n[base]\nregistry = \"docker.io/library/debian:bookworm\"\n\
         [base.bootstrap]\nsuite = \"no-such-suite\"\ninclude = [\"{}\"]\n",
        std::process::id()
    );
    fs::write(builders.join("pulled-12/builder.toml"), manifest).unwrap();
    let pipeline = fs::read_to_string(place.repository.join("packhold.toml")).unwrap();
    let pipeline =
        pipeline.replace("debian-12/deb", "pulled-12/deb").replace("images = false", "images = true");
    fs::write(place.path("pulled.toml"), pipeline).unwrap();
    let (file, builders) = (place.path("pulled.toml"), builders.display().to_string());
    let source = place.repository.display().to_string();
    let arguments = [
        file.to_str().unwrap(),
        "--source",
        &source,
        "--builders",
        &builders,
        "--registry",
        &registry.address,
    ];
    let pulled = place.run(&arguments);
    let used = image(pulled.record(), "base").clone();
    let tag = format!("packhold/base:{}", &used["key"].as_str().unwrap()[7..39]);
    docker(&["image", "rm", &tag]);
    assert_eq!(pulled.exit, 0, "{:#}", pulled.record()["targets"]);
    assert_eq!(used["obtained"], "registry");
    assert_eq!(used["origin"]["how"], "registry");
    assert_eq!(used["origin"]["reference"], pushed);
    assert!(used["origin"]["digest"].as_str().unwrap().starts_with("sha256:"), "{used:#}");
    assert_eq!(used["id"], base["id"], "the identity survives push and pull");
    let packages = |image: &serde_json::Value| -> Vec<[String; 3]> {
        let said = |package: &serde_json::Value, what: &str| package[what].as_str().unwrap().to_owned();
        let packages = image["packages"].as_array().unwrap().iter();
        packages.map(|package| ["name", "version", "arch"].map(|what| said(package, what))).collect()
    };
    assert_eq!(packages(&used), packages(base));
    // The mirror's lists are fetched for what was just obtained, and name the files of its packages.
    let libc =
        used["packages"].as_array().unwrap().iter().find(|package| package["name"] == "libc6").unwrap();
    assert!(libc["sha256"].as_str().unwrap().starts_with("sha256:"), "{libc}");
    place.assert_clean(&pulled, &[]);

    // Nobody has the image any more, and the name means another one by now: what was pulled once is pulled again.
    let layer = used["layers"][0].as_str().unwrap().replace(':', "/");
    fs::remove_file(place.archive.join("chunked").join(layer)).unwrap();
    docker(&["tag", image(known.record(), "deps")["id"].as_str().unwrap(), &pushed]);
    docker(&["push", "--quiet", &pushed]);
    docker(&["image", "rm", &pushed]);
    let again = place.run(&arguments);
    docker(&["image", "rm", &tag]);
    assert_eq!(again.exit, 0, "{:#}", again.record()["targets"]);
    let used = image(again.record(), "base");
    assert_eq!((&used["obtained"], &used["id"]), (&"registry".into(), &base["id"]));
}
