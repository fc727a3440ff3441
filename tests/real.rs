//! Tests on a real engine. Each makes its own repository, archive and folders, and shares only the engine's images.
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up fails")]

mod common;
#[expect(dead_code, reason = "each test binary uses some of it")]
#[path = "common/rootless.rs"]
mod rootless;

#[path = "real/bad_input.rs"]
mod bad_input;
#[path = "real/bad_package.rs"]
mod bad_package;
#[path = "real/bad_world.rs"]
mod bad_world;
#[path = "real/declared.rs"]
mod declared;
#[path = "real/emulation.rs"]
mod emulation;
#[path = "real/killed.rs"]
mod killed;
#[path = "real/lock.rs"]
mod lock;
#[path = "real/published.rs"]
mod published;
#[path = "real/replay.rs"]
mod replay;
#[path = "real/reproduce.rs"]
mod reproduce;
#[path = "real/rootless.rs"]
mod rootless_engine;
#[path = "real/spec_macros.rs"]
mod spec_macros;
#[path = "real/told.rs"]
mod told;
#[path = "real/whole.rs"]
mod whole;
