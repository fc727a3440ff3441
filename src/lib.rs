//! Packhold turns a git commit into deb and rpm packages.

pub mod config;
pub mod engine;
pub mod model;
pub mod plan;
pub mod sandbox;
pub mod support;
