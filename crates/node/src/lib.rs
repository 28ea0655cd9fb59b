//! Corelog's data plane: a node of pinned cores, each of which owns partitions that nobody else
//! touches.
//!
//! ```text
//! node        a whole node, from the first check to the last sync
//! config      what a node is told at start
//! metrics     what a node counts and tells about itself
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

mod error;
mod node;

pub use config::NodeConfig;
pub use error::{AskError, StartError, StopError};
pub use node::{Addresses, Handle, Node, StartReport};
