//! The memory that the partitions of a core hold, within one budget for all of them: batches on
//! their way to the disk, and flushed batches kept for readers of the tail.

use std::cell::Cell;

use super::slots::{Slot, SlotId};
use super::state::Core;

/// Batches of all partitions of a core that wait for the disk: a few full groups. Beyond, a
/// Produce waits for any flush of the core, or is answered `Busy`.
const UNFLUSHED_BYTES_MAX: usize = 64 << 20;
/// Flushed batches that all partitions of a core keep for readers of their tails.
const KEPT_BYTES_MAX: usize = 64 << 20;

/// What the partitions of a core hold.
#[derive(Debug, Default)]
pub(super) struct Memory {
    unflushed_bytes: Cell<usize>,
    kept_bytes: Cell<usize>,
    /// Whose kept batches go next.
    hand: Cell<usize>,
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
        if self.memory.kept_bytes.get() <= KEPT_BYTES_MAX {
            return;
        }
        let ids = slots.ids();
        for _ in 0..ids.len() {
            let hand = self.memory.hand.get() % ids.len();
            self.memory.hand.set(hand + 1);
            if let Some(slot) = slots.get_mut(ids[hand])
                && ids[hand] != id
            {
                if let Some(partition) = slot.partition_mut() {
                    partition.shrink_tail(0);
                }
                self.memory.weigh(slot);
            }
            if self.memory.kept_bytes.get() <= KEPT_BYTES_MAX / 4 * 3 {
                return;
            }
        }
    }
}

impl Memory {
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
