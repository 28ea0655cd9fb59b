//! One partition's decisions, apart from everything that performs them.
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
pub(crate) use input::{Appetite, Held, Input, Policy, Seek, Token};
pub(crate) use replication::Replication;
pub(crate) use segments::{NotLent, SEALED_COUNT_MAX};
pub(crate) use state::Partition;
pub(crate) use status::{Place, Status};
pub(crate) use upkeep::Rest;
