//! The memory that the partitions of a core hold, within one budget for all of them: batches on
//! their way to the disk, and flushed batches kept for readers of the tail.

use std::cell::Cell;

use super::slots::{Slot, SlotId};
use super::state::Core;

/// Batches of all partitions of a core that wait for the disk: a few full groups. Beyond, a
/// Produce waits for any flush of the core, or is answered `Busy`.
const UNFLUSHED_BYTES_MAX: usize = 64 << 20;

/// What the partitions of a core hold.
#[derive(Debug)]
pub(super) struct Memory {
    /// What all of them may keep for readers of their tails, in bytes.
    kept_bytes_max: usize,
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
        unflushed == 0 || unflushed + bytes <= UNFLUSHED_BYTES_MAX
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
        let ids = slots.ids();
        let kept = ids.iter().filter_map(|id| slots.get(*id));
        let level = level_of(kept.map(|slot| slot.held.kept_bytes).collect(), wanted);
        for id in ids {
            if let Some(slot) = slots.get_mut(id)
                && level < slot.held.kept_bytes
            {
                if let Some(partition) = slot.partition_mut() {
                    partition.shrink_tail(level);
                }
                self.memory.weigh(slot);
            }
        }
    }
}

/// The most that each may keep so that all together keep `wanted` bytes: who keeps less is left alone.
fn level_of(mut kept: Vec<usize>, wanted: usize) -> usize {
    kept.sort_unstable();
    let (mut left, mut count) = (wanted, kept.len());
    for bytes in kept {
        if left / count < bytes {
            return left / count;
        }
        left -= bytes;
        count -= 1;
    }
    usize::MAX
}

impl Memory {
    pub(super) fn new(kept_bytes_max: usize) -> Self {
        Self {
            kept_bytes_max,
            unflushed_bytes: Cell::new(0),
            kept_bytes: Cell::new(0),
        }
    }

    /// What all partitions may keep for readers of their tails, and so one alone, in bytes.
    pub(super) fn kept_bytes_max(&self) -> usize {
        self.kept_bytes_max
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
    use super::*;

    #[test]
    fn who_keeps_most_lets_go_first_and_who_keeps_little_is_left_alone() {
        assert_eq!(level_of(vec![100], 80), 80);
        assert_eq!(level_of(vec![100, 1, 1], 80), 78);
        assert_eq!(level_of(vec![60, 50, 10], 90), 40);
        assert_eq!(level_of(vec![10, 20], 90), usize::MAX);
        assert_eq!(level_of(vec![30, 30, 30], 0), 0);
        assert_eq!(level_of(Vec::new(), 0), usize::MAX);
    }

    #[test]
    fn together_they_keep_what_is_wanted_whatever_each_kept() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..1_000 {
            let kept: Vec<_> = (0..random.usize(1..50))
                .map(|_| random.usize(0..1_000))
                .collect();
            let wanted = random.usize(0..kept.iter().sum::<usize>() + 1);
            let level = level_of(kept.clone(), wanted);
            let after: usize = kept.iter().map(|bytes| level.min(*bytes)).sum();
            // Less by what a whole share cannot divide.
            assert!(
                after <= wanted && wanted < after + kept.len().max(1),
                "{kept:?} {wanted}"
            );
        }
    }
}
