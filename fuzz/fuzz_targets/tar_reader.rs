//! A tar that came out of a container, or that an image came in.
#![no_main]

use std::io::Read;

use libfuzzer_sys::fuzz_target;
use packhold_fuzz::support::tar_reader::{TarKind, TarReader};

fuzz_target!(|input: &[u8]| {
    packhold_fuzz::bound();
    let mut tar = input.to_vec();
    packhold_fuzz::seal_tar(&mut tar);
    let mut reader = TarReader::new(tar.as_slice());
    let mut total = 0;
    while let Ok(Some(entry)) = reader.next_entry() {
        assert!(!entry.path.starts_with('/') && !entry.path.contains('\0'));
        assert!(entry.path.split('/').all(|part| part != ".." && part != "."));
        if entry.kind == TarKind::File {
            let mut content = Vec::new();
            let whole = reader.read_to_end(&mut content).is_ok();
            total += content.len() as u64;
            assert!(!whole || content.len() as u64 == entry.size);
            assert!(total <= input.len() as u64);
        }
    }
});
