//! Who follows the partitions of this core, and up to where, as far as was heard.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Instant;

use corelog_protocol::message::epoch::Epoch;
use corelog_protocol::message::fetch;
use corelog_record::{CopyId, NodeId, Offset, TopicName};
use corelog_storage::format::replica::{Peer, Replica};

use super::lineage::{diverged, shared, told};
use crate::core::{Core, PartitionKey};
use crate::failure::Failure;
use crate::partition::Input;
use crate::{router, rt};

/// Followers of one partition that are remembered: more copies than anyone keeps.
pub(crate) const FOLLOWERS_MAX: usize = 8;

/// The followers of a core's partitions.
#[derive(Debug, Default)]
pub(crate) struct Followers {
    heard: RefCell<HashMap<PartitionKey, Vec<Follower>>>,
}

/// A copy that follows a partition of this core.
#[derive(Debug, Clone)]
pub(crate) struct Follower {
    pub(crate) copy: CopyId,
    pub(crate) node: Option<NodeId>,
    pub(crate) address: Option<String>,
    /// Its end, durable there.
    pub(crate) end: Offset,
    pub(crate) at: Instant,
}

/// What a follower is told beside what it fetches.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hearing {
    /// The epochs of this log, if it told its own.
    pub(crate) epochs: Vec<Epoch>,
    /// Bytes between its end and the high watermark, about.
    pub(crate) lag_bytes: u64,
}

impl Followers {
    /// Those of a partition that were heard since the node was started, longest silent first.
    pub(crate) fn of(&self, key: PartitionKey) -> Vec<Follower> {
        let heard = self.heard.borrow();
        let mut followers = heard.get(&key).cloned().unwrap_or_default();
        followers.sort_by_key(|follower| follower.at);
        followers
    }

    /// Takes note of one. True if it is new here, or somewhere else.
    fn note(&self, key: PartitionKey, follower: Follower) -> bool {
        let mut heard = self.heard.borrow_mut();
        let known = heard.entry(key).or_default();
        if let Some(before) = known.iter_mut().find(|known| known.copy == follower.copy) {
            let is_same = (&before.node, &before.address) == (&follower.node, &follower.address);
            *before = follower;
            return !is_same;
        }
        if known.len() == FOLLOWERS_MAX {
            let silent = (0..known.len()).min_by_key(|&at| known[at].at);
            silent.map(|at| known.swap_remove(at));
        }
        known.push(follower);
        true
    }

    pub(crate) fn forget(&self, key: PartitionKey) {
        self.heard.borrow_mut().remove(&key);
    }
}

impl Core {
    /// Hears what a follower of a partition of this core says of its own log.
    ///
    /// # Errors
    /// `Diverged` with the offset up to which the two logs are the same, if that is below its end.
    pub(crate) async fn hear(
        self: &Rc<Self>,
        key: PartitionKey,
        follower: fetch::Follower,
    ) -> Result<Hearing, Failure> {
        let place = self.place(key)?;
        let mut hearing = Hearing {
            lag_bytes: self.bytes_behind(key, follower.end),
            ..Hearing::default()
        };
        // It tells its epochs when it comes, and is heard as a follower once they were compared.
        let is_new = follower.end == Offset::ZERO && follower.epochs.is_empty();
        if !follower.epochs.is_empty() || is_new {
            let mine = self.epochs(key)?;
            self.check_claim(key, &mine, &follower);
            let theirs = (follower.epochs.as_slice(), follower.end);
            let common = shared((&mine, place.durable.offset), theirs).offset;
            if common < follower.end {
                return Err(diverged(common));
            }
            if !is_new {
                self.confirm(key, &follower).await?;
            }
            hearing.epochs = told(&mine);
        }
        let is_new = self.followers.note(
            key,
            Follower {
                copy: follower.copy,
                node: follower.node,
                address: follower.address.clone(),
                end: follower.end,
                at: rt::now(),
            },
        );
        self.tell_replicated(key);
        if let (true, Some(node), Some(address)) = (is_new, follower.node, follower.address) {
            let copy = follower.copy;
            self.remember(
                key,
                Peer {
                    node,
                    copy,
                    address,
                },
            );
        }
        Ok(hearing)
    }

    /// Compares chains where the follower ends, if this log still reaches back to there.
    async fn confirm(
        self: &Rc<Self>,
        key: PartitionKey,
        follower: &fetch::Follower,
    ) -> Result<(), Failure> {
        if follower.end < self.place(key)?.log_start {
            return Ok(());
        }
        let here = self.chain_at(key, follower.end).await?;
        match (here.offset, here.chain) == (follower.end, follower.chain) {
            true => Ok(()),
            false => Err(diverged(self.place(key)?.log_start)),
        }
    }

    /// Tells a partition up to where all hold it that are remembered as its followers: one that was not
    /// heard since the start may hold nothing.
    fn tell_replicated(self: &Rc<Self>, key: PartitionKey) {
        let Ok(replica) = self.replica(key) else {
            return;
        };
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
        let core = Rc::clone(self);
        rt::spawn_background(async move {
            let Some(name) = core.topic_name(key) else {
                return;
            };
            let change = move |mut replica: Replica| {
                replica.followers.retain(|known| known.copy != peer.copy);
                if replica.followers.len() == FOLLOWERS_MAX {
                    replica.followers.remove(0);
                }
                replica.followers.push(peer);
                Ok(replica)
            };
            if let Err(error) = router::change_replica(&core, name, key, change).await {
                tracing::warn!(
                    error = error.message,
                    "a follower's address is not remembered"
                );
            }
        })
        .detach();
    }

    pub(super) fn topic_name(&self, key: PartitionKey) -> Option<TopicName> {
        let routes = self.routes.borrow();
        let topic = routes.topics().find(|topic| topic.id == key.topic)?;
        Some(topic.name.clone())
    }
}
