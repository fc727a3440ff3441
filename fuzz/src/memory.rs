use std::alloc::System;
use std::sync::Once;

use cap::Cap;

/// More than any reader needs for an input of the size that a fuzzer makes, bytes. An allocation beyond it ends the process,
/// which the fuzzer reports.
const MOST: usize = 320 << 20;

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// Bounds the memory of everything that comes after.
pub fn bound() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // The system's allocator never refuses: it is the limit that ends the process.
        let _ = MEMORY.set_limit(MOST);
    });
}
