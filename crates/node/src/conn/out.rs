//! What a connection has to send.

use std::cell::Cell;
use std::collections::VecDeque;

use super::untaken::Held;
use crate::router::{Batches, Room};

/// Behind so many bytes of frames the next begin in memory of their own: what grows by doubling holds up to twice what
/// is counted, and half as much again while it is moved.
const FRAMES_BYTES_MAX: usize = 256 << 10;

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
    /// How much of the core's room its batches take until all of them were sent, beside what is `held`.
    pub(super) fn batches_with(&self, held: Held) -> Held {
        self.chunks.iter().fold(held, |held, chunk| match chunk {
            Chunk::Bytes(_) => held,
            Chunk::Batches(_, room) => held.with(room),
        })
    }

    /// Where the next frame goes, in `spare` if it is the first one.
    pub(super) fn frames(&mut self, spare: &Cell<Vec<u8>>) -> &mut Vec<u8> {
        let is_open = |chunk: &Chunk| match chunk {
            Chunk::Bytes(bytes) => bytes.len() < FRAMES_BYTES_MAX,
            Chunk::Batches(..) => false,
        };
        if !self.chunks.back().is_some_and(is_open) {
            if self.chunks.capacity() == 0 {
                // Most often the only one.
                self.chunks.reserve_exact(1);
            }
            self.chunks.push_back(Chunk::Bytes(spare.take()));
        }
        match self.chunks.back_mut() {
            Some(Chunk::Bytes(bytes)) => bytes,
            _ => unreachable!("there is room for frames at the end"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All answers that a client did not take were one buffer, which took up to twice what was counted.
    #[test]
    fn many_answers_take_no_more_than_they_come_to_and_a_little() {
        let (mut out, spare) = (Out::default(), Cell::new(Vec::with_capacity(100)));
        out.frames(&spare).extend([1; 70]);
        out.frames(&spare).extend([2; 30]);
        assert_eq!(out.chunks.len(), 1, "small ones leave together");
        assert_eq!(out.chunks.capacity(), 1, "most connections never have more");
        let large = vec![3; (1 << 20) + 1];
        for _ in 0..33 {
            out.frames(&spare).extend(&large);
        }
        let held = out.chunks.iter().map(|chunk| match chunk {
            Chunk::Bytes(bytes) => bytes.capacity(),
            Chunk::Batches(..) => 0,
        });
        let counted = 100 + 33 * large.len();
        assert!(held.sum::<usize>() < counted + (1 << 20));
    }
}
