//! Reports: against the schemas of those who define their forms, and in a real browser.
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up fails")]

mod browser;
mod devtools;
mod fixture;
mod notify;
#[path = "../publish/packages.rs"]
mod packages;
mod pages;
mod views;
