//! An rpm that a build made, beside the archived one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use packhold_fuzz::compare::{Comparison, compare, contents};

fuzz_target!(|input: &[u8]| {
    packhold_fuzz::bound();
    assert_eq!(compare("a.rpm", input, input), Comparison::Identical);
    let _ = contents("a.rpm", input);
    let mut other = input.to_vec();
    other.push(b'\n');
    assert_ne!(compare("a.rpm", input, &other), Comparison::Identical);
});
