//! Packhold turns a git commit into deb and rpm packages.
#![doc = ""]

pub mod engine;
pub mod model;
pub mod support;
