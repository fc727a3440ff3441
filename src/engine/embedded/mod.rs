//! The engine that needs no daemon: containers of this process's own making over a store of its own.

pub mod store;
