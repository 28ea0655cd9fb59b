//! A real server killed without warning, started under load, and held to its promise: what it
//! acknowledged is on the disk.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

mod contention;
mod flushes;
mod follower;
mod kept;
mod kill;
mod ledger;
mod payload;
mod producer;
mod roll;
mod starts;
