//! Views of a run record: pure functions from the record to text. Nothing here reads a file or prints.

mod text;

pub use text::{Tails, archived_hint, bytes, duration, summary, verified};
