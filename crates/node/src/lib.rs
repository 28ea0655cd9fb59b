//! Corelog's data plane: one executor per core, its partitions, its connections.
//!
//! ```text
//! sys/   what only the kernel can answer: limits, locks, descriptors
//! rt/    the runtime's vocabulary; the only room that names glommio
//! ```

pub mod rt;
pub mod sys;
