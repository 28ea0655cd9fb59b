//! Promises not to take partitions over, of the whole node: kept on core 0, where it is written down who
//! owns what.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use corelog_protocol::error::{Detail, ErrorCode};
use corelog_record::LeaderEpoch;
use corelog_storage::format::replica::Role;

use super::admin::Admin;
use super::topic::Topic;
use crate::core::PartitionKey;
use crate::failure::{Failure, busy, failure, failure_with, invalid};
use crate::rt;

/// Partitions that are promised not to be taken over: more than a node hands over at once.
const PROMISES_MAX: usize = 16_384;
/// Where others need room, one of a partition that is not here goes after this: TCP tries to bring a request for a quarter of
/// that. One that something held for longer takes over nothing but what was cloned here again meanwhile from a copy that has
/// no later epoch of its owner either.
const KEPT_FOR: Duration = Duration::from_secs(60 * 60);

/// Who deletes a topic waits for its disk.
const DELETING_RETRY_MS: u32 = 500;

/// Up to which of its owner's epochs a partition is not taken over any more. Kept in memory only, and as
/// long as the process: a request that is still on its way goes to no other one, but may come after the
/// topic was deleted here and cloned again, on whichever core.
#[derive(Debug, Default)]
pub(super) struct Promises {
    by_key: RefCell<HashMap<PartitionKey, Promise>>,
}

#[derive(Debug)]
struct Promise {
    upto: LeaderEpoch,
    /// When it was last given.
    at: Instant,
}

impl Promises {
    /// Promises at `now`. Those of long ago make room, but for partitions that the node has, as `is_here` tells.
    fn add(
        &self,
        (key, epoch): (PartitionKey, LeaderEpoch),
        now: Instant,
        is_here: impl Fn(PartitionKey) -> bool,
    ) -> Result<(), Failure> {
        let mut promised = self.by_key.borrow_mut();
        let is_full = |all: &HashMap<PartitionKey, Promise>| {
            PROMISES_MAX <= all.len() && !all.contains_key(&key)
        };
        if is_full(&promised) {
            promised.retain(|key, promise| now < promise.at + KEPT_FOR || is_here(*key));
        }
        if is_full(&promised) {
            let detail = Detail {
                limit: Some(PROMISES_MAX as u64),
                ..Detail::default()
            };
            let message = "too many handovers were taken back since this node was started";
            return Err(failure_with(ErrorCode::Busy, message, detail));
        }
        let promise = Promise {
            upto: epoch,
            at: now,
        };
        let promise = promised.entry(key).or_insert(promise);
        promise.upto = epoch.max(promise.upto);
        promise.at = now;
        Ok(())
    }

    /// Checks that nothing was promised against taking a partition over at an epoch of its owner.
    ///
    /// # Errors
    /// `InvalidRequest`.
    pub(super) fn check(&self, key: PartitionKey, epoch: LeaderEpoch) -> Result<(), Failure> {
        let promised = self.by_key.borrow();
        match promised.get(&key).is_some_and(|one| epoch <= one.upto) {
            true => {
                let message = "its owner took this handover back";
                Err(invalid("epoch", message))
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
    /// `NotFollower` if the node owns it, or did; `Busy` if too much was promised, or it is being deleted; what the disk does if it is in doubt
    /// whether a restart would find that.
    pub(crate) async fn promise(
        &self,
        key: PartitionKey,
        epoch: LeaderEpoch,
    ) -> Result<(), Failure> {
        let _turn = self.turn.acquire(1).await;
        if self.withdrawn.get() == Some(key.topic) {
            return Err(busy("the topic is being deleted", DELETING_RETRY_MS));
        }
        if let Some(topic) = self.topic_with(key) {
            let replica = topic.replica(key.partition);
            let is_free = replica.is_some_and(|replica| {
                replica.role == Role::Follower && replica.let_go <= Some(epoch)
            });
            if !is_free {
                let message = "this node owns the partition already, or did";
                return Err(failure(ErrorCode::NotFollower, message));
            }
            // A promise ends with the process: what a restart finds has to keep it.
            self.settle(&topic).await?;
        }
        let is_here = |key| self.topic_with(key).is_some();
        self.promises.add((key, epoch), rt::now(), is_here)
    }

    /// The topic that a partition of this node is of.
    fn topic_with(&self, key: PartitionKey) -> Option<Arc<Topic>> {
        let routes = self.core.routes.borrow();
        let topic = routes.topic_by_id(key.topic)?;
        topic.owner(key.partition).map(|_| Arc::clone(topic))
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
    use super::*;
    use crate::core::tests;

    fn key(partition: usize) -> PartitionKey {
        tests::key(1, u32::try_from(partition).unwrap())
    }

    fn epoch(number: i32) -> LeaderEpoch {
        LeaderEpoch::new(number).unwrap()
    }

    #[test]
    fn a_promise_is_kept_for_its_epoch_and_those_before() {
        let promises = Promises::default();
        add(&promises, (0, 7), rt::now()).unwrap();
        add(&promises, (0, 5), rt::now()).unwrap();
        let refused = promises.check(key(0), epoch(7)).unwrap_err();
        assert_eq!(refused.detail.field.as_deref(), Some("epoch"));
        assert!(promises.check(key(0), epoch(8)).is_ok());
        assert!(promises.check(key(1), epoch(7)).is_ok());
    }

    #[test]
    fn what_cannot_be_remembered_is_not_promised() {
        let (promises, now) = (full(rt::now()), rt::now());
        let refused = add(&promises, (PROMISES_MAX, 1), now).unwrap_err();
        assert!(refused.is(ErrorCode::Busy));
        // One that is remembered already takes no more room.
        add(&promises, (0, 2), now).unwrap();
        assert!(promises.check(key(0), epoch(2)).is_err());
    }

    /// Whoever asked for those of 16,384 topics that there never were kept each handover to this node from being taken
    /// back until a restart.
    #[test]
    fn promises_for_what_is_not_here_make_room_when_no_request_is_on_its_way_any_more() {
        let begun = rt::now();
        let promises = full(begun);
        let later = begun + KEPT_FOR;
        // This one was given anew.
        add(&promises, (1, 1), later).unwrap();
        add(&promises, (PROMISES_MAX, 1), later).unwrap();
        for kept in [0, 1, PROMISES_MAX] {
            assert!(promises.check(key(kept), epoch(1)).is_err(), "{kept}");
        }
        assert!(promises.check(key(2), epoch(1)).is_ok());
    }

    /// On a node that has partition 0 alone.
    fn add(
        promises: &Promises,
        (partition, number): (usize, i32),
        now: Instant,
    ) -> Result<(), Failure> {
        let promise = (key(partition), epoch(number));
        promises.add(promise, now, |asked| asked == key(0))
    }

    /// Promises at `now` for as many partitions as there may be.
    fn full(now: Instant) -> Promises {
        let promises = Promises::default();
        for partition in 0..PROMISES_MAX {
            add(&promises, (partition, 1), now).unwrap();
        }
        promises
    }
}
