//! What a connection has to send.

use std::collections::VecDeque;

use crate::router::{Batches, Room};

/// A piece of what is to be sent.
pub(super) enum Chunk {
    /// Frames, or their heads.
    Bytes(Vec<u8>),
    /// Batches behind the head of their answer, with the room they take.
    Batches(
        Batches,
        #[expect(dead_code, reason = "held until it was sent")] Room,
    ),
}

/// Everything that is to be sent now.
#[derive(Default)]
pub(super) struct Out {
    pub(super) chunks: VecDeque<Chunk>,
    pub(super) answers: usize,
    pub(super) bytes: usize,
    /// What of them is not batches, and is counted with the core's.
    pub(super) answer_bytes: usize,
}
