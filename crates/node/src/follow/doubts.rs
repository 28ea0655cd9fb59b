//! Partitions that this node may own no longer: while it was away, one of those that follow it may have been promoted.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use corelog_record::CopyId;

use crate::core::PartitionKey;

/// How long behind a start they are neither written nor read. Whoever has not answered by then may be gone for good.
pub(super) const DOUBT_MAX: Duration = Duration::from_secs(5);

/// Those of a core of which copies that are remembered have yet to be asked, for the first time since the start.
#[derive(Debug, Default)]
pub(crate) struct Doubts {
    unasked: RefCell<HashMap<PartitionKey, Vec<CopyId>>>,
}

impl Doubts {
    /// A copy may own a partition by now.
    pub(super) fn raise(&self, key: PartitionKey, copy: CopyId) {
        self.unasked.borrow_mut().entry(key).or_default().push(copy);
    }

    /// It was asked, cannot be, or follows.
    pub(super) fn settle(&self, key: PartitionKey, copy: CopyId) {
        let mut unasked = self.unasked.borrow_mut();
        let Some(copies) = unasked.get_mut(&key) else {
            return;
        };
        copies.retain(|unasked| *unasked != copy);
        if copies.is_empty() {
            unasked.remove(&key);
        }
    }

    /// If there is one of a partition.
    pub(crate) fn is_open(&self, key: PartitionKey) -> bool {
        self.unasked.borrow().contains_key(&key)
    }

    /// Ends those of a partition that goes away.
    pub(super) fn forget(&self, key: PartitionKey) {
        self.unasked.borrow_mut().remove(&key);
    }

    /// Ends all, and tells of how many partitions there were some.
    pub(super) fn end(&self) -> usize {
        self.unasked.take().len()
    }
}

#[cfg(test)]
mod tests {
    use corelog_record::{PartitionId, TopicId};

    use super::*;

    #[test]
    fn a_partition_is_in_doubt_until_each_of_its_copies_was_asked() {
        let doubts = Doubts::default();
        let [one, other] = [1, 2].map(|id| CopyId::from_bytes([id; 16]));
        doubts.raise(key(0), one);
        doubts.raise(key(0), other);
        doubts.settle(key(0), one);
        doubts.settle(key(0), one);
        doubts.settle(key(1), other);
        assert!(doubts.is_open(key(0)) && !doubts.is_open(key(1)));
        doubts.settle(key(0), other);
        assert!(!doubts.is_open(key(0)));
        assert_eq!(doubts.end(), 0);
    }

    #[test]
    fn doubts_end_for_all_partitions_that_still_have_some() {
        let doubts = Doubts::default();
        let copy = CopyId::from_bytes([1; 16]);
        for partition in 0..3 {
            doubts.raise(key(partition), copy);
        }
        doubts.forget(key(1));
        assert_eq!(doubts.end(), 2);
        assert!(!doubts.is_open(key(0)));
    }

    fn key(partition: u32) -> PartitionKey {
        PartitionKey {
            topic: TopicId::from_bytes([7; 16]),
            partition: PartitionId::new(partition),
        }
    }
}
