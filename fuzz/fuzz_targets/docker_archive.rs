//! The tar of `docker save`. The configuration may name the digest of the N-th file of the tar by N; 80 and more (hexadecimal)
//! means the unpacked content.
#![no_main]

use std::io::Read;

use libfuzzer_sys::fuzz_target;
use packhold_fuzz::Place;
use packhold_fuzz::model::Digest;

/// What a packed layer may become here, bytes.
const MOST: u64 = 4 << 20;

fn unpacked(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    match bytes {
        [0x1f, 0x8b, ..] => {
            flate2::read::MultiGzDecoder::new(bytes).take(MOST).read_to_end(&mut content).ok()?
        }
        _ => zstd::Decoder::new(bytes).ok()?.take(MOST).read_to_end(&mut content).ok()?,
    };
    Some(content)
}

fuzz_target!(|input: &[u8]| {
    let mut tar = input.to_vec();
    let contents = packhold_fuzz::seal_tar(&mut tar);
    let before = tar.clone();
    packhold_fuzz::seal_documents(&mut tar, |number| {
        let bytes = &before[contents.get(number & 0x7f)?.clone()];
        match number < 0x80 {
            true => Some(Digest::of(bytes)),
            false => unpacked(bytes).map(Digest::of),
        }
    });
    packhold_fuzz::seal_tar(&mut tar);
    let place = Place::new();
    let archive = place.archive();
    match archive.import_docker_archive(tar.as_slice()) {
        Err(_) => assert!(place.blobs("archive").is_empty(), "an import that failed left something"),
        Ok(image) => {
            let export = |archive: &packhold_fuzz::archive::Archive| {
                let mut out = Vec::new();
                archive
                    .export_docker_archive(&image.id, Some("a:b"), &mut out)
                    .expect("what was imported exports");
                out
            };
            let out = export(&archive);
            let other = Place::new();
            let again = other.archive();
            assert_eq!(
                again.import_docker_archive(out.as_slice()).expect("what was exported imports"),
                image
            );
            assert_eq!(export(&again), out);
            let report = packhold_fuzz::archive::verify(place.path("archive"), |_| ());
            assert!(report.expect("verify goes on").is_sound());
        }
    }
    place.assert_untouched(&["archive"]);
});
