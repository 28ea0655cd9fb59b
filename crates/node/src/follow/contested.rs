//! Partitions of this core that another node owns as well, which a person has to end.

use std::cell::RefCell;
use std::collections::BTreeSet;

use corelog_record::CopyId;

use crate::core::PartitionKey;

/// Each with the copy that tells so.
#[derive(Debug, Default)]
pub(crate) struct Contested(RefCell<BTreeSet<(PartitionKey, CopyId)>>);

impl Contested {
    /// Another node owns the partition as well, says the copy.
    pub(super) fn note(&self, key: PartitionKey, by: CopyId) {
        self.0.borrow_mut().insert((key, by));
    }

    /// The copy does not say so any more.
    pub(super) fn settle(&self, key: PartitionKey, by: CopyId) {
        self.0.borrow_mut().remove(&(key, by));
    }

    /// How many partitions there are of which the copy still `is_follower`; it forgets the others.
    pub(super) fn count(&self, is_follower: impl Fn(PartitionKey, CopyId) -> bool) -> usize {
        let mut contested = self.0.borrow_mut();
        contested.retain(|(key, by)| is_follower(*key, *by));
        let mut last = None;
        let is_new = |(key, _): &&(PartitionKey, CopyId)| last.replace(*key) != Some(*key);
        contested.iter().filter(is_new).count()
    }
}

#[cfg(test)]
mod tests {
    use corelog_record::{PartitionId, TopicId};

    use super::*;

    #[test]
    fn a_partition_is_contested_once_until_no_follower_says_so() {
        let contested = Contested::default();
        let key = |partition| PartitionKey {
            topic: TopicId::from_bytes([1; 16]),
            partition: PartitionId::new(partition),
        };
        let [one, other] = [1, 2].map(|id| CopyId::from_bytes([id; 16]));
        contested.note(key(0), one);
        contested.note(key(0), other);
        contested.note(key(1), one);
        assert_eq!(contested.count(|_, _| true), 2);
        contested.settle(key(0), one);
        assert_eq!(contested.count(|_, _| true), 2);
        contested.settle(key(0), other);
        assert_eq!(contested.count(|_, _| true), 1);
        assert_eq!(contested.count(|_, _| false), 0);
        assert_eq!(contested.count(|_, _| true), 0);
    }
}
