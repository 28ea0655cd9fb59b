//! Owning a partition from where its owner asks a follower to.

use std::rc::Rc;

use corelog_protocol::error::{Detail, ErrorCode};
use corelog_protocol::message::take_over;
use corelog_record::{LeaderEpoch, Offset};
use corelog_storage::format::replica::Role;
use corelog_storage::log::HEARD_EPOCH_MAX;

use super::lineage::diverged;
use super::ownership::not_follower;
use crate::core::{Core, PartitionKey};
use crate::failure::{Failure, failure, failure_with, invalid};
use crate::router;

impl Core {
    /// Takes a partition over from its owner, which takes no more appends. Asked for an end that no log
    /// has, it takes over no more at that epoch.
    ///
    /// # Errors
    /// `NotEqual` while this log is not the owner's up to its end, and once it is promised not to be
    /// taken over; `NotFollower`, `Diverged`; `InvalidRequest` at an epoch that was taken back, that
    /// precedes what this node let go of, or that no owner has; `ReadOnly` if damage ends the log; `Busy` while its owner is
    /// changed otherwise.
    pub(crate) async fn take_over(
        self: &Rc<Self>,
        key: PartitionKey,
        request: take_over::Request,
    ) -> Result<take_over::Answer, Failure> {
        let hand = self.take_hand(key)?;
        if request.end == Offset::MAX {
            router::promise(self, key, request.epoch).await?;
            // Its owner goes on by the next: were this copy promoted before it hears that, its epoch has to be later still.
            let taken_back = request.epoch.get().saturating_add(1);
            if let Some(epoch) = LeaderEpoch::new(taken_back) {
                self.hear_epoch(key, epoch);
            }
            let place = self.place(key);
            let end = place.map_or(Offset::ZERO, |place| place.durable.offset);
            return Err(not_equal(end, request.end));
        }
        let replica = self.replica(key)?;
        match replica.role {
            Role::Follower => {}
            Role::Owner => return self.taken_over(key, &request).await,
            _ => return Err(not_follower()),
        }
        // What this copy began above it copies might not take; it need not have come here as a record.
        let is_here = self.epoch(key)? == Some(request.epoch);
        if HEARD_EPOCH_MAX < request.epoch.get() && !is_here {
            let message = format!("no epoch is above {HEARD_EPOCH_MAX}");
            return Err(invalid("epoch", message));
        }
        let place = self.place(key)?;
        let here = (place.durable.offset, place.durable.chain);
        router::check_promise(self, key, request.epoch).await?;
        if Some(request.epoch) < replica.let_go {
            return Err(given_on(request.epoch));
        }
        if !place.can_be_of(request.history) {
            return Err(diverged(Offset::ZERO));
        }
        // It comes to no other end, and begins no epoch.
        self.check_not_read_only(key)?;
        if here != (request.end, request.chain) || place.log_end != request.end {
            return Err(not_equal(here.0, request.end));
        }
        // Its owner has begun one since, or this log one of its own, which it forgets when it follows.
        if self.epoch(key)? > Some(request.epoch) {
            return Err(outdated(request.epoch));
        }
        self.halt(key).await;
        // It need not have come here as a record: the number is that owner's.
        self.hear_epoch(key, request.epoch);
        let end = self.place(key)?.log_end;
        if end != request.end {
            return Err(not_equal(end, request.end));
        }
        let given_at = Some(request.epoch);
        let owning = self.own(&hand, request.topic, key, replica, end, given_at);
        let (epoch, lineage, _) = owning.await?;
        Ok(take_over::Answer { epoch, lineage })
    }

    /// The answer to a TakeOver that was done before.
    async fn taken_over(
        self: &Rc<Self>,
        key: PartitionKey,
        request: &take_over::Request,
    ) -> Result<take_over::Answer, Failure> {
        let epochs = self.epochs(key)?;
        let mut later = epochs.iter().filter(|began| began.epoch > request.epoch);
        let began = later.find(|began| began.offset == request.end);
        let began = began.ok_or_else(not_follower)?;
        let at = self.chain_at(key, request.end).await?;
        match at.chain == request.chain && self.place(key)?.history == request.history {
            true => Ok(take_over::Answer {
                epoch: began.epoch,
                lineage: began.lineage,
            }),
            false => Err(not_follower()),
        }
    }
}

/// What it asks for was done before: this node owned the partition, and another one does.
fn given_on(epoch: LeaderEpoch) -> Failure {
    let message = format!(
        "this node has owned the partition since epoch {epoch}, and let it go to another one, which the owner that asks is to \
         rejoin; if that is gone for good, promote this copy with accept_loss"
    );
    failure(ErrorCode::InvalidRequest, message)
}

fn outdated(epoch: LeaderEpoch) -> Failure {
    let message = format!("this copy has an epoch that is later than {epoch}");
    failure(ErrorCode::NotEqual, message)
}

fn not_equal(here: Offset, end: Offset) -> Failure {
    let message = format!("this copy ends at {here}, not at {end}");
    let detail = Detail {
        end: Some(here),
        ..Detail::default()
    };
    failure_with(ErrorCode::NotEqual, message, detail)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use corelog_record::{Chain, TopicName};
    use corelog_storage::log::{Begin, PROMOTION_STEP};
    use futures_lite::future::poll_once;

    use super::*;
    use crate::core::tests::{batches, created, flush, hold_openings, produce, with_core};
    use crate::follow::ownership::follower_of;

    /// What its owner may have begun it was told while it was being opened, and that was dropped: promoted, it began one of the
    /// same number, by which neither of the two outranked the other.
    #[test]
    fn a_copy_that_promises_while_it_is_opened_begins_no_epoch_that_its_owner_may_have() {
        with_core(|core| async move {
            let (topic, key) = created(&core).await;
            make_copy(&core, &topic, key).await;
            let history = core.place(key).unwrap().history;
            core.drop_partition(key).await;
            let opened = core
                .routes
                .borrow()
                .topic_by_id(key.topic)
                .cloned()
                .unwrap();
            let turns = hold_openings(&core).await;
            let mut opening = pin!(core.open_all(vec![opened]));
            assert!(poll_once(&mut opening).await.is_none());
            let request = take_over::Request {
                topic,
                id: key.topic,
                partition: key.partition,
                history,
                end: Offset::MAX,
                chain: Chain::from_raw(0),
                epoch: LeaderEpoch::new(7).unwrap(),
            };
            let refused = core.take_over(key, request).await.unwrap_err();
            assert!(refused.is(ErrorCode::NotEqual), "{refused}");
            assert!(core.place(key).is_err(), "it is being opened still");
            drop(turns);
            assert_eq!(opening.await.failed, 0);
            let began = core.begin_above(key, Begin::Promoted).await.unwrap();
            assert_eq!(began.epoch.get(), 8 + PROMOTION_STEP);
        });
    }

    /// Its owner asked again for half a minute, in which nobody took appends, and was told where the copy ends.
    #[test]
    fn a_copy_that_damage_ends_says_so_whatever_it_is_asked_to_end_at() {
        with_core(|core| async move {
            let (topic, key) = created(&core).await;
            produce(&core, key, &batches(10_000)).await;
            flush(&core, key).await;
            make_copy(&core, &topic, key).await;
            core.reopen_partition(key).await.unwrap();
            let place = core.place(key).unwrap();
            let request = |end| take_over::Request {
                topic: topic.clone(),
                id: key.topic,
                partition: key.partition,
                history: place.history,
                end,
                chain: place.durable.chain,
                epoch: LeaderEpoch::new(7).unwrap(),
            };
            let further = place.log_end.plus(1);
            let refused = core.take_over(key, request(further)).await.unwrap_err();
            assert!(refused.is(ErrorCode::NotEqual), "{refused}");
            let store = "topics/t/0/00000000000000000000.log";
            let store = core.shared.data_dir.join(store);
            let store = std::fs::OpenOptions::new().write(true).open(store);
            store.unwrap().set_len(5_000).unwrap();
            core.reopen_partition(key).await.unwrap();
            for end in [place.log_end, further] {
                let refused = core.take_over(key, request(end)).await.unwrap_err();
                assert!(refused.is(ErrorCode::ReadOnly), "{refused}");
            }
        });
    }

    /// Has a partition follow a node that is not there.
    async fn make_copy(core: &Rc<Core>, topic: &TopicName, key: PartitionKey) {
        let place = (topic, key.topic, key.partition);
        let following = |replica| Ok(follower_of(replica, "127.0.0.1:1".to_owned(), None));
        let admin = core.admin().unwrap();
        admin.change_replica(place, None, following).await.unwrap();
    }
}
