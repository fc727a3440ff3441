//! A run that comes from a remote: what it says of it, and the files that it sends.
#![no_main]

use std::collections::BTreeMap;
use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use packhold_fuzz::archive::{Bundle, verify};
use packhold_fuzz::{Foreign, Kind, Place};

fuzz_target!(|input: &[u8]| {
    let foreign = Foreign::new(input);
    let Some(Ok(bundle)) = foreign.last(Kind::Bundle).map(serde_json::from_slice::<Bundle>) else { return };
    let sent: BTreeMap<PathBuf, &[u8]> = foreign.files().collect();
    let place = Place::new();
    let archive = place.archive();
    let before = std::fs::read(place.path("archive/index.json")).expect("there is an index");
    let id = bundle.run.clone();
    let taken = archive.receive(bundle).and_then(|incoming| {
        for object in &incoming.missing {
            let Some(bytes) = sent.get(&PathBuf::from(object.path())) else { break };
            let file = incoming.temporary()?;
            std::fs::write(&file, bytes).expect("a new file");
            incoming.accept(object, &file)?;
        }
        incoming.finish()
    });
    match taken {
        Ok(()) => {
            let run = archive.run(id.as_str()).expect("it was taken in");
            archive.restore_files(&run, &[], place.path("dest")).expect("what was taken in can be restored");
        }
        Err(_) => {
            let after = std::fs::read(place.path("archive/index.json")).expect("there is an index");
            assert_eq!(after, before, "a run that was refused is listed");
        }
    }
    drop(archive);
    let report = verify(place.path("archive"), |_| ()).expect("verify goes on");
    assert!(report.is_sound(), "what was taken in is damaged: {:?}", report.problems);
    place.assert_untouched(&["archive"]);
});
