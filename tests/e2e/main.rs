//! A whole server, as its users meet it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod long_poll;
mod routing;
