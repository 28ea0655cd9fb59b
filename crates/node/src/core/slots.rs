//! The partitions of one core, by slot and by key.

use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use corelog_record::{LeaderEpoch, PartitionId, TopicId};
use corelog_storage::log::CallOff;

use super::Disk;
use super::again::Again;
use super::board::Board;
use super::memory::Held;
use super::scrub::Scrubbing;
use super::sweep::Swept;
use crate::catalog::Topic;
use crate::partition::{Partition, Refusal};

/// Names a partition on every core: the topic by its id, so a recreated topic is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PartitionKey {
    pub(crate) topic: TopicId,
    pub(crate) partition: PartitionId,
}

impl fmt::Display for PartitionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// Names a partition on its own core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SlotId(pub(super) u32);

impl SlotId {
    /// Behind which there is none: the first comes after it.
    pub(super) const LAST: Self = Self(u32::MAX);
}

/// Where one partition lives.
pub(crate) struct Slot {
    pub(crate) key: PartitionKey,
    pub(crate) topic: Arc<Topic>,
    pub(crate) state: SlotState,
    pub(crate) board: Rc<Board>,
    pub(super) held: Held,
    pub(super) swept: Swept,
    pub(super) troubles: Troubles,
    /// Somebody opens, reopens or closes it: nobody else may until that is done.
    pub(super) is_claimed: bool,
    pub(super) scrub: Scrubbing,
    pub(super) again: Again,
    /// Of whoever opens it now.
    pub(super) call_off: CallOff,
    /// The highest epoch of another copy that was heard of: a log that was not open then is told once it is.
    pub(super) heard: Option<LeaderEpoch>,
}

/// What was logged of a partition since its disk last took something: it comes again every second or sooner.
#[derive(Default)]
pub(super) struct Troubles {
    /// A chore failed.
    pub(super) is_chore_told: bool,
    /// A group found no space, or no descriptor.
    pub(super) is_full_told: bool,
}

/// What there is in a slot.
pub(crate) enum SlotState {
    /// The log is being opened, or waits for that.
    Opening,
    /// It serves.
    Open(Box<Partition<Disk>>),
    /// The log found no space, or no descriptor, to be opened with, or its opening was called off, as this says. It is
    /// tried again.
    Unopened(Refusal),
    /// The log could not be opened. If that is because the disk did not give something, it is tried again.
    Failed,
}

/// The partitions of one core.
#[derive(Default)]
pub(crate) struct Slots {
    /// Each in memory of its own: where thousands lie side by side, one more has all of them copied, into as many
    /// bytes again.
    slots: Vec<Option<Box<Slot>>>,
    free: Vec<SlotId>,
    by_key: HashMap<PartitionKey, SlotId>,
}

impl Slots {
    /// Adds a partition that is to be opened; None if it is there already.
    pub(crate) fn add(&mut self, key: PartitionKey, topic: Arc<Topic>) -> Option<SlotId> {
        if self.by_key.contains_key(&key) {
            return None;
        }
        let slot = Box::new(Slot {
            key,
            topic,
            state: SlotState::Opening,
            board: Rc::default(),
            held: Held::default(),
            swept: Swept::default(),
            troubles: Troubles::default(),
            is_claimed: false,
            scrub: Scrubbing::default(),
            again: Again::default(),
            call_off: CallOff::default(),
            heard: None,
        });
        let id = match self.free.pop() {
            Some(id) => id,
            None => {
                self.slots.push(None);
                SlotId(u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX))
            }
        };
        self.slots[id.0 as usize] = Some(slot);
        self.by_key.insert(key, id);
        Some(id)
    }

    pub(crate) fn remove(&mut self, id: SlotId) -> Option<Box<Slot>> {
        let slot = self.slots.get_mut(id.0 as usize)?.take()?;
        self.by_key.remove(&slot.key);
        self.free.push(id);
        Some(slot)
    }

    pub(crate) fn find(&self, key: PartitionKey) -> Option<SlotId> {
        self.by_key.get(&key).copied()
    }

    pub(crate) fn get(&self, id: SlotId) -> Option<&Slot> {
        self.slots.get(id.0 as usize)?.as_deref()
    }

    pub(crate) fn get_mut(&mut self, id: SlotId) -> Option<&mut Slot> {
        self.slots.get_mut(id.0 as usize)?.as_deref_mut()
    }

    pub(crate) fn partition_mut(&mut self, id: SlotId) -> Option<&mut Partition<Disk>> {
        self.get_mut(id)?.partition_mut()
    }

    pub(crate) fn board(&self, id: SlotId) -> Option<&Rc<Board>> {
        Some(&self.get(id)?.board)
    }

    /// Every slot that holds a partition, in the order of slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (SlotId, &Slot)> {
        self.iter_after(SlotId::LAST)
    }

    /// The same, beginning behind one of them and ending with it: whoever takes one at a time comes to all.
    pub(super) fn iter_after(&self, last: SlotId) -> impl Iterator<Item = (SlotId, &Slot)> {
        let count = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        let begin = last.0.saturating_add(1).min(count);
        let ids = (begin..count).chain(0..begin).map(SlotId);
        ids.filter_map(|id| Some((id, self.get(id)?)))
    }

    /// The ids of all slots that hold a partition.
    pub(crate) fn ids(&self) -> Vec<SlotId> {
        self.iter().map(|(id, _)| id).collect()
    }
}

impl Slot {
    /// If its log found no room to be opened in.
    pub(super) fn is_unopened(&self) -> bool {
        matches!(self.state, SlotState::Unopened(_))
    }

    pub(crate) fn partition_mut(&mut self) -> Option<&mut Partition<Disk>> {
        match &mut self.state {
            SlotState::Open(partition) => Some(partition),
            SlotState::Opening | SlotState::Unopened(_) | SlotState::Failed => None,
        }
    }

    pub(crate) fn partition(&self) -> Option<&Partition<Disk>> {
        match &self.state {
            SlotState::Open(partition) => Some(partition),
            SlotState::Opening | SlotState::Unopened(_) | SlotState::Failed => None,
        }
    }
}
