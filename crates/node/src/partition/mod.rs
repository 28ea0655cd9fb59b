//! One partition's decisions, apart from everything that performs them.
//!
//! ```text
//! state       the partition itself: one log, who waits at its end, when its groups start
//! input       what it is told: requests, completions of its effects, the passing of time
//! effect      what it wants performed, and why it refuses
//! appending   what is appended, by clients or from a source
//! group       when the next group starts
//! waiters     fetches that are parked at its end
//! replication where the high watermark is, and who may append
//! changing    changes of the whole log, one at a time
//! upkeep      what it does beside its requests: seals, marks, removals, expiry, truncation
//! activity    when it was last active, and when it looks again
//! snapshot    taking a snapshot
//! scrub       scrubbing, piece by piece
//! segments    what it tells those who copy its files, and which of them it lends
//! parting     where its log parts from the one that a reader has read before
//! status      what it tells of itself
//! laws        the laws below, asserted
//! ```
//!
//! `Partition::step(input, now, &mut effects)` decides what an input does and says what is to be
//! performed; it never waits, reads a clock, opens a file or knows a socket. The core performs
//! effects and hands completions back as inputs, and a test may do the same in any order.
//!
//! What never lives here: the runtime, lanes, frames, the owners of connections.
//!
//! The laws it keeps, asserted after every step (`laws`):
//! `log_start <= high_watermark <= durable <= log_end`; none of the first three ever moves back;
//! nothing at or above the high watermark is read; an offset is told as durable only after the
//! sync that covers it returned.

mod activity;
mod appending;
mod changing;
mod effect;
mod group;
mod input;
mod laws;
mod parting;
mod replication;
mod scrub;
mod segments;
mod snapshot;
mod state;
mod status;
mod upkeep;
mod waiters;

#[cfg(test)]
mod bench;
#[cfg(test)]
mod interleavings;
#[cfg(test)]
mod tests;

pub(crate) use activity::Tick;
pub(crate) use changing::Change;
pub(crate) use effect::{Answer, Effect, Effects, Failed, Refusal};
pub(crate) use group::{ACCEPTED_AGE_MAX, Accepted, Pace};
pub(crate) use input::{Appetite, Held, Incoming, Input, Policy, Seek, Token};
pub(crate) use replication::Replication;
pub(crate) use segments::{NotLent, SEALED_COUNT_MAX};
pub(crate) use state::Partition;
pub(crate) use status::{Place, Status};
pub(crate) use upkeep::Rest;
