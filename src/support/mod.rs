//! What every layer may use: paths in errors, locks between processes, reading a hostile tar safely, images in tars, reading ahead,
//! showing hostile text safely, texts in URIs.

pub(crate) mod decompress;
pub(crate) mod file_lock;
pub mod fs;
mod hint;
pub(crate) mod image_archive;
pub(crate) mod layer_rules;
pub(crate) mod percent;
pub mod read_ahead;
pub mod tar_reader;
pub mod terminal_text;

pub use hint::Hint;
