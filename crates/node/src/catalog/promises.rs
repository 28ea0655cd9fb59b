//! Promises not to take partitions over, of the whole node: kept on core 0, where it is written down who
//! owns what.

use std::cell::RefCell;
use std::collections::HashMap;

use corelog_protocol::error::{Detail, ErrorCode};
use corelog_record::LeaderEpoch;
use corelog_storage::format::replica::Role;

use super::admin::Admin;
use crate::core::PartitionKey;
use crate::failure::{Failure, failure, failure_with};

/// Partitions that are promised not to be taken over: more than a node hands over at once.
const PROMISES_MAX: usize = 16_384;

/// Up to which of its owner's epochs a partition is not taken over any more. Kept in memory only, and as
/// long as the process: a request that is still on its way goes to no other one, but may come after the
/// topic was deleted here and cloned again, on whichever core.
#[derive(Debug, Default)]
pub(super) struct Promises {
    upto: RefCell<HashMap<PartitionKey, LeaderEpoch>>,
}

impl Promises {
    fn add(&self, key: PartitionKey, epoch: LeaderEpoch) -> Result<(), Failure> {
        let mut promised = self.upto.borrow_mut();
        if promised.len() >= PROMISES_MAX && !promised.contains_key(&key) {
            let detail = Detail {
                limit: Some(PROMISES_MAX as u64),
                ..Detail::default()
            };
            let message = "too many handovers were taken back since this node was started";
            return Err(failure_with(ErrorCode::Busy, message, detail));
        }
        let upto = promised.entry(key).or_insert(epoch);
        *upto = epoch.max(*upto);
        Ok(())
    }

    /// Checks that nothing was promised against taking a partition over at an epoch of its owner.
    ///
    /// # Errors
    /// `InvalidRequest`.
    pub(super) fn check(&self, key: PartitionKey, epoch: LeaderEpoch) -> Result<(), Failure> {
        let promised = self.upto.borrow();
        match promised.get(&key).is_some_and(|upto| epoch <= *upto) {
            true => {
                let message = "its owner took this handover back";
                Err(failure(ErrorCode::InvalidRequest, message))
            }
            false => Ok(()),
        }
    }
}

impl Admin {
    /// Promises that a partition is taken over no more at epochs of its owner up to `epoch`, whether the
    /// node has it or not. What is being written down meanwhile has ended before.
    ///
    /// # Errors
    /// `NotFollower` if the node owns it, or did; `Busy` if too much was promised; what the disk does if it is in doubt
    /// whether a restart would find that.
    pub(crate) async fn promise(
        &self,
        key: PartitionKey,
        epoch: LeaderEpoch,
    ) -> Result<(), Failure> {
        let _turn = self.turn.acquire(1).await;
        let topic = self.core.routes.borrow().topic_by_id(key.topic).cloned();
        let topic = topic.filter(|topic| topic.owner(key.partition).is_some());
        if let Some(topic) = topic {
            let role = topic.replica(key.partition).map(|replica| replica.role);
            if role != Some(Role::Follower) {
                let message = "this node owns the partition already, or did";
                return Err(failure(ErrorCode::NotFollower, message));
            }
            // A promise ends with the process: what a restart finds has to keep it.
            self.settle(&topic).await?;
        }
        self.promises.add(key, epoch)
    }

    /// Checks that a partition may be taken over at an epoch of its owner.
    ///
    /// # Errors
    /// `InvalidRequest` if that was promised against.
    pub(crate) fn check_promise(
        &self,
        key: PartitionKey,
        epoch: LeaderEpoch,
    ) -> Result<(), Failure> {
        self.promises.check(key, epoch)
    }
}

#[cfg(test)]
mod tests {
    use corelog_record::{PartitionId, TopicId};

    use super::*;

    fn key(partition: usize) -> PartitionKey {
        PartitionKey {
            topic: TopicId::from_bytes([1; 16]),
            partition: PartitionId::new(u32::try_from(partition).unwrap()),
        }
    }

    fn epoch(number: i32) -> LeaderEpoch {
        LeaderEpoch::new(number).unwrap()
    }

    #[test]
    fn a_promise_is_kept_for_its_epoch_and_those_before() {
        let promises = Promises::default();
        promises.add(key(0), epoch(7)).unwrap();
        promises.add(key(0), epoch(5)).unwrap();
        assert!(promises.check(key(0), epoch(7)).is_err());
        assert!(promises.check(key(0), epoch(8)).is_ok());
        assert!(promises.check(key(1), epoch(7)).is_ok());
    }

    #[test]
    fn what_cannot_be_remembered_is_not_promised() {
        let promises = Promises::default();
        for number in 0..PROMISES_MAX {
            promises.add(key(number), epoch(1)).unwrap();
        }
        let refused = promises.add(key(PROMISES_MAX), epoch(1)).unwrap_err();
        assert!(refused.is(ErrorCode::Busy));
        // One that is remembered already takes no more room.
        promises.add(key(0), epoch(2)).unwrap();
        assert!(promises.check(key(0), epoch(2)).is_err());
    }
}
