//! What a connection has to send.

use std::collections::VecDeque;

use crate::router::{Batches, Room};

/// A piece of what is to be sent.
pub(super) enum Chunk {
    /// Frames, or their heads.
    Bytes(Vec<u8>),
    /// Batches behind the head of their answer, with the room they take.
    Batches(Batches, Room),
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

impl Out {
    /// How much of the core's room it takes until all of it was sent.
    pub(super) fn held(&self) -> usize {
        let held = |chunk: &Chunk| match chunk {
            Chunk::Bytes(_) => 0,
            Chunk::Batches(_, room) => room.bytes(),
        };
        self.answer_bytes + self.chunks.iter().map(held).sum::<usize>()
    }
}
