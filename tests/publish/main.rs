//! Repositories, read by the tools that read or write such repositories themselves.
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare its packages fails")]

mod adopted;
mod apt;
mod bucket;
mod clients;
#[path = "../common/deb.rs"]
mod deb;
mod drafts;
mod gate;
mod guarded;
mod imported;
mod packages;
mod processes;
mod readers;
mod rsync;
#[path = "../common/server.rs"]
mod server;
mod signer;
mod trust;
mod wrapped;
mod yum;
