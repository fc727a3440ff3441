//! Spec files whose macros mean harm: what they may do, and that an image which others share holds nothing of them.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::common::{Finished, Workplace, docker, git};

const PIPELINE: &str = "[package]\nname = \"tinyagent\"\n[target.\"debian-rpm/rpm\"]\npackaging = \"tinyagent.spec\"\n\
                        [verify]\nskip = [\"service\", \"upgrade\", \"no-docs\", \"lint\", \"reinstall\", \"integrity\", \"purge\"]\n\
                        [archive]\nimages = false\n";

/// Runs the commit of one of the spec files.
fn run(spec: &str) -> (Workplace, Finished) {
    let place = Workplace::new("tinyagent");
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/spec-macros");
    fs::copy(fixtures.join(spec), place.repository.join("tinyagent.spec")).unwrap();
    fs::write(place.repository.join("packhold.toml"), PIPELINE).unwrap();
    git(&place.repository, &["add", "--all"]);
    git(&place.repository, &["commit", "--quiet", "--message", "A spec file"]);
    let finished = place.run(&[]);
    (place, finished)
}

fn deps(finished: &Finished) -> Value {
    let images = finished.record()["images"].as_array().unwrap();
    images.iter().find(|image| image["role"] == "deps").unwrap_or_else(|| panic!("{images:#?}")).clone()
}

#[test]
fn macros_run_offline_without_privileges_and_what_they_print_is_no_option() {
    let (place, finished) = run("telling.spec");
    let outcome = &finished.record()["outcome"];
    assert_eq!((finished.exit, &outcome["state"]), (2, &Value::from("broken")), "{:?}", finished.output);
    let message = outcome["message"].as_str().unwrap();
    assert!(message.contains("`--option=Dir::Bin::dpkg=/tmp/x` is not a build dependency"), "{message}");
    for told in [
        "user-10000",
        "capabilities-0000000000000000",
        "bounding-0000000000000000",
        "no-new-privileges-1",
        "routes-0",
        "names-unresolved",
        "root-refused",
    ] {
        assert!(finished.output.iter().any(|line| line == told), "{told}: {:#?}", finished.output);
    }
    let steps = finished.record()["targets"][0]["stages"][0]["steps"].as_array().unwrap();
    assert!(!steps.iter().any(|step| step["title"] == "install build dependencies"), "{steps:#?}");
    place.assert_clean(&finished, &[]);
}

#[test]
fn the_deps_image_of_an_honest_build_holds_nothing_of_a_spec_file_that_came_before_it() {
    let (place, poison) = run("poison.spec");
    assert_eq!(poison.exit, 0, "{:#}", poison.record()["targets"]);
    place.assert_clean(&poison, &[]);
    let (place, honest) = run("honest.spec");
    assert_eq!(honest.exit, 0, "{:#}", honest.record()["targets"]);
    let (first, second) = (deps(&poison), deps(&honest));
    // Both ask for the same and so share the image.
    assert_eq!((&first["key"], &first["id"]), (&second["key"], &second["id"]));
    assert_eq!(second["obtained"], "engine");
    let find = "find / -xdev -name 'poisoned*'; find /build -mindepth 1; test -x /usr/bin/make && echo make";
    let id = second["id"].as_str().unwrap();
    assert_eq!(docker(&["run", "--rm", "--network", "none", id, "sh", "-c", find]), "make\n");
    place.assert_clean(&honest, &[]);
}
