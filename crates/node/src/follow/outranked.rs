//! Those that a copy followed before it was promoted: told of its epoch until it is known that none of them owns the
//! partition any more, also once it has handed that on, to one that knows nothing of them. One of them may be a copy itself,
//! whose owner knows nothing of this one: it passes that on.

use std::rc::Rc;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::{fetch, replica_status};
use corelog_record::{Offset, TopicName};

use super::GONE_TIMEOUT;
use super::address::is_address;
use super::claim::{HOPS_MAX, Rival};
use super::line::Line;
use super::ownership::{has_none, partition_at, segments_of};
use super::target::{Target, UNKNOWN_COPY};
use crate::core::{Core, PartitionKey};
use crate::failure::Failure;
use crate::{router, rt};

/// Who owns a partition of those that were followed, and those above them.
enum Above {
    Nobody,
    /// One that was told, or more nodes than are asked.
    Owner,
    /// One whose epoch is no earlier.
    Rival(Rival),
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
            let (core, claim) = (Rc::clone(self), (topic.clone(), key, None));
            rt::spawn_background(async move { core.ask_at(&address, vec![claim]).await }).detach();
        }
    }

    /// Tells one of them, which is forgotten once nobody there owns the partition.
    pub(super) async fn tell_outranked_at(
        self: &Rc<Self>,
        address: &str,
        topic: TopicName,
        key: PartitionKey,
    ) {
        let Ok(replica) = self.replica(key) else {
            return;
        };
        if !replica.outranked.iter().any(|one| one == address) {
            return;
        }
        let telling = self.have_hear(&topic, key, address.to_owned());
        let Some(above) = rt::timeout(2 * GONE_TIMEOUT, telling).await else {
            return;
        };
        let told = match above {
            Ok(Above::Nobody) => self.forget_outranked(&topic, key, address).await,
            // Whom it was handed on to, or who took it from there.
            Ok(Above::Rival(_)) if !replica.role.owns() => {
                self.forget_outranked(&topic, key, address).await
            }
            Ok(Above::Owner) => Ok(()),
            Ok(Above::Rival(rival)) => {
                let claimant = Target {
                    node: rival.node(),
                    address: rival.address.clone(),
                };
                let claimant = claimant.as_peer();
                self.heed(topic.clone(), key, rival, &claimant).await
            }
            Err(error) => Err(error),
        };
        match &told {
            Ok(()) => self.followers.settle(key, UNKNOWN_COPY),
            Err(error) if error.is(ErrorCode::Diverged) => {
                self.followers.contested.note(key, UNKNOWN_COPY);
            }
            Err(_) => {}
        }
        if let Err(error) = told {
            let error = error.message;
            tracing::debug!(%topic, address, error, "whoever owned it before does not hear");
        }
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
        for hop in 0..HOPS_MAX {
            let line = self.line_to(&address).await?;
            if line.node() == self.shared.node {
                return Ok(Above::Nobody);
            }
            let there = match partition_at(&line, topic, key).await {
                Err(error) if has_none(&error) => return Ok(Above::Nobody),
                there => there?,
            };
            let told = segments_of(&line, topic, key, Offset::MAX).await?;
            let newest = told.epochs.first().map(|newest| newest.epoch);
            let is_behind = newest < self.epoch(key)?;
            let is_copy = there.role == replica_status::Role::Follower;
            // A copy above the one that was followed hears of it from that one, and would remember this one as its follower.
            if is_behind && (there.role.owns() || is_copy && hop == 0) {
                let _ = self.claim_at(&line, topic, key).await;
            }
            if there.role.owns() {
                return Ok(match is_behind {
                    true => Above::Owner,
                    false => Above::Rival(Rival { address, line }),
                });
            }
            match there.source.filter(|next| is_address(next)) {
                Some(next) => address = next,
                None => return Ok(Above::Nobody),
            }
        }
        Ok(Above::Owner)
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

    /// Says as a follower that this copy has a later epoch, and ends where that begins: up to there whoever is told has the same.
    pub(super) async fn claim_at(
        &self,
        line: &Line,
        topic: &TopicName,
        key: PartitionKey,
    ) -> Result<(), Failure> {
        let mut me = self.as_follower(key, true)?;
        if let Some(began) = self.epochs(key)?.last()
            && let Ok(at) = self.chain_at(key, began.offset).await
        {
            (me.end, me.chain) = (at.offset, at.chain);
        }
        claim(line, topic, key, me).await
    }
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
    line.call(&claim, GONE_TIMEOUT).await.map(drop)
}
