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
}

/// What one partition holds, as it was last looked at.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Held {
    unflushed_bytes: usize,
    kept_bytes: usize,
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
        let ids = slots.ids().into_iter();
        let kept = ids.filter_map(|id| Some((slots.get(id)?.held.kept_bytes, id)));
        let kept = kept.filter(|(bytes, _)| *bytes > 0).collect();
        let_go(kept, excess, |which| {
            let slot = slots.get_mut(*which)?;
            if let Some(partition) = slot.partition_mut() {
                partition.shed_tail();
            }
            self.memory.weigh(slot);
            Some(slot.held.kept_bytes)
        });
    }
}

/// Has whoever keeps most let go of its oldest, again and again, until `excess` bytes less are kept.
/// `shed` gives what is kept after it.
fn let_go<K: Ord>(
    mut kept: BinaryHeap<(usize, K)>,
    excess: usize,
    mut shed: impl FnMut(&K) -> Option<usize>,
) {
    let mut left = excess;
    while left > 0
        && let Some((before, who)) = kept.pop()
    {
        let after = shed(&who).unwrap_or_default();
        left = left.saturating_sub(before.saturating_sub(after));
        if 0 < after && after < before {
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

    fn weigh(&self, slot: &mut Slot) {
        let before = slot.held;
        slot.held = slot
            .partition()
            .map_or_else(Held::default, |partition| Held {
                unflushed_bytes: partition.unflushed_bytes(),
                kept_bytes: partition.tail_bytes(),
            });
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

    /// A slot is emptied: what it held is gone.
    pub(super) fn forget(&self, slot: &mut Slot) {
        let held = std::mem::take(&mut slot.held);
        self.unflushed_bytes
            .set(self.unflushed_bytes.get() - held.unflushed_bytes);
        self.kept_bytes.set(self.kept_bytes.get() - held.kept_bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// What is left of chunks by owner after `excess` bytes had to go.
    fn left(mut chunks: Vec<VecDeque<usize>>, excess: usize) -> Vec<VecDeque<usize>> {
        let bytes = |chunks: &VecDeque<usize>| chunks.iter().sum::<usize>();
        let kept = chunks.iter().enumerate();
        let kept = kept.map(|(who, chunks)| (bytes(chunks), who)).collect();
        let_go(kept, excess, |who| {
            chunks[*who].pop_front();
            Some(bytes(&chunks[*who]))
        });
        chunks
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
