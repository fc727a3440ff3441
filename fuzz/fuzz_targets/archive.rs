//! An archive of a stranger's: index, manifests, records, lists and packs. What verify calls sound can be had.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use packhold_fuzz::archive::{Archive, KeepPolicy, RunFilter, repair, verify};
use packhold_fuzz::model::{Digest, RunId};
use packhold_fuzz::{Foreign, Place};

fuzz_target!(|input: &[u8]| {
    let place = Place::new();
    let dir = place.path("archive");
    Foreign::new(input).write(&dir);
    let report = verify(&dir, |_| ());
    let Ok(archive) = Archive::open(&dir) else { return };
    let sound = report.is_ok_and(|report| report.is_sound());
    let runs = archive.runs().unwrap_or_default();
    let _ = archive.search(&RunFilter { file: Some(Digest::of(input)), ..RunFilter::default() }, 10);
    let _ = archive.plan_prune(&KeepPolicy::default(), Default::default());
    for found in &runs {
        let run = archive.run(found.id.as_str());
        assert!(!sound || run.is_ok(), "a sound run cannot be read: {run:?}");
        let Ok(run) = run else { continue };
        let restored = archive.restore_files(&run, &[], place.path("dest"));
        if sound {
            let restored = restored.expect("a sound run can be restored");
            let files: BTreeMap<_, _> = restored.iter().map(|file| (&file.path, &file.file)).collect();
            for (path, file) in files {
                let bytes = std::fs::read(path).expect("it was restored");
                assert_eq!(Digest::of(&bytes), file.digest);
            }
        }
        let _ = archive.bundle(&found.id);
    }
    for image in archive.images().unwrap_or_default() {
        let exported = archive.export_docker_archive(&image.id, None, std::io::sink());
        assert!(!sound || exported.is_ok(), "a sound image cannot be exported: {exported:?}");
    }
    let _ = "20261123-204501-3fa9c2".parse::<RunId>().map(|id| archive.bundle(&id).map(|_| ()));
    drop(archive);
    let _ = repair(&dir, place.path("outside"), |_| ());
    place.assert_untouched(&["archive"]);
});
