//! A package that cannot be built or does not work: exit code 1, the reason, and an archived run.

use std::path::Path;

use crate::common::{Workplace, expected};

/// Runs a fixture whose package fails. The run is archived beside the one that was there.
fn fails(fault: &str) {
    fails_in(&Workplace::new(fault), fault, &[]);
}

fn fails_in(place: &Workplace, fault: &str, arguments: &[&str]) -> serde_json::Value {
    let seed = place.seed();
    let finished = place.run(arguments);
    finished.assert_is(&expected(fault));
    let record = finished.record();
    place.assert_clean(&finished, &[&seed, record["id"].as_str().unwrap()]);
    record.clone()
}

#[test]
fn a_build_dependency_that_does_not_exist_is_named() {
    fails("unmet-build-dependency");
}

#[test]
fn a_compile_error_fails_the_build() {
    fails("compile-error");
}

#[test]
fn a_build_that_leaves_no_package_fails() {
    fails("no-artifact");
}

#[test]
fn a_package_whose_dependencies_do_not_exist_fails_to_install() {
    fails("install-conflict");
}

#[test]
fn a_smoke_command_with_another_exit_status_fails_the_verification() {
    fails("smoke-command-fails");
}

#[test]
fn a_build_that_runs_out_of_memory_is_told_from_one_that_fails() {
    fails("out-of-memory");
}

#[test]
fn a_build_that_takes_too_long_is_stopped() {
    fails("time-out");
}

#[test]
fn a_build_that_hangs_in_silence_is_stopped() {
    fails("silence");
}

#[test]
fn a_fork_bomb_meets_the_limit_of_processes() {
    fails("fork-bomb");
}

#[test]
fn a_build_that_tries_the_network_is_told_that_there_is_none() {
    fails("network-access");
}

#[test]
fn a_build_that_fills_a_file_system_is_told_so() {
    fails("container-disk-full");
}

#[test]
fn a_log_of_one_gib_is_cut_off_and_costs_no_memory() {
    let fault = "log-of-1-gib";
    let place = Workplace::new(fault);
    let seed = place.seed();
    let mut running = place.start(&[]);
    // What is said after the flood: all of the log has gone through the program by then.
    running.wait_for(|event| event["event"] == "stage-finished" && event["stage"] == "build");
    let peak = running.peak_memory();
    let finished = running.finish();
    finished.assert_is(&expected(fault));
    let said = finished.lines.iter().filter(|event| event["event"] == "warning");
    let said: Vec<_> = said.filter_map(|event| event["message"].as_str()).collect();
    assert!(said.iter().any(|text| text.contains("debian-12/deb build: it prints very much")), "{said:?}");
    assert!(peak < 256 << 10, "it held {peak} KiB");
    place.assert_clean(&finished, &[&seed, finished.record()["id"].as_str().unwrap()]);
}

#[test]
fn an_artifact_that_is_a_symbolic_link_is_refused() {
    fails("artifact-is-a-symlink");
}

#[test]
fn an_artifact_that_is_a_named_pipe_is_refused() {
    fails("artifact-is-a-named-pipe");
}

#[test]
fn an_artifact_with_dots_at_the_start_of_its_name_is_refused() {
    fails("artifact-has-dots-in-its-name");
}

/// Without capabilities there is no device to refuse; that `collect` would is tested beside it.
#[test]
fn a_build_cannot_make_a_device() {
    fails("artifact-is-a-device");
}

#[test]
fn a_target_that_fails_does_not_stop_the_other() {
    let fault = "one-of-two-targets-fails";
    let place = Workplace::new(fault);
    // The same builder under another name: both targets share its images.
    let builders = place.path("builders");
    std::fs::create_dir_all(builders.join("twin-12")).unwrap();
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("builders/debian-12/builder.toml");
    std::fs::copy(manifest, builders.join("twin-12/builder.toml")).unwrap();
    let arguments = ["--builders", builders.to_str().unwrap(), "--jobs", "2"];
    let record = fails_in(&place, fault, &arguments);
    let outcomes: Vec<_> = record["targets"].as_array().unwrap().iter().collect();
    let state = |index: usize| (&outcomes[index]["target"], &outcomes[index]["outcome"]["state"]);
    assert_eq!(state(0), (&"debian-12/deb".into(), &"failed".into()));
    assert_eq!(state(1), (&"twin-12/deb".into(), &"passed".into()));
}
