//! Hostile input against a live server: a crowd that means harm, frames bent in every way, clients that do not
//! read, do not speak, or die in mid-frame. Nothing of it may end, stop or swell the server, or be felt by those
//! who behave.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod bend;
mod crowd;
mod descriptors;
mod frames;
mod good;
mod hunt;
mod loads;
mod lossless;
mod witness;
