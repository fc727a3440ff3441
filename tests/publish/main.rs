//! Repositories, read by the tools that read or write such repositories themselves.
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare its packages fails")]

mod adopted;
mod apt;
#[path = "../common/deb.rs"]
mod deb;
mod drafts;
mod guarded;
mod packages;
mod processes;
mod signer;
mod trust;
mod unlocked;
mod yum;
