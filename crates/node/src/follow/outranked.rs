//! Those that a copy followed before it was promoted: told of its epoch until it is known that none of them owns the
//! partition any more, also once it has handed that on, to one that knows nothing of them. One of them may be a copy itself,
//! whose owner knows nothing of this one: it passes that on.

use std::rc::Rc;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::epoch::Epoch;
use corelog_protocol::message::{fetch, replica_status};
use corelog_record::{CopyId, LeaderEpoch, NodeId, Offset, TopicName};
use corelog_storage::format::replica::Peer;

use super::address::is_address;
use super::asking::Claimant;
use super::claim::both_own;
use super::line::Line;
use super::questions::{partition_at, segments_of};
use super::rival::{HOPS_MAX, Rival, nobody_tells, unanswered};
use super::target::copy_at;
use super::{ASK_TIMEOUT, GONE_TIMEOUT};
use crate::core::{Core, PartitionKey};
use crate::failure::{Failure, failure};
use crate::{router, rt};

/// A node, what it is to a partition, and the newest epoch that it has of it.
type Status = (Rc<Line>, replica_status::Partition, Option<Epoch>);

/// Who owns a partition of those that were followed, and those above them.
enum Above {
    Nobody,
    /// One that was told, and where it is.
    Owner(String),
    /// One whose epoch is no earlier, and that.
    Rival(Rival, Option<Epoch>),
}

impl Core {
    /// Has those that a copy followed before it was promoted hear of its epoch, now: one that takes appends, as it is not
    /// gone, does so until it hears. Who does not answer is told again and again, with those that may own partitions of this
    /// core's; one that was asked in vain a moment ago only then.
    pub(super) fn tell_outranked(self: &Rc<Self>, topic: &TopicName, key: PartitionKey) {
        let outranked = self.replica(key).map(|replica| replica.outranked);
        for address in outranked.unwrap_or_default() {
            if self.shared.silent.found(&address, rt::now()).is_some() {
                continue;
            }
            let (core, claim) = (Rc::clone(self), (topic.clone(), key, copy_at(&address)));
            let job = (address, true);
            rt::spawn_background(async move { core.ask_at(&job, vec![claim]).await }).detach();
        }
    }

    /// Tells one of them, which is forgotten once nobody there owns the partition.
    pub(super) async fn tell_outranked_at(
        self: &Rc<Self>,
        address: &str,
        (topic, key, copy): Claimant,
    ) {
        let Ok(replica) = self.replica(key) else {
            return;
        };
        if !replica.outranked.iter().any(|one| one == address) {
            return;
        }
        let told = match self.have_hear(&topic, key, address.to_owned()).await {
            Ok(Above::Nobody) => self.forget_outranked(&topic, key, address).await,
            Ok(Above::Rival(rival, newest)) if !replica.role.owns() => {
                // Whom it was handed on to, or who took it from there; any other one may be told yet.
                let is_next = self.is_newest(key, newest.as_ref());
                match is_next || self.is_source(&replica, &rival).await {
                    true => self.forget_outranked(&topic, key, address).await,
                    false => Ok(()),
                }
            }
            Ok(Above::Rival(rival, _)) => {
                let claimant = Peer {
                    node: rival.node(),
                    copy,
                    address: rival.address().to_owned(),
                };
                self.heed(topic.clone(), key, rival, &claimant).await
            }
            Ok(Above::Owner(owner)) => Err(self.not_yielding(&topic, key, (owner, copy))),
            Err(error) => Err(error),
        };
        match &told {
            Ok(()) => self.followers.settle(key, copy),
            Err(error) if error.is(ErrorCode::Diverged) => {
                self.followers.contested.note(key, copy);
            }
            Err(_) => {}
        }
        if let Err(error) = told {
            let error = error.message;
            let partition = key.partition.get();
            tracing::debug!(%topic, partition, address, error, "whoever owned it before does not hear");
        }
    }

    /// An owner was told that it is outranked, and has yet to yield: `Diverged` if it was often enough.
    fn not_yielding(
        &self,
        topic: &TopicName,
        key: PartitionKey,
        (owner, copy): (String, CopyId),
    ) -> Failure {
        if !self.followers.contested.note_told(key, copy) {
            let message = format!("{owner} owned the partition when it was told");
            return failure(ErrorCode::Busy, message);
        }
        tracing::error!(
            %topic, partition = key.partition.get(), owner,
            "another node owns it as well, and does not yield, though it was told: it may not reach this node, or not go on to what is here"
        );
        both_own(&owner)
    }

    async fn forget_outranked(
        self: &Rc<Self>,
        topic: &TopicName,
        key: PartitionKey,
        address: &str,
    ) -> Result<(), Failure> {
        let gone = address.to_owned();
        router::change_replica(self, topic.clone(), key, move |mut replica| {
            replica.outranked.retain(|one| *one != gone);
            Ok(replica)
        })
        .await
    }

    /// Has the node at an address hear, and those above it, up to the owner.
    async fn have_hear(
        self: &Rc<Self>,
        topic: &TopicName,
        key: PartitionKey,
        mut address: String,
    ) -> Result<Above, Failure> {
        // Who is meant by the address, if whoever named it says so.
        let mut meant = None;
        for hop in 0..HOPS_MAX {
            let asking = self.status_at(topic, key, (&address, meant));
            let Some(found) = self.answered(&address, asking).await else {
                return Err(unanswered(&address));
            };
            let Some((line, there, newest)) = found? else {
                // Who was there before may have another address by now, and be back.
                return match hop {
                    0 => Err(moved_here(&address)),
                    _ => Ok(Above::Nobody),
                };
            };
            let newest_there = newest.as_ref().map(|newest| newest.epoch);
            let is_behind = newest_there < self.epoch(key)?;
            let is_copy = there.role == replica_status::Role::Follower;
            // A copy above the one that was followed hears of it from that one, and would remember this one as its follower.
            if is_behind && (there.role.owns() || is_copy && hop == 0) {
                let claiming = self.claim_at(&line, topic, key, newest_there);
                let _ = rt::timeout(GONE_TIMEOUT, claiming).await;
            }
            if there.role.owns() {
                return Ok(match is_behind {
                    true => Above::Owner(address),
                    false => Above::Rival(line, newest),
                });
            }
            meant = there.target;
            match there.source.filter(|next| is_address(next)) {
                Some(next) => address = next,
                None => return Ok(Above::Nobody),
            }
        }
        Err(nobody_tells())
    }

    /// What the node at an address is to a partition, and the newest epoch there; none if that is this node. One that has
    /// no such partition, any more or yet, does not tell who is above it.
    async fn status_at(
        &self,
        topic: &TopicName,
        key: PartitionKey,
        (address, meant): (&str, Option<NodeId>),
    ) -> Result<Option<Status>, Failure> {
        let line = self.line_to(address).await?;
        if let Some(meant) = meant {
            line.check_is(meant)?;
        }
        if line.node() == self.shared.node {
            return Ok(None);
        }
        let there = partition_at(&line, topic, key).await?;
        let told = segments_of(&line, topic, key, Offset::MAX).await?;
        let newest = told.epochs.into_iter().max_by_key(|epoch| epoch.epoch);
        Ok(Some((line, there, newest)))
    }

    /// If the newest epoch of another node is the newest here, by its owner too: a copy has it from that one, by whomever.
    fn is_newest(&self, key: PartitionKey, there: Option<&Epoch>) -> bool {
        let newest = self.epochs(key).ok().and_then(|mine| mine.last().copied());
        let named = newest.map(|mine| (mine.epoch, mine.lineage));
        named.is_some() && named == there.map(|there| (there.epoch, there.lineage))
    }

    /// Tells the source that a copy follows of a later epoch that one `by` which it is followed has: the owner knows nothing
    /// of that one, and asks this copy who it is.
    pub(super) fn pass_on(
        self: &Rc<Self>,
        topic: TopicName,
        key: PartitionKey,
        source: Option<String>,
        by: fetch::Follower,
    ) {
        let core = Rc::clone(self);
        rt::spawn_background(async move {
            let telling = async {
                let Some(source) = source else { return Ok(()) };
                let line = core.line_to(&source).await?;
                let mut me = core.as_follower(key, false)?;
                (me.end, me.chain, me.epochs) = (by.end, by.chain, by.epochs);
                claim(&line, &topic, key, me).await
            };
            if let Some(Err(error)) = rt::timeout(2 * GONE_TIMEOUT, telling).await {
                let error = error.message;
                tracing::debug!(%topic, error, "the source does not hear of a later epoch");
            }
        })
        .detach();
    }

    /// Says as a follower that this copy has epochs later than the `newest` there, and ends where the first of them begins: up
    /// to there whoever is told has the same. The last one may be that of a restart, behind what nobody else has.
    pub(super) async fn claim_at(
        &self,
        line: &Line,
        topic: &TopicName,
        key: PartitionKey,
        newest: Option<LeaderEpoch>,
    ) -> Result<(), Failure> {
        let mut me = self.as_follower(key, true)?;
        let epochs = self.epochs(key)?;
        let began = epochs.iter().find(|began| newest < Some(began.epoch));
        if let Some(began) = began
            && let Ok(at) = self.chain_at(key, began.offset).await
        {
            (me.end, me.chain) = (at.offset, at.chain);
        }
        claim(line, topic, key, me).await
    }
}

/// At the address of one that was followed is this node itself.
fn moved_here(address: &str) -> Failure {
    let message =
        format!("at {address} is this node by now, and who it followed there does not tell");
    failure(ErrorCode::SourceUnavailable, message)
}

/// Says what a follower of a partition of the node at the other end of `line` says that has a later epoch.
async fn claim(
    line: &Line,
    topic: &TopicName,
    key: PartitionKey,
    follower: fetch::Follower,
) -> Result<(), Failure> {
    let claim = fetch::Request {
        topic: topic.clone(),
        id: key.topic,
        partition: key.partition,
        offset: follower.end,
        max_bytes: 1,
        min_bytes: 0,
        max_wait_ms: 0,
        last_epoch: None,
        follower: Some(follower),
    };
    // Who tells it does not wait for so long; what gave up itself would end the connection of all who share it.
    line.call(&claim, ASK_TIMEOUT).await.map(drop)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::time::Duration;

    use corelog_protocol::message::fetch::Follower;
    use corelog_record::Chain;

    use super::*;
    use crate::core::tests::{key, topic, with_core};
    use crate::follow::line::tests::{connected, node};
    use crate::rt::tests::on_core;

    /// An address that moves with whoever owns a partition led to itself once it was promoted, and it told nobody any more: whom it had
    /// followed came back at another one, and owned the partition as well.
    #[test]
    fn that_the_address_of_one_that_was_followed_is_its_own_by_now_tells_a_promoted_copy_nothing_of_it()
     {
        // By its name it is the core of the test.
        let address = node(|mut stream, _| drop(stream.read_to_end(&mut Vec::new())));
        with_core(|core| async move {
            let (opened, key) = topic(1);
            assert!(core.open_partition(&opened, key).await);
            let told = core.have_hear(&opened.name, key, address).await;
            let why = told.map(drop).unwrap_err();
            assert!(why.is(ErrorCode::SourceUnavailable), "{why:?}");
        });
    }

    /// A rejoin was refused that asked the same node, which was slow, by the same connection.
    #[test]
    fn who_is_late_to_answer_a_claim_keeps_the_connection_by_which_others_ask_it() {
        let address = node(|mut stream, _| drop(stream.read_to_end(&mut Vec::new())));
        on_core(|| async move {
            let (line, topic) = (connected(&address).await, TopicName::new("t").unwrap());
            let key = key(1, 0);
            let follower = Follower {
                copy: CopyId::from_bytes([2; 16]),
                end: Offset::ZERO,
                chain: Chain::from_raw(0),
                node: None,
                address: None,
                epochs: Vec::new(),
            };
            let long = GONE_TIMEOUT + Duration::from_millis(200);
            let told = rt::timeout(long, claim(&line, &topic, key, follower)).await;
            assert!(told.is_none(), "{told:?}");
            assert!(!line.is_closed());
        });
    }
}
