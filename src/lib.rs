//! Packhold turns a git commit into deb and rpm packages.

pub mod archive;
pub mod cli;
pub mod config;
pub mod engine;
pub mod model;
pub mod plan;
pub mod report;
pub mod run;
pub mod sandbox;
pub mod source;
pub mod stage;
pub mod support;
