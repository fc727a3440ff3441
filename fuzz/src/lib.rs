//! What the fuzz targets share. The layers that read foreign bytes are compiled into this package by their paths, so that
//! a target can be built without engines, git and remotes, which would take minutes.

#![allow(
    dead_code,
    unused_imports,
    reason = "the layers are made for the program, of which this uses a part"
)]

#[path = "../../src/archive/mod.rs"]
pub mod archive;
#[path = "../../src/chunks/mod.rs"]
mod chunks;
#[path = "../../src/compare/mod.rs"]
pub mod compare;
#[path = "../../src/plan/dependencies.rs"]
pub mod dependencies;
#[path = "../../src/model/mod.rs"]
pub mod model;
#[path = "../../src/stage/outputs.rs"]
mod outputs;
#[path = "../../src/support/mod.rs"]
pub mod support;

mod foreign;
mod memory;
mod place;
mod seal;

pub use foreign::{Foreign, Kind};
pub use memory::bound;
pub use outputs_of_containers::{repack, take};
pub use place::Place;
pub use seal::{seal_documents, seal_tar};

/// What stages read of containers.
mod outputs_of_containers {
    use std::path::Path;

    use crate::model::{Artifact, Format};

    /// Takes artifacts; `None` if they are refused.
    pub fn take(tar: &[u8], limit: u64, dest: &Path) -> Option<Vec<Artifact>> {
        crate::outputs::take(&mut &tar[..], Format::Deb, limit, dest).ok().map(|(artifacts, _)| artifacts)
    }

    /// Takes the outputs of a prepare stage; names and sizes of what is accepted.
    pub fn repack(tar: &[u8], limit: u64) -> Option<Vec<(String, usize)>> {
        let entries = crate::outputs::repack(&mut &tar[..], "parent/", 10_000, limit).ok()?;
        Some(entries.into_iter().map(|(_, name, content)| (name, content.len())).collect())
    }
}
