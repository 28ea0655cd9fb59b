//! Bulk bytes between nodes: files of sealed segments, beside everything that clients wait for.
//!
//! ```text
//! send     the parts that a CopySegments request names, in turns
//! turn     one turn of it: pieces of a file behind the heads of their answers
//! places   who takes the next turn
//! threads  the threads that take turns
//! budget   bytes in a second, over the whole node
//! cache    what a sender reads ahead, and gives back to the page cache
//! peer     a connection to a node that sends, of a thread that may wait
//! receive  segments from others, several at once, from whoever has them
//! stop     a wish that work on other threads ends
//! ```
//!
//! A core never touches these bytes: it lends an open descriptor, and a thread has the kernel send
//! from it. Whoever waits there, for a cold disk or a peer that is slow to read, is that thread.
//!
//! The laws of the room: a peer has a place for seconds, then others come first; a file is open while
//! its turn lasts; what was cached before a transfer is cached after it, and nothing else. What comes in is
//! verified, whoever sent it, and goes around the page cache.

mod budget;
mod cache;
mod peer;
mod places;
mod receive;
mod send;
mod stop;
mod threads;
mod turn;

pub(crate) use peer::RATE_MIN;
#[cfg(test)]
pub(crate) use receive::tests::source_of;
pub(crate) use receive::{
    Claims, Done, Met, Order, Progress, RECEIVERS, ReceiveError, Received, Wanted,
};
pub(crate) use send::{Ended, send};
pub(crate) use threads::{PLACES, Transfers};

/// What a node sends of segments in a second unless it is told otherwise.
pub(crate) const RATE_DEFAULT: u64 = 128 << 20;
