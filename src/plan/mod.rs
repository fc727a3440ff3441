//! What a run is going to do, worked out without any I/O: what each target is built from, and the keys that say whether
//! it was done before.
//!
//! A key is the digest of everything that can change a result, field by field. Two things with the same key are the
//! same thing, so the second need not be made.

pub mod changelog;
mod dependencies;
mod experiments;
mod keys;
mod locked;
pub mod packaging;
mod target;

pub use dependencies::{BadDependencies, Declared, Dependencies, LONGEST_LIST, SpecFile};
pub use experiments::{Place, Search, Seen, Setting, whole_build};
pub use keys::{
    BuildInputs, PrepareInputs, VerifyInputs, base_key, build_key, builder_key, deps_key, init_key, kit_key,
    lint_key, prepare_key, provided_key, verify_key,
};
pub use locked::{LockNeed, changed_dependencies, locked_images};
pub use target::{Commit, Packaging, PlanError, TargetPlan, TargetVersion, plan_target};
