//! The tar of a root file system, which becomes the layer of an image.
#![no_main]

use libfuzzer_sys::fuzz_target;
use packhold_fuzz::Place;
use packhold_fuzz::archive::RootfsSpec;

fuzz_target!(|input: &[u8]| {
    let mut tar = input.to_vec();
    if !input.starts_with(&[0x1f, 0x8b]) && !input.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        packhold_fuzz::seal_tar(&mut tar);
    }
    let place = Place::new();
    let archive = place.archive();
    let spec = RootfsSpec {
        arch: "amd64".to_owned(),
        created: 0,
        labels: Default::default(),
        comment: "fuzzed".to_owned(),
    };
    match archive.image_from_rootfs(tar.as_slice(), &spec) {
        Err(_) => assert!(place.blobs("archive").is_empty(), "an import that failed left something"),
        Ok(image) => {
            let mut layer = Vec::new();
            archive.copy_blob(&image.layers[0].digest, &mut layer).expect("its layer is there");
            assert!(layer.len().is_multiple_of(512) && layer.ends_with(&[0; 1024]));
            let mut out = Vec::new();
            archive.export_docker_archive(&image.id, None, &mut out).expect("what was imported exports");
            let other = Place::new();
            assert_eq!(
                other.archive().import_docker_archive(out.as_slice()).expect("it imports again"),
                image
            );
        }
    }
    place.assert_untouched(&["archive"]);
});
