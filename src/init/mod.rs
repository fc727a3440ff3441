//! The first pipeline of a repository: what is in it, and a pipeline file that fits.
//!
//! [`Tree`] is what is looked at: paths, the texts of the files that say something, the tags. Everything made of it is pure: [`look()`] finds
//! build system, packaging, version and programs, and [`propose()`] writes the pipeline; where there is no packaging, one that describes the
//! package.

mod about;
mod build_system;
mod debian;
mod described;
mod look;
mod programs;
mod propose;
mod recipe;
mod spec;
mod tree;
mod version;
mod writer;

pub use build_system::BuildSystem;
pub use debian::DebianFolder;
pub use described::Described;
pub use look::{Found, look};
pub use propose::{Proposal, ProposeError, propose};
pub use spec::SpecFile;
pub use tree::Tree;
pub use version::VersionChoice;

/// A string as TOML writes it.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}
