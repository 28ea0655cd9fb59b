//! Partitions of this core that another node owns as well, which a person has to end.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use corelog_record::CopyId;

use crate::core::PartitionKey;

/// An owner that was told so often that it is outranked does not yield: the first time it may have had to write down who tells
/// before it could ask that one.
const TOLD_MAX: u32 = 2;

/// Partitions of this core of which something is known by a copy, each with that.
#[derive(Debug, Default)]
pub(crate) struct Noted(RefCell<BTreeSet<(PartitionKey, CopyId)>>);

impl Noted {
    /// Takes note of it; true if that was not known.
    pub(super) fn note(&self, key: PartitionKey, by: CopyId) -> bool {
        self.0.borrow_mut().insert((key, by))
    }

    pub(super) fn knows(&self, key: PartitionKey, by: CopyId) -> bool {
        self.0.borrow().contains(&(key, by))
    }

    /// It is so no more.
    pub(super) fn settle(&self, key: PartitionKey, by: CopyId) {
        self.0.borrow_mut().remove(&(key, by));
    }

    /// How many partitions there are of which the copy `is_it` still; it forgets the others.
    pub(super) fn count(&self, is_it: impl Fn(PartitionKey, CopyId) -> bool) -> usize {
        let mut by = self.0.borrow_mut();
        by.retain(|(key, copy)| is_it(*key, *copy));
        let mut last = None;
        let is_new = |(key, _): &&(PartitionKey, CopyId)| last.replace(*key) != Some(*key);
        by.iter().filter(is_new).count()
    }
}

/// Each with the copy that tells so.
#[derive(Debug, Default)]
pub(crate) struct Contested {
    by: Noted,
    /// How often each that owns it was told that it is outranked.
    told: RefCell<BTreeMap<(PartitionKey, CopyId), u32>>,
}

impl Contested {
    /// Another node owns the partition as well, says the copy.
    pub(super) fn note(&self, key: PartitionKey, by: CopyId) {
        self.by.note(key, by);
    }

    pub(super) fn knows(&self, key: PartitionKey, by: CopyId) -> bool {
        self.by.knows(key, by)
    }

    /// The copy owns the partition, and was told that it is outranked; true if it was so often before that it does not yield.
    pub(super) fn note_told(&self, key: PartitionKey, copy: CopyId) -> bool {
        let mut told = self.told.borrow_mut();
        let count = told.entry((key, copy)).or_default();
        *count = count.saturating_add(1);
        TOLD_MAX < *count
    }

    /// The copy does not say so any more.
    pub(super) fn settle(&self, key: PartitionKey, by: CopyId) {
        self.by.settle(key, by);
        self.told.borrow_mut().remove(&(key, by));
    }

    /// How many partitions there are of which the copy still `is_follower`; it forgets the others.
    pub(super) fn count(&self, is_follower: impl Fn(PartitionKey, CopyId) -> bool) -> usize {
        let mut told = self.told.borrow_mut();
        told.retain(|(key, by), _| is_follower(*key, *by));
        self.by.count(is_follower)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::tests::key;

    #[test]
    fn a_partition_is_contested_once_until_no_follower_says_so() {
        let contested = Contested::default();
        let key = |partition| key(1, partition);
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

    #[test]
    fn an_owner_has_time_to_yield_once_it_was_told() {
        let contested = Contested::default();
        let key = key(1, 0);
        let [one, other] = [1, 2].map(|id| CopyId::from_bytes([id; 16]));
        let told = |copy| contested.note_told(key, copy);
        assert_eq!([told(one), told(one), told(one)], [false, false, true]);
        contested.settle(key, other);
        assert!(told(one), "another one has yielded");
        contested.settle(key, one);
        assert!(!told(one));
        assert!(!told(one));
        assert_eq!(contested.count(|_, _| false), 0);
        assert!(!told(one), "it was forgotten");
    }
}
