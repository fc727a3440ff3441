//! Runs that are killed at random moments, from their start to what they archive.

use std::time::Instant;

use crate::common::{Workplace, expected, succeed};

/// How many runs are killed.
const KILLS: u32 = 30;

#[test]
fn whenever_a_run_is_killed_the_archive_is_sound_and_what_was_reported_is_complete() {
    let place = Workplace::new("tinyagent");
    // The first makes what it finds missing in the engine; how long a run takes the second tells.
    place.run(&["--rebuild"]).assert_is(&expected("tinyagent"));
    let begun = Instant::now();
    let whole = place.run(&["--rebuild"]);
    whole.assert_is(&expected("tinyagent"));
    let length = begun.elapsed();
    let mut kept: Vec<String> = place.archived();
    let (mut killed, mut ended) = (0, 0);
    for number in 0..KILLS {
        let running = place.start(&["--rebuild"]);
        // Every other one when it is about to be archived.
        let part = if number % 2 == 0 { fastrand::f64() } else { 0.8 + 0.2 * fastrand::f64() };
        std::thread::sleep(length.mul_f64(part));
        running.signal("KILL");
        let finished = running.finish();
        let reported = finished.lines.last().filter(|line| line["schema"].is_number());
        let reported = reported.map(|record| record["id"].as_str().unwrap().to_owned());
        if finished.exit == 128 + 9 {
            killed += 1
        } else {
            ended += 1
        }
        let clean = place.command(&["clean"]).output().unwrap();
        succeed("clean", clean);
        kept.extend(reported);
        let all: Vec<&str> = kept.iter().map(String::as_str).collect();
        place.assert_clean(&finished, &all);
        for run in place.archived().iter().filter(|id| !kept.contains(id)) {
            // Archived, but it could not say so any more.
            succeed("archive show", place.command(&["archive", "show", run]).output().unwrap());
        }
    }
    assert!(killed >= KILLS / 2, "{killed} of {KILLS} runs were killed before they ended");
    // None of them hinders the next.
    place.run(&["--rebuild"]).assert_is(&expected("tinyagent"));
    println!(
        "{killed} runs killed, {ended} ended before, {} archived, {} s",
        place.archived().len(),
        begun.elapsed().as_secs()
    );
}
