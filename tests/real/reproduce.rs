//! Packages that depend on the conditions of their build, each in a way of its own.

use std::collections::BTreeMap;
use std::fs;

use crate::common::{Workplace, git, succeed};
use crate::whole::demo_repository;

/// The tiny agent, which installs files that the lines in `made` make, run in the source tree.
fn agent(made: &[&str]) -> Workplace {
    let place = Workplace::new("tinyagent");
    let rules = place.repository.join("debian/rules");
    let mut text = fs::read_to_string(&rules).unwrap();
    if !made.is_empty() {
        text += "\nT = debian/tinyagent/usr/share/tinyagent\noverride_dh_install:\n\tdh_install\n\tmkdir -p $(T)\n";
    }
    for line in made {
        text += &format!("\t{line}\n");
    }
    fs::write(&rules, text).unwrap();
    // Before debhelper, which has an umask of its own.
    let pipeline = place.repository.join("packhold.toml");
    let text = fs::read_to_string(&pipeline).unwrap();
    let target = "[target.\"debian-12/deb\"]\n";
    fs::write(&pipeline, text.replace(target, &format!("{target}prepare = \"touch made\"\n"))).unwrap();
    for name in ["a", "B", "c", "D", "e"] {
        fs::create_dir_all(place.repository.join("listed")).unwrap();
        fs::write(place.repository.join("listed").join(name), "").unwrap();
    }
    git(&place.repository, &["add", "--all"]);
    git(&place.repository, &["commit", "--quiet", "--message", "Change the build"]);
    place
}

#[test]
fn every_condition_that_a_file_depends_on_is_named_as_its_cause() {
    let place = agent(&[
        "pwd > $(T)/build-path",
        "date +%Y > $(T)/time",
        "date +%s.%N > $(T)/seconds",
        "printf '%s\\n' a B c | sort > $(T)/locale",
        "ls -U listed > $(T)/file-order",
        "nproc > $(T)/cores",
        "id -un > $(T)/user",
        "stat -c %a made > $(T)/umask",
        "date -d @0 +%z > $(T)/time-zone",
        "env | grep -c ^UNRELATED > $(T)/environment || true",
        "hostname > $(T)/host-name",
        "cat /proc/sys/kernel/random/uuid > $(T)/chance",
    ]);
    // Without a check the first run passes, and its build is what the second one takes and checks.
    assert_eq!(place.run(&[]).exit, 0);
    let finished = place.run(&["--check-reproducible"]);
    let record = finished.record();
    assert_eq!(finished.exit, 1, "{record:#}");
    let target = &record["targets"][0];
    assert_eq!(target["outcome"]["stage"], "reproduce", "{target:#}");
    assert_eq!(target["outcome"]["reason"], "not-reproducible");
    let found = &target["reproducibility"];
    assert_eq!(found["not_varied"].as_array().map_or(0, Vec::len), 0, "{found:#}");
    let told = found["differences"].as_array().unwrap();
    let causes: BTreeMap<&str, String> = told
        .iter()
        .map(|difference| {
            let name = difference["member"].as_str().unwrap().rsplit('/').next().unwrap();
            let conditions = difference["conditions"].as_array();
            let conditions: Vec<&str> =
                conditions.into_iter().flatten().filter_map(|word| word.as_str()).collect();
            let cause = difference["cause"].as_str().unwrap().to_owned();
            (name, if conditions.is_empty() { cause } else { conditions.join(" ") })
        })
        .collect();
    let words = [
        "build-path",
        "time",
        "locale",
        "file-order",
        "cores",
        "user",
        "umask",
        "time-zone",
        "environment",
        "host-name",
        "chance",
    ];
    let mut expected: BTreeMap<&str, String> = words.iter().map(|word| (*word, (*word).to_owned())).collect();
    expected.insert("seconds", "time".to_owned());
    assert_eq!(causes, expected, "{found:#}");
    place.assert_clean(&finished, &[record["id"].as_str().unwrap()]);
    // What is archived is the first build.
    let first = &place.command(&["archive", "show", "latest"]).output().unwrap();
    assert!(String::from_utf8_lossy(&first.stdout).contains("not-reproducible"), "{first:?}");
}

#[test]
fn a_clean_package_passes_and_the_build_path_can_be_kept() {
    let place = agent(&["pwd > $(T)/build-path"]);
    let arguments = ["run", "--check-reproducible", "--keep-build-path"];
    let output = place.command(&arguments).output().unwrap();
    let said = succeed("run", output);
    assert!(said.contains("rebuilt 2 times in all; varied: time, locale, file-order"), "{said}");
    assert!(said.contains("not varied: build-path: it was to be kept"), "{said}");

    let run = place.command(&["run", "--check-reproducible"]).output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    assert_eq!(run.status.code(), Some(1), "{said}");
    let line = "tinyagent/build-path: caused by the build path";
    assert!(said.contains(line) && said.contains("rebuilt 5 times in all"), "{said}");
    assert!(
        said.contains("hint: map it away") && said.contains("failed(reproduce, not-reproducible)"),
        "{said}"
    );
}

#[test]
fn the_rpm_of_the_demo_agent_does_not_depend_on_the_conditions_of_its_build() {
    let place = Workplace::without_repository();
    demo_repository(&place.path("demo"));
    let source = place.path("demo").display().to_string();
    let target = ["demo", "--source", &source, "--target", "debian-rpm/rpm"];
    let finished = place.run(&[&target[..], &["--check-reproducible"]].concat());
    let record = finished.record();
    assert_eq!(finished.exit, 0, "{:#}", record["targets"][0]["reproducibility"]);
    let found = &record["targets"][0]["reproducibility"];
    assert_eq!(found["not_varied"].as_array().map_or(0, Vec::len), 0, "{found:#}");
    assert!(found["varied"].as_array().unwrap().len() >= 10, "{found:#}");
    place.assert_clean(&finished, &[]);
    // Its userland, which is in the engine's store now, is Debian's and has no tool of rpm.
    let doctor = place.command(&["doctor"]).output().unwrap();
    let doctor = String::from_utf8_lossy(&doctor.stdout).into_owned();
    let line = doctor.lines().find(|line| line.contains("network in `debian-rpm`"));
    assert!(line.is_some_and(|line| line.contains("the mirror answers")), "{doctor}");
}
