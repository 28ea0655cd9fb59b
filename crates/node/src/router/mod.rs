//! The way from a request to the core that owns its partition and back.
//!
//! ```text
//! route      which core has a partition; the questions that are the same whichever it is
//! fetch      fetches, wherever the partition is
//! replica    what core 0 is asked of partitions as replicas
//! told       asking a core, and taking the one answer that it can give
//! here       what this core does for whoever asks
//! message    what travels between cores
//! lane       this core's end of the way to another core: credit, what is outstanding
//! inbox      the other end: requests of another core are done, its answers sent back
//! searches   how many searches clients may have under way
//! room       room for answers that are not sent yet
//! patience   how long a client waits for what may come
//! recent     runs that were aborted while more of them was on the way
//! ```
//!
//! Each pair of cores has two bounded lanes. A request leaves only with credit, which stands for a
//! place in the lane of requests and one in the lane of replies: `try_send` never finds either
//! full, and without credit the answer is `Busy`. A parked long poll gives its credit back and asks
//! for a new one when it wakes; the place for its waking is counted apart.
//!
//! What never lives here: sockets, frames, partitions.

mod fetch;
mod here;
mod inbox;
mod lane;
mod message;
mod patience;
mod recent;
mod replica;
mod room;
mod route;
mod searches;
mod told;

pub(crate) use fetch::{Asker, Batches, FetchFrom, fetch};
pub(crate) use inbox::start_inboxes;
pub(crate) use lane::{ConnAcks, LaneEnds, Lanes, Tag, connect};
pub(crate) use message::{Ask, Produce};
pub(crate) use patience::Patience;
pub(crate) use replica::{change_replica, check_promise, promise, take_over_replica};
pub(crate) use room::{CONNECTION_BYTES_MAX, FETCH_BYTES_MAX, Room};
pub(crate) use route::{apply_at, hear, produce_away, route, seek_of, take_at};
pub(crate) use told::{Picked, told};
