//! What only the kernel can answer.
//!
//! ```text
//! bulk    sending a file over a socket inside the kernel
//! cooperative  rings that do not interrupt their core
//! error   why a node cannot start here, one sentence each that says what to do
//! fd      descriptors handed between the standard library and the runtime
//! lock    the node's file and its exclusive lock
//! nudge   making a sleeping thread look around
//! pages   what of a file is in the page cache, and what should be
//! place   where a data directory was made, so that a copy is told from it
//! priority  how much of the processor a thread gets
//! probe/  questions before the first core starts; `doctor` asks the same ones
//! stream  copying past the caches
//! ```
//!
//! With `map` and `alone` of `storage::disk` this is the only room where `unsafe` may stand; its public face is safe.
//! Nothing in here knows what a record, a partition or a frame is. What may wait for a disk or a peer is for before the
//! first core starts, or for threads that are no core's.

pub(crate) mod bulk;
pub(crate) mod cooperative;
pub(crate) mod fd;
pub(crate) mod pages;

mod error;
mod lock;
pub(crate) mod nudge;
mod place;
pub(crate) mod priority;
pub mod probe;
pub(crate) mod stream;

pub use error::Error;
pub use lock::NodeFile;
pub use place::claim_place;
