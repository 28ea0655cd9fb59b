//! Formats, byte for byte, against implementations that are not ours. Golden files are for ever:
//! they are never made again without a new version of their format.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

mod batches;
mod directory;
mod frames;
