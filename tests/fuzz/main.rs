//! Hostile input against a live server: frames bent in every way, clients that do not read, do not
//! speak, or die in mid-frame. Nothing of it may end, stop or swell the server, or be felt by those
//! who behave.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod bend;
mod frames;
mod hunt;
mod loads;
mod witness;
