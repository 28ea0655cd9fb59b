//! The room of what comes in: sealed segments as a peer sends their files, on their way into a log.
//!
//! ```text
//!  a peer's bytes ─▶ Intake: verify ─▶ <store>.<time>.partial ─▶ Ready ─▶ Log::plan_install
//!                                                                        Log::plan_replace
//! ```
//!
//! Lives here: [`Intake`], one segment that is being received, and its file, with where it begins
//! (`opening`); [`Left`], what earlier ones left; [`Ready`], the same when
//! all of it is there, on its way from the thread that received it to the one that owns the log; the
//! `verifier`, which holds a store that comes in pieces against its seal; where in a segment epochs
//! begin (`epochs`); the names of the files (`partial`). Never lives here: sockets, peers, how
//! often to try, and the log.
//!
//! Laws kept: nothing of a segment is installed before every batch, every offset, every epoch and the
//! chain were held against the seal, and all bytes were synced. What an interrupted intake left is
//! believed as little as what comes from a peer: it is verified, and written again, before the next
//! one goes on behind it.

mod epochs;
mod error;
mod file;
mod left;
mod opening;
pub(crate) mod partial;
mod ready;
mod verifier;

#[cfg(test)]
mod tests;

pub use error::Error;
pub use file::{Intake, Of};
pub use left::Left;
pub use opening::SEGMENT_BYTES_MAX;
pub use ready::Ready;

pub(crate) use verifier::{Bad, Verifier};
