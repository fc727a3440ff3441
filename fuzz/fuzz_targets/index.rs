//! The bytes of `index.json`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use packhold_fuzz::archive::{Archive, RunFilter, verify};
use packhold_fuzz::{Foreign, Place};

fuzz_target!(|input: &[u8]| {
    let place = Place::new();
    let dir = place.path("archive");
    Foreign::new(b"%% blob\n{}").write(&dir);
    std::fs::write(dir.join("index.json"), input).expect("a new file");
    let report = verify(&dir, |_| ());
    if let Ok(archive) = Archive::open(&dir) {
        let runs = archive.runs();
        let _ = (archive.images(), archive.search(&RunFilter::default(), 10), archive.run("latest"));
        if report.is_ok_and(|report| report.is_sound()) {
            // No run is there, so that none may seem to be.
            assert!(runs.is_ok_and(|runs| runs.is_empty()));
        }
    }
    place.assert_untouched(&["archive"]);
});
