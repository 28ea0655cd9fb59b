//! A core: the partitions it owns and everything that performs their decisions.
//!
//! ```text
//! state      what a core holds, and the step that decides and performs
//! slots      its partitions by slot and by key
//! claim      who opens or closes a partition, one at a time
//! lifecycle  opening and closing partitions
//! opening    opening all of them at a start
//! reopen     reopening them: what was here before is no new one
//! again      those that could not be opened, and when they are tried again
//! stop       taking no more requests, then ending connections
//! torn       what openings put into the quarantine, and how long it stays
//! snapshot   its part of a snapshot, and where the last ones of its partitions end
//! scrub      reading sealed segments in the background
//! keeper     the committer, the timers, flushes and chores
//! wanted     whose groups start next
//! slight     whether slight groups are about, while which others hold less
//! sweep      when partitions are looked at for what only time makes due
//! files      turns for what opens files
//! lend       what it shows to who copies its partitions, and the files that it lends
//! fetch      what it gives to readers of its own partitions
//! ahead      what readers of old records take next, read before they ask
//! serve      what it answers to requests for its own partitions
//! describe   what it tells of them
//! events     what happened to their logs, for the operator
//! queue      who waits for room for what is to be appended, in order
//! memory     what its partitions hold in memory, within one budget
//! budget     how the memory of a core is shared out
//! terms      how a Produce is to be done
//! board      up to where a partition is durable, for all who wait for it
//! acks       answers to Produce requests, in order
//! calls      wake-ups that say what they are about
//! aborted    runs of which none is done any more
//! slowest    where the time of slow acknowledgements went
//! tickets    requests that are answered by a later step
//! asked      how long a partition has to begin what it is asked for
//! delay      things that are due a fixed time later
//! refusal    refusals as they travel
//! owner      whether this node is whom to ask
//! replica    what replicas need of its partitions' logs
//! durable    waiting until what a log has in memory is on disk
//! ```
//!
//! What never lives here: sockets, frames, other cores' partitions.
//!
//! The laws: one thread touches a partition; no `RefCell` borrow crosses an await; the flushes of
//! a partition go one at a time, and are never dropped. The committer asks for them, and in the step in which a
//! large one is to follow at once that begins it.

mod aborted;
mod acks;
mod again;
mod ahead;
mod asked;
mod board;
mod budget;
mod calls;
mod claim;
mod delay;
mod describe;
mod durable;
mod events;
mod fetch;
mod files;
mod keeper;
mod lend;
mod lifecycle;
mod memory;
mod opening;
mod owner;
mod queue;
mod refusal;
mod reopen;
mod replica;
mod scrub;
mod serve;
mod slight;
mod slots;
mod slowest;
mod snapshot;
mod state;
mod stop;
mod sweep;
mod terms;
mod tickets;
mod torn;
mod wanted;

#[cfg(test)]
pub(crate) mod tests;

/// The disk a node runs on.
pub(crate) type Disk = crate::rt::UringDir;

pub(crate) use acks::{Acks, Due, Produced, aborted_by};
pub(crate) use budget::{Budget, SMALL_BYTES};
pub(crate) use fetch::{Fetched, Parked, may_heal};
pub(crate) use lend::{Lent, damaged, of_segment};
pub(crate) use lifecycle::Lost;
pub(crate) use opening::Opened;
pub(crate) use queue::Stand;
pub(crate) use refusal::with_causes;
pub(crate) use scrub::RATE_DEFAULT;
pub(crate) use serve::NotAppended;
pub(crate) use slight::Slight;
pub(crate) use slots::PartitionKey;
pub(crate) use snapshot::Taken;
pub(crate) use state::{Core, Shared};
pub(crate) use terms::Terms;
