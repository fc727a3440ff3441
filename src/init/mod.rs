//! The first pipeline of a repository: what is in it, and a pipeline file that fits.
//!
//! [`Tree`] is what is looked at: paths, the texts of the files that say something, the tags. Everything made of it is pure: [`look`] finds
//! build system, packaging, version and programs, and [`propose`] writes the pipeline.

mod build_system;
mod debian;
mod look;
mod programs;
mod propose;
mod spec;
mod tree;
mod version;

pub use build_system::BuildSystem;
pub use debian::DebianFolder;
pub use look::{Found, look};
pub use propose::{Proposal, ProposeError, propose};
pub use spec::SpecFile;
pub use tree::Tree;
pub use version::VersionChoice;
