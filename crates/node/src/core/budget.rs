//! How the memory of a core is shared out. Every part has a place where it waits or is refused, and
//! together they are no more than the node was told.

use corelog_protocol::limits;

/// What each part of a core's memory may come to, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Budget {
    /// Records on disk that are kept for readers.
    pub(crate) kept: usize,
    /// Batches that wait for the disk.
    pub(crate) unflushed: usize,
    /// Requests on their way in, beyond each connection's small buffer.
    pub(crate) receive: u64,
    /// Batches that are read for clients, until these have taken them.
    pub(crate) send: u64,
    /// Small answers with batches from memory, which need not wait with the others.
    pub(crate) send_small: u64,
    /// Other answers that clients have not taken.
    pub(crate) answers: usize,
    /// Answers that are made by and by, until they are encoded.
    pub(crate) asked: u64,
    /// Bodies of requests that other cores have in hand.
    pub(crate) lanes: usize,
    /// Answers of other nodes on their way in.
    pub(crate) sources: u64,
}

impl Budget {
    /// Shares out `traffic` bytes for what is under way, beside `kept` for readers; None if that is less
    /// than one of each of the largest things takes.
    pub(crate) fn of(traffic: usize, kept: usize) -> Option<Self> {
        let part = traffic / PARTS;
        let wide = part as u64;
        (PART_BYTES_MIN <= part).then_some(Self {
            kept,
            unflushed: part,
            receive: 4 * wide,
            send: 3 * wide - wide / 2,
            send_small: wide / 2,
            answers: part - part / 4,
            asked: wide / 4,
            lanes: part,
            sources: wide,
        })
    }

    /// The least that has room for one of each of the largest things, in bytes.
    pub(crate) const TRAFFIC_MIN: usize = PARTS * PART_BYTES_MIN;
}

/// What a consumer at the end of a log usually finds is less. Its socket has room for it, so that only who
/// leaves megabytes unread holds any of it.
pub(crate) const SMALL_BYTES: usize = 64 << 10;

/// The parts of what is under way: four to receive, three to send, one each for the disk, other answers,
/// lanes and sources.
const PARTS: usize = 11;

/// The largest frame fits, with what is read of the next one.
const PART_BYTES_MIN: usize = 18 << 20;

const _: () = assert!((limits::FRAME_BYTES_MAX as usize) < PART_BYTES_MIN - (1 << 20));

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(budget: Budget) -> u64 {
        let plain = budget.unflushed + budget.answers + budget.lanes;
        let counted = budget.receive + budget.send + budget.send_small + budget.asked;
        plain as u64 + counted + budget.sources
    }

    #[test]
    fn the_parts_together_are_no_more_than_the_whole() {
        for traffic in [Budget::TRAFFIC_MIN, 704 << 20, (10 << 30) + 7] {
            let budget = Budget::of(traffic, 64 << 20).unwrap();
            assert_eq!(budget.kept, 64 << 20);
            assert!(sum(budget) <= traffic as u64, "{traffic}: {budget:?}");
            assert!(traffic as u64 - sum(budget) < PARTS as u64);
        }
    }

    #[test]
    fn a_core_with_too_little_for_the_largest_frames_is_refused() {
        assert_eq!(Budget::of(Budget::TRAFFIC_MIN - 1, 0), None);
        assert!(Budget::of(Budget::TRAFFIC_MIN, 0).is_some());
    }
}
