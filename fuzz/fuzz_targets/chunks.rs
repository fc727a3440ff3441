//! A list of chunks and the pack that it names. The first byte says how the pack is made: as it is, or with a frame.
#![no_main]

use libfuzzer_sys::fuzz_target;
use packhold_fuzz::archive::{Archive, verify};
use packhold_fuzz::model::Digest;
use packhold_fuzz::{Foreign, Place};

fuzz_target!(|input: &[u8]| {
    let place = Place::new();
    let dir = place.path("archive");
    let foreign = Foreign::new(input);
    foreign.write(&dir);
    let Ok(archive) = Archive::open(&dir) else { return };
    for (path, _) in foreign.files() {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Ok(digest) = Digest::from_hex(name) else { continue };
        let mut out = Vec::new();
        if archive.copy_blob(&digest, &mut out).is_ok() {
            assert_eq!(Digest::of(&out), digest);
        }
    }
    // What is stored is whole, whatever chunks seem to be known.
    let layer = [7_u8; 5000];
    let Ok(stored) = archive.put_compressed([&layer[..]]) else { return };
    let mut out = Vec::new();
    archive.copy_blob(&stored[0].0, &mut out).expect("what was stored is there");
    assert_eq!(out, layer);
    drop(archive);
    let _ = verify(&dir, |_| ());
    place.assert_untouched(&["archive"]);
});
