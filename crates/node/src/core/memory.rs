//! The memory that the partitions of a core hold, within one budget for all of them: batches on
//! their way to the disk, and flushed batches kept for readers of the tail.

use std::cell::Cell;
use std::collections::BinaryHeap;

use super::budget::Budget;
use super::slots::{Slot, SlotId};
use super::state::Core;

/// What the partitions of a core hold.
#[derive(Debug)]
pub(super) struct Memory {
    /// What all of them may keep for readers of their tails, in bytes.
    kept_bytes_max: usize,
    /// What may wait for the disk: beyond it a Produce waits for any flush of the core, or is answered
    /// `Busy`.
    unflushed_bytes_max: usize,
    unflushed_bytes: Cell<usize>,
    kept_bytes: Cell<usize>,
    /// What all of them have begun to keep so far: a clock that runs only while records come.
    kept_bytes_total: Cell<u64>,
}

/// What one partition holds, as it was last looked at.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Held {
    unflushed_bytes: usize,
    kept_bytes: usize,
    /// What the core had begun to keep when this one last did.
    kept_at: u64,
}

impl Core {
    /// If so many bytes more may wait for the disk.
    pub(super) fn has_room_for(&self, bytes: usize) -> bool {
        let unflushed = self.memory.unflushed_bytes.get();
        unflushed == 0 || unflushed + bytes <= self.memory.unflushed_bytes_max
    }

    /// Looks at what a partition holds now, and has partitions let go of what is too much.
    pub(super) fn weigh(&self, id: SlotId) {
        let mut slots = self.slots.borrow_mut();
        if let Some(slot) = slots.get_mut(id) {
            self.memory.weigh(slot);
        }
        if self.memory.kept_bytes.get() <= self.memory.kept_bytes_max {
            return;
        }
        // A little more goes than has to, so that this is seldom.
        let wanted = self.memory.kept_bytes_max / 8 * 7;
        let excess = self.memory.kept_bytes.get() - wanted;
        let kept = slots
            .iter()
            .filter(|(_, slot)| slot.held.kept_bytes > 0)
            .map(|(id, slot)| (self.memory.kept(&slot.held), id))
            .collect();
        let_go(kept, excess, |which| {
            let slot = slots.get_mut(*which)?;
            if let Some(partition) = slot.partition_mut() {
                partition.shed_tail();
            }
            self.memory.weigh(slot);
            Some(self.memory.kept(&slot.held))
        });
    }
}

/// What a partition keeps for readers, and how much that counts: who counts most lets go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Kept {
    weight: u64,
    bytes: usize,
}

impl Kept {
    /// Of a partition that keeps `bytes`, while others of its core have begun to keep `newer_bytes` since it last
    /// began to keep any, and all may keep `bytes_max`. An idle partition lets go before a busy one; of those
    /// alike who keeps more; and whoever keeps little, behind all who do not.
    fn new(bytes: usize, newer_bytes: u64, bytes_max: usize) -> Self {
        let step = (bytes_max / IDLE_PART).max(1) as u64;
        let idle = match bytes < bytes_max / LITTLE_PART {
            true => 0,
            false => newer_bytes / step,
        };
        let weight = (bytes as u64).saturating_mul(idle.saturating_add(1));
        Self { weight, bytes }
    }
}

/// A partition is idle while others begin to keep this part of what all may keep, and counts as often again
/// with each such part.
const IDLE_PART: usize = 64;
/// Less than this part of what all may keep is little: to let go of it would gain nothing, and costs
/// whoever reads a quiet partition's last records a read of the disk.
const LITTLE_PART: usize = 1024;

/// Has whoever counts most let go of its oldest, again and again, until `excess` bytes less are kept.
/// `shed` gives what is kept after it.
fn let_go<K: Ord>(
    mut kept: BinaryHeap<(Kept, K)>,
    excess: usize,
    mut shed: impl FnMut(&K) -> Option<Kept>,
) {
    let mut left = excess;
    while left > 0
        && let Some((before, who)) = kept.pop()
    {
        let Some(after) = shed(&who) else { continue };
        left = left.saturating_sub(before.bytes.saturating_sub(after.bytes));
        if 0 < after.bytes && after.bytes < before.bytes {
            kept.push((after, who));
        }
    }
}

impl Memory {
    pub(super) fn new(budget: &Budget) -> Self {
        Self {
            kept_bytes_max: budget.kept,
            unflushed_bytes_max: budget.unflushed,
            unflushed_bytes: Cell::new(0),
            kept_bytes: Cell::new(0),
            kept_bytes_total: Cell::new(0),
        }
    }

    /// What all partitions may keep for readers of their tails, and so one alone, in bytes.
    pub(super) fn kept_bytes_max(&self) -> usize {
        self.kept_bytes_max
    }

    /// What waits for the disk, in bytes.
    pub(super) fn unflushed_bytes(&self) -> u64 {
        self.unflushed_bytes.get() as u64
    }

    /// What is kept for readers of the tails, in bytes.
    pub(super) fn kept_bytes(&self) -> u64 {
        self.kept_bytes.get() as u64
    }

    fn kept(&self, held: &Held) -> Kept {
        let newer_bytes = self.kept_bytes_total.get() - held.kept_at;
        Kept::new(held.kept_bytes, newer_bytes, self.kept_bytes_max)
    }

    /// Counts what a slot holds now: nothing once its partition is taken out.
    pub(super) fn weigh(&self, slot: &mut Slot) {
        let before = slot.held;
        let (unflushed_bytes, kept_bytes) = slot.partition().map_or((0, 0), |partition| {
            (partition.unflushed_bytes(), partition.tail_bytes())
        });
        let begun = kept_bytes.saturating_sub(before.kept_bytes) as u64;
        let kept_bytes_total = self.kept_bytes_total.get() + begun;
        self.kept_bytes_total.set(kept_bytes_total);
        slot.held = Held {
            unflushed_bytes,
            kept_bytes,
            kept_at: match begun {
                0 => before.kept_at,
                _ => kept_bytes_total,
            },
        };
        let change = |sum: &Cell<usize>, before: usize, after: usize| {
            assert!(before <= sum.get(), "more is let go than is held");
            sum.set(sum.get() - before + after);
        };
        change(
            &self.unflushed_bytes,
            before.unflushed_bytes,
            slot.held.unflushed_bytes,
        );
        change(&self.kept_bytes, before.kept_bytes, slot.held.kept_bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// All may keep so much.
    const BYTES_MAX: usize = 1 << 20;

    /// What is left of chunks by owner after `excess` bytes had to go, where others have begun to keep
    /// `newer` bytes since each one last did.
    fn left_of_idle(
        mut chunks: Vec<VecDeque<usize>>,
        newer: &[u64],
        excess: usize,
    ) -> Vec<VecDeque<usize>> {
        let kept = |who: usize, chunks: &VecDeque<usize>| {
            Kept::new(chunks.iter().sum(), newer[who], BYTES_MAX)
        };
        let all = chunks.iter().enumerate();
        let all = all.map(|(who, chunks)| (kept(who, chunks), who)).collect();
        let_go(all, excess, |who| {
            chunks[*who].pop_front();
            Some(kept(*who, &chunks[*who]))
        });
        chunks
    }

    /// The same where all are busy.
    fn left(chunks: Vec<VecDeque<usize>>, excess: usize) -> Vec<VecDeque<usize>> {
        let newer = vec![0; chunks.len()];
        left_of_idle(chunks, &newer, excess)
    }

    #[test]
    fn an_idle_partition_lets_go_before_a_busy_one_that_keeps_more() {
        let part = BYTES_MAX / 8;
        let (idle, busy) = (VecDeque::from([part; 3]), VecDeque::from([part; 5]));
        let newer = [5 * part as u64, 0];
        let after = left_of_idle(vec![idle, busy.clone()], &newer, part + 1);
        assert_eq!(after, vec![VecDeque::from([part]), busy]);
    }

    #[test]
    fn of_idle_partitions_those_that_keep_little_are_left_alone() {
        let little = BYTES_MAX / LITTLE_PART - 1;
        let chunks = vec![VecDeque::from([little]), VecDeque::from([little + 1; 3])];
        let after = left_of_idle(chunks, &[u64::MAX, 0], 3 * little + 3);
        assert_eq!(after, vec![VecDeque::from([little]), VecDeque::new()]);
    }

    #[test]
    fn an_hour_of_other_records_between_two_of_a_partition_does_not_overflow() {
        let idle = Kept::new(usize::MAX >> 1, u64::MAX, 0);
        assert!(Kept::new(1, 0, 0) < idle);
    }

    #[test]
    fn who_keeps_most_lets_go_of_its_oldest_and_who_keeps_little_is_left_alone() {
        let after = left(vec![[4, 4, 4].into(), [1].into(), [2, 3].into()], 6);
        assert_eq!(after, vec![VecDeque::from([4]), [1].into(), [2, 3].into()]);
    }

    #[test]
    fn no_more_goes_than_has_to_also_where_each_keeps_one_chunk() {
        let after = left(vec![[4].into(); 17], 12);
        assert_eq!(after.iter().filter(|chunks| chunks.is_empty()).count(), 3);
        assert_eq!(left(vec![[4].into()], 100), vec![VecDeque::new()]);
        assert!(left(Vec::new(), 1).is_empty());
    }

    #[test]
    fn at_most_one_chunk_too_many_goes() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..1_000 {
            let chunks = |random: &mut fastrand::Rng| {
                let count = random.usize(0..9);
                (0..count)
                    .map(|_| random.usize(1..100))
                    .collect::<VecDeque<_>>()
            };
            let owners = random.usize(1..20);
            let before: Vec<_> = (0..owners).map(|_| chunks(&mut random)).collect();
            let sum = |all: &[VecDeque<usize>]| all.iter().flatten().sum::<usize>();
            let excess = random.usize(0..=sum(&before));
            let gone = sum(&before) - sum(&left(before.clone(), excess));
            assert!(excess <= gone && gone < excess + 100, "{before:?} {excess}");
        }
    }
}
