//! Corelog's data plane: a node of pinned cores, each of which owns partitions that nobody else
//! touches.
//!
//! ```text
//! node/       a whole node, from the first check to the last sync
//! conn/       client connections: bytes to requests, answers to bytes
//! router/     from a request to the core that owns its partition, and back
//! core/       a core: its partitions and everything that performs their decisions
//! partition/  one partition's decisions: no runtime, no clock, no socket
//! follow/     copies of other nodes' partitions, and of this node's
//! catalog/    the topics: core 0 writes, every core knows
//! transfer/   bulk bytes between nodes, on threads of their own
//! metrics/    what a node counts and tells about itself
//! names       other nodes, reached by their names
//! machine     which machine a client is on
//! frame_id    which frame something is done for, in the log
//! failure     why a request failed, on its way to the client
//! error       why a node did not start, or did not stop cleanly
//! config      what a node is told at start
//! rate        what of it may change while it runs
//! random      random bytes of the system
//! sys/        what only the kernel can answer: limits, locks, descriptors
//! rt/         the runtime's vocabulary; the only room that names glommio
//! ```
//!
//! A panic on a core ends the process when it is built with `panic = "abort"`, as the release
//! profile is: half a node is worse than none, and recovery is cheap.

pub mod config;
pub mod metrics;
pub mod rt;
pub mod sys;

mod catalog;
mod conn;
mod core;
mod error;
mod failure;
mod follow;
mod frame_id;
mod machine;
mod names;
mod node;
mod partition;
mod random;
mod rate;
mod router;
mod transfer;

pub use catalog::CatalogError;
pub use config::NodeConfig;
pub use error::{AskError, StartError, StopError};
pub use node::{Addresses, Handle, Node, StartReport};
