//! The stages of a run: one function each, typed in, typed out.
//!
//! A stage that does not pass ends with an [`Outcome`] as its error. What a container printed goes to the stage's log and, made safe to
//! show, to the events; what it left is hostile until it was checked.

mod archive;
mod build;
mod collect;
mod conditions;
mod declared;
mod declared_lists;
mod deps;
mod diagnose;
mod environment;
mod foresee;
mod image_policy;
mod image_store;
mod installed;
mod json_cache;
mod kit;
mod mirror_lists;
mod outputs;
mod package_lists;
mod prepare;
mod probe;
mod published;
mod recorder;
mod reporter;
mod shell;
mod streams;
mod userland;
mod verify;
mod workshop;

pub use archive::{Contents, archive, keep_images};
pub use build::{BuildOf, Built, build, reuse_build};
pub use conditions::Conditions;
pub use declared_lists::DeclaredLists;
pub use deps::{DepsRequest, TargetImages, deps};
pub use diagnose::{infrastructure, known_failure};
pub use foresee::{Foreseen, foresee};
pub use image_policy::{ImagePolicy, LockedImages, own_packages, refused};
pub use image_store::{ImageStore, load_image};
pub use installed::installed;
pub use kit::{Kit, kit};
pub use mirror_lists::MirrorLists;
pub use package_lists::PackageLists;
pub use prepare::{Prepared, prepare, prepare_inputs};
pub use probe::probe;
pub use published::{KEY_FILE, Published, published};
pub use recorder::Recorder;
pub use reporter::Reporter;
pub use shell::{Opened, Place, ShellOf, shell};
pub use userland::{BaseChoice, base, userland_key};
pub use verify::{PackageFile, Previous, Verified, VerifyRequest, environment, reuse_verify, verify};
pub use workshop::{SourceTree, Workshop};

use crate::model::Outcome;

/// A stage's result: what it made, or the outcome that ended it.
pub type StageResult<T> = Result<T, Outcome>;
