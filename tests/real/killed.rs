//! Runs that are killed at random moments, from their start to what they archive.

use std::time::Instant;

use crate::common::{Workplace, expected, succeed};

/// Kills this many runs of the fixture `name`, every other one at its end, when it is about to be archived.
#[expect(clippy::print_stdout, reason = "the counts are what the test has to say")]
fn killed_at_any_moment(name: &str, kills: u32) {
    let place = Workplace::new(name);
    // The first makes what it finds missing in the engine; how long a run takes the second tells.
    place.run(&["--rebuild"]).assert_is(&expected(name));
    let begun = Instant::now();
    place.run(&["--rebuild"]).assert_is(&expected(name));
    let length = begun.elapsed();
    let mut kept: Vec<String> = place.archived();
    let (mut killed, mut ended) = (0, 0);
    for number in 0..kills {
        let running = place.start(&["--rebuild"]);
        let part = if number % 2 == 0 { fastrand::f64() } else { 0.7 + 0.3 * fastrand::f64() };
        std::thread::sleep(length.mul_f64(part));
        running.signal("KILL");
        let finished = running.finish();
        let reported = finished.lines.last().filter(|line| line["schema"].is_number());
        let reported = reported.map(|record| record["id"].as_str().unwrap().to_owned());
        if finished.exit == 128 + 9 {
            killed += 1;
        } else {
            ended += 1;
        }
        succeed("clean", place.command(&["clean"]).output().unwrap());
        kept.extend(reported);
        let all: Vec<&str> = kept.iter().map(String::as_str).collect();
        place.assert_clean(&finished, &all);
        for run in place.archived().iter().filter(|id| !kept.contains(id)) {
            // Archived, but it could not say so any more.
            succeed("archive show", place.command(&["archive", "show", run]).output().unwrap());
        }
    }
    assert!(killed >= kills / 2, "{killed} of {kills} runs were killed before they ended");
    // None of them hinders the next.
    place.run(&["--rebuild"]).assert_is(&expected(name));
    let (archived, seconds) = (place.archived().len(), begun.elapsed().as_secs());
    println!("{name}: {killed} runs killed, {ended} ended before, {archived} archived, {seconds} s");
}

#[test]
fn whenever_a_run_is_killed_the_archive_is_sound_and_its_containers_go() {
    killed_at_any_moment("tinyagent", 6);
}

#[test]
fn whenever_a_run_that_only_archives_is_killed_what_was_reported_is_complete() {
    killed_at_any_moment("no-debian-folder", 40);
}
