//! What followers of this core's partitions say of their own logs, and what they are told.

use std::rc::Rc;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::epoch::Epoch;
use corelog_protocol::message::fetch;
use corelog_record::{CoreId, Offset};
use corelog_storage::format::replica::{Peer, Replica};

use super::address::check_addresses;
use super::followers::Follower;
use super::lineage::{check_epochs, diverged, parts_at, shared, told};
use crate::catalog::{Forgotten, Newcomer, is_in_place_of};
use crate::core::{Core, PartitionKey};
use crate::failure::Failure;
use crate::partition::Input;
use crate::router::{self, Ask};
use crate::rt;

/// What a follower is told beside what it fetches.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hearing {
    /// The epochs of this log, if it told its own.
    pub(crate) epochs: Vec<Epoch>,
    /// Bytes between its end and the high watermark, about.
    pub(crate) lag_bytes: u64,
}

impl Core {
    /// Hears what a follower of a partition of this core says of its own log.
    ///
    /// # Errors
    /// `Diverged` with the offset up to which the two logs are the same, if that is below its end;
    /// `InvalidRequest` if it tells what none does.
    pub(crate) async fn hear(
        self: &Rc<Self>,
        key: PartitionKey,
        follower: fetch::Follower,
    ) -> Result<Hearing, Failure> {
        check_addresses("follower.address", follower.address.as_slice())?;
        check_epochs(&follower.epochs)?;
        let place = self.place(key)?;
        let mut hearing = Hearing {
            lag_bytes: self.bytes_behind(key, follower.end),
            ..Hearing::default()
        };
        // It tells its epochs when it comes, and is heard as a follower once they were compared; a copy
        // that has none yet is held against the chain alone.
        let is_empty = follower.end == Offset::ZERO && follower.epochs.is_empty();
        let is_told_at_once = self.is_told_at_once(key, &follower);
        let mut is_claiming = false;
        if is_empty || !is_told_at_once {
            let mine = self.epochs(key)?;
            let mut at = None;
            if !follower.epochs.is_empty() {
                is_claiming = self.check_claim(key, &mine, &follower);
                let theirs = (follower.epochs.as_slice(), follower.end);
                at = parts_at((&mine, place.durable.offset), theirs);
            }
            let compared = match at {
                Some(at) => Err(diverged(at)),
                None if is_told_at_once => Ok(()),
                None => self.confirm(key, &follower).await,
            };
            if compared.is_err() && is_claiming {
                // Asked where it is reached it may show by what the two logs are one all the same.
                let replica = self.replica(key)?;
                let peer = unknown_peer(&replica, &follower);
                peer.into_iter().for_each(|peer| self.remember(key, peer));
            }
            compared?;
        }
        let newest = self.epoch(key)?;
        // One that began since it came may have no record yet: were it promoted without it, it could begin the same.
        let is_news = || self.followers.told(key, follower.copy) != newest;
        if is_empty || !is_told_at_once || is_news() {
            hearing.epochs = told(&self.epochs(key)?);
        }
        // Of one that went meanwhile nothing is kept.
        let replica = self.replica(key)?;
        if !self.followers.unasked.is_deaf_to(key, follower.copy) {
            let is_untold =
                follower.epochs.is_empty() && self.followers.is_claiming(key, follower.copy);
            self.followers.note(
                key,
                Follower {
                    copy: follower.copy,
                    node: follower.node,
                    address: follower.address.clone(),
                    // What it may have beyond this log is not this log's.
                    end: follower.end.min(place.durable.offset),
                    at: rt::now(),
                    told: newest,
                    is_claiming: is_claiming || is_untold,
                },
            );
            if !is_claiming {
                self.followers.unasked.settle(key, follower.copy);
            }
        }
        self.tell_replicated(key, &replica);
        // Who claims the partition need not come again.
        let unknown = unknown_peer(&replica, &follower);
        if let Some(peer) = unknown.filter(|_| is_claiming || self.followers.may_remember(key)) {
            self.remember(key, peer);
        }
        Ok(hearing)
    }

    /// If a follower's log is not held against this one, which may take a look at the disk: it has no records, or it was
    /// before, and says no more of itself now.
    pub(crate) fn is_told_at_once(&self, key: PartitionKey, follower: &fetch::Follower) -> bool {
        let is_empty = follower.end == Offset::ZERO;
        follower.epochs.is_empty() && (is_empty || self.followers.knows(key, follower.copy))
    }

    /// Compares chains where the follower ends, if this log still reaches back to there, and knows the chain.
    async fn confirm(
        self: &Rc<Self>,
        key: PartitionKey,
        follower: &fetch::Follower,
    ) -> Result<(), Failure> {
        if follower.end < self.place(key)?.log_start {
            return Ok(());
        }
        let here = match self.chain_at(key, follower.end).await {
            // Its epochs have told, if this log has one of them. It may be the only one that can come to have what is damaged here
            // as a whole segment.
            Err(error) if error.is(ErrorCode::Damaged) && self.has_one_of(key, follower)? => {
                return Ok(());
            }
            here => here?,
        };
        match (here.offset, here.chain) == (follower.end, follower.chain) {
            true => Ok(()),
            false => Err(diverged(self.place(key)?.log_start)),
        }
    }

    /// If this log and a follower's have an epoch in common.
    fn has_one_of(&self, key: PartitionKey, follower: &fetch::Follower) -> Result<bool, Failure> {
        let mine = (&*self.epochs(key)?, self.place(key)?.durable.offset);
        let common = shared(mine, (follower.epochs.as_slice(), follower.end));
        Ok(common.epoch.is_some())
    }

    /// Tells a partition up to where all hold it that are remembered as its followers: one that was not
    /// heard since the start may hold nothing.
    fn tell_replicated(self: &Rc<Self>, key: PartitionKey, replica: &Replica) {
        let heard = self.followers.of(key);
        let end_of = |peer: &Peer| {
            let heard = heard.iter().find(|follower| follower.copy == peer.copy);
            heard.map_or(Offset::ZERO, |follower| follower.end)
        };
        let upto = replica.followers.iter().map(end_of).min();
        let upto = upto.unwrap_or(Offset::ZERO);
        if let Ok(slot) = self.slot_of(key) {
            self.step(slot, Input::Replicated { upto });
        }
    }

    /// Has core 0 write down where a follower is reached.
    fn remember(self: &Rc<Self>, key: PartitionKey, peer: Peer) {
        let Some(topic) = self.topic_name(key) else {
            return;
        };
        let heard = self.followers.of(key);
        let heard = heard.iter().map(|one| (one.copy, one.at)).collect();
        let ask = Ask::Remember {
            topic,
            key,
            newcomer: Newcomer { peer, heard },
        };
        let core = Rc::clone(self);
        rt::spawn_background(async move {
            if let Err(error) = router::told::<()>(&core, CoreId::new(0), ask, None).await {
                let error = error.message;
                tracing::debug!(error, "a follower's address is written down later");
            }
        })
        .detach();
    }

    /// Waits no longer for a follower that was forgotten.
    pub(crate) fn forget_follower(self: &Rc<Self>, who: &Forgotten) {
        for &partition in &who.partitions {
            let topic = who.topic;
            let key = PartitionKey { topic, partition };
            self.followers.forget_at(key, &who.address);
            if let Ok(replica) = self.replica(key) {
                self.tell_replicated(key, &replica);
            }
        }
    }
}

/// A follower that says who and where it is, if it is not remembered as that.
fn unknown_peer(replica: &Replica, follower: &fetch::Follower) -> Option<Peer> {
    let peer = Peer {
        node: follower.node?,
        copy: follower.copy,
        address: follower.address.clone()?,
    };
    let known = replica.followers.iter();
    let mut known = known.filter(|known| is_in_place_of(&peer, known));
    let is_known = known.next() == Some(&peer) && known.next().is_none();
    (!is_known).then_some(peer)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::{Arc, mpsc};
    use std::time::Duration;

    use corelog_record::{Chain, PartitionId};
    use corelog_storage::format::edit::Point;
    use corelog_storage::log::Begin;
    use futures_lite::future::{poll_once, zip};

    use super::*;
    use crate::catalog::{Change, Topic};
    use crate::core::tests::{cold_batches, first_store, follower, hold_reads, with_core};
    use crate::frame_id::tests::frame;
    use crate::partition::Appetite;
    use crate::router::FetchFrom;

    /// What a follower is told that names no epochs.
    async fn heard(
        core: &Rc<Core>,
        topic: &Topic,
        copy: u128,
        end: Point,
    ) -> Result<Hearing, Failure> {
        let request = FetchFrom {
            frame: frame(),
            topic: &topic.name,
            id: topic.id,
            partition: PartitionId::new(0),
            from: end.offset,
            appetite: Appetite {
                is_replica: true,
                ..Appetite::ONE
            },
            wait: Duration::ZERO,
        };
        router::hear(core, &request, follower(copy, end)).await
    }

    /// Each that was being compared while its topic was deleted was kept, as long as the node ran.
    #[test]
    fn of_a_follower_of_a_topic_that_was_deleted_meanwhile_nothing_is_kept() {
        with_core(|core| async move {
            let (topic, key) = cold_batches(&core, 2).await;
            core.routes.borrow_mut().put(Arc::clone(&topic));
            let between = core.chain_at(key, Offset::ZERO.plus(1)).await.unwrap();
            let turns = hold_reads(&core).await;
            let deleting = async {
                core.apply(Change::Withdraw(Arc::clone(&topic))).await;
                let (lost, _losses) = mpsc::channel();
                core.apply(Change::Close(topic, lost)).await;
                drop(turns);
            };
            let told = zip(core.hear(key, follower(1, between)), deleting).await.0;
            let refused = told.unwrap_err();
            assert!(refused.is(ErrorCode::UnknownTopic), "{refused}");
            assert!(core.followers.of(key).is_empty());
        });
    }

    /// It was told that the two diverge, and stopped for good, though it may be the only one that has all of it.
    #[test]
    fn a_copy_that_has_what_is_damaged_here_is_heard_all_the_same() {
        with_core(|core| async move {
            let (topic, key) = cold_batches(&core, 2).await;
            core.routes.borrow_mut().put(topic);
            let end = core.place(key).unwrap().durable;
            let mut store = std::fs::read(first_store(&core, 1)).unwrap();
            store.truncate(store.len() / 2 + 4096);
            std::fs::write(first_store(&core, 1), store).unwrap();
            core.reopen_partition(key).await.unwrap();
            core.check_not_read_only(key).unwrap_err();
            core.hear(key, follower(1, end)).await.unwrap();
        });
    }

    /// What began while it was compared counted as told: promoted, it began the very same.
    #[test]
    fn a_copy_is_told_of_an_epoch_that_begins_while_it_is_compared_and_of_one_that_begins_later() {
        with_core(|core| async move {
            let (topic, key) = cold_batches(&core, 2).await;
            core.routes.borrow_mut().put(topic);
            let between = core.chain_at(key, Offset::ZERO.plus(1)).await.unwrap();
            let newest = || core.epoch(key).unwrap();
            let tell = async |epochs: &[Epoch]| {
                let told = fetch::Follower {
                    epochs: epochs.to_vec(),
                    ..follower(1, between)
                };
                core.hear(key, told).await.unwrap().epochs
            };
            let mine = told(&core.epochs(key).unwrap());
            let turns = hold_reads(&core).await;
            let mut hearing = pin!(tell(&mine));
            assert!(poll_once(&mut hearing).await.is_none(), "it is compared");
            core.begin_above(key, Begin::Promoted).await.unwrap();
            drop(turns);
            assert_eq!(Some(hearing.await[0].epoch), newest());
            assert!(tell(&[]).await.is_empty(), "it knows");
            core.begin_above(key, Begin::Promoted).await.unwrap();
            assert_eq!(Some(tell(&[]).await[0].epoch), newest());
        });
    }

    /// Any number of copies that nobody had heard of had the disk look where they ended, also those that had hung up, and
    /// each read of old records waited behind them.
    #[test]
    fn copies_that_are_new_search_and_one_that_is_known_does_not_wait_behind_them() {
        with_core(|core| async move {
            let (topic, key) = cold_batches(&core, 2).await;
            core.routes.borrow_mut().put(Arc::clone(&topic));
            let end = core.place(key).unwrap().durable;
            let between = Point {
                offset: Offset::ZERO.plus(1),
                chain: Chain::from_raw(1),
                ..end
            };
            heard(&core, &topic, 0, end).await.unwrap();
            let turns = hold_reads(&core).await;
            let mut given_up = 0;
            let refused = loop {
                match poll_once(Box::pin(heard(&core, &topic, 1 + given_up, between))).await {
                    None => given_up += 1,
                    Some(told) => break told.unwrap_err(),
                }
                assert!(given_up < 1_000, "nothing bounds them");
            };
            assert!(refused.is(ErrorCode::Busy), "{refused}");
            for place in [between, end] {
                let known = poll_once(Box::pin(heard(&core, &topic, 0, place))).await;
                known.expect("it waits").unwrap();
            }
            drop(turns);
            let told = loop {
                match heard(&core, &topic, 1_000, between).await.unwrap_err() {
                    refused if refused.is(ErrorCode::Busy) => rt::next_turn().await,
                    told => break told,
                }
            };
            assert!(told.is(ErrorCode::Diverged), "{told}");
        });
    }
}
