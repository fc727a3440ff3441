//! What a build or a prepare stage left in its container.
#![no_main]

use libfuzzer_sys::fuzz_target;
use packhold_fuzz::Place;

const LIMIT: u64 = 64 << 10;

fuzz_target!(|input: &[u8]| {
    let mut tar = input.to_vec();
    packhold_fuzz::seal_tar(&mut tar);
    let place = Place::new();
    let dest = place.path("dest");
    if let Some(artifacts) = packhold_fuzz::take(&tar, LIMIT, &dest) {
        assert!(artifacts.iter().map(|artifact| artifact.size).sum::<u64>() <= LIMIT);
        for artifact in &artifacts {
            let file = std::fs::symlink_metadata(dest.join(&artifact.name)).expect("it was taken");
            assert!(file.is_file() && file.len() == artifact.size);
        }
    }
    if let Some(entries) = packhold_fuzz::repack(&tar, LIMIT) {
        assert!(entries.iter().map(|(_, size)| *size as u64).sum::<u64>() <= LIMIT);
        assert!(entries.iter().all(|(name, _)| name.split('/').all(|part| !part.is_empty() && part != "..")));
    }
    place.assert_untouched(&[]);
});
