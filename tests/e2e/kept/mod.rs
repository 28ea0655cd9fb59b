//! What is kept beside the logs, and what is done about bytes that rot: snapshots, restores, the
//! hold of retention, the scrub.
//!
//! ```text
//! records   records of a test's own, many and large enough to fill segments
//! snapshot  taking, listing, deleting, exporting
//! restore   a topic made of a snapshot
//! hold      retention that waits for a snapshot
//! events    what a start finds
//! damage    a byte that changes under a server that serves
//! ```

mod damage;
mod events;
mod hold;
pub(crate) mod records;
mod restore;
mod snapshot;
