//! What only the kernel can answer.
//!
//! ```text
//! fd      descriptors handed between the standard library and the runtime
//! ```
//!
//! With `storage::disk::map` this is the only room where `unsafe` may stand; its public face is
//! safe. Nothing in here knows what a record, a partition or a frame is.

pub(crate) mod fd;
