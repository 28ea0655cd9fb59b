//! Errors as they travel: a code, a sentence for people, a detail for programs.
//!
//! Lives here: the one table of codes and the body that carries one. Never here: errors of this
//! crate's own decoding ([`crate::frame::FrameError`]), which are turned into a body to be sent.
//! The law: **a code is never renumbered or reused**, and each states its outcome.

mod batch;
mod body;
mod code;

pub use body::{Detail, ErrorBody};
pub use code::{Applied, ErrorCode, Retry};
