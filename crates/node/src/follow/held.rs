//! Partitions that serve nobody, however long that takes, as a copy has shown that another node owns them, or came to.

use std::rc::Rc;
use std::time::Instant;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::segments;
use corelog_record::TopicName;
use corelog_storage::format::replica::Peer;

use super::rival::Found;
use crate::core::{Core, PartitionKey};
use crate::failure::{Failure, failure};

impl Core {
    /// Asks whom a copy has shown to own a partition, if that was before this question `begun`: the copy may know nothing of it any
    /// more. Until that one says itself that it does not, the partition is held, which is told once, with what ends it.
    pub(super) async fn look_at_shown(
        self: &Rc<Self>,
        topic: &TopicName,
        key: PartitionKey,
        by: &Peer,
        begun: Instant,
    ) {
        let shown = || self.followers.unasked.shown(key, by.copy);
        let Some((owner, at)) = shown().filter(|(_, at)| *at <= begun) else {
            return;
        };
        let is_over = match self.owner_since(topic, key, &owner).await {
            Some(Found::Rival(rival)) => {
                // It is large, and rarely comes to that.
                let heeded = Box::pin(self.heed(topic.clone(), key, rival, by));
                let heeded = heeded.await;
                if let Err(why) = &heeded
                    && why.is(ErrorCode::Diverged)
                {
                    self.followers.contested.note(key, by.copy);
                }
                heeded.is_ok()
            }
            Some(Found::Nobody(word)) => word.clears(owner.node),
            None => false,
        };
        // It was seen again meanwhile.
        if shown().is_none_or(|(_, now)| now != at) {
            return;
        }
        if is_over {
            self.followers.settle(key, by.copy);
        } else if self.followers.unasked.may_tell(key, by.copy) {
            tracing::warn!(
                %topic, partition = key.partition.get(), owner = owner.address, by = by.address,
                "serves nobody, as the node that was seen to own it does not say that it does no more; where that is gone for good, \
                 `corelog topic forget-follower` of the copy that tells of it (`by`) ends that"
            );
        }
    }

    /// A copy told what it is to a partition, and `why` nobody is known to own that all the same. If the partition waits for
    /// any, and the copy has a later epoch which goes on from here, another node came to own it: it is held until it is told who
    /// does, or that nobody does; true if so, or if that cannot be told now. Of two that have parted a person has to judge.
    pub(super) async fn hold_outranked(
        self: &Rc<Self>,
        topic: &TopicName,
        key: PartitionKey,
        (by, log, begun): (&Peer, Option<&segments::Answer>, Instant),
        why: &Failure,
    ) -> bool {
        let unasked = &self.followers.unasked;
        let is_shown = unasked.shown(key, by.copy).is_some();
        if is_shown || !unasked.is_any(key, |_| true) {
            return false;
        }
        let later = match log {
            _ if why.is(ErrorCode::Diverged) => None,
            Some(there) => match self.takeover_of(topic, key, (by, there)).await {
                Ok(later) => later,
                Err(_) => return true,
            },
            None => return false,
        };
        let Some(later) = later else {
            unasked.outrank_no_more(key, by.copy, begun);
            return false;
        };
        unasked.outrank(key, by.copy);
        if unasked.may_tell(key, by.copy) {
            tracing::warn!(
                %topic, partition = key.partition.get(), epoch = later.epoch.get(), by = by.address, error = why.message,
                "serves nobody, as a copy (`by`) has a later epoch, and who owns it by that does not tell; where that is gone for \
                 good, promote the copy, or have it rejoin this node, or `corelog topic forget-follower` of it ends that"
            );
        }
        true
    }

    /// Checks that no other node was seen to own a partition, or to have come to, that has yet to say that it does not: it may be
    /// out of reach just now.
    pub(super) fn check_not_held(&self, key: PartitionKey) -> Result<(), Failure> {
        if !self.followers.unasked.is_held(key) {
            return Ok(());
        }
        let message = "a copy has shown that another node owns the partition, or came to, which is asked again; where that is gone for \
                       good, `corelog topic forget-follower` of the copy ends that";
        Err(failure(ErrorCode::Busy, message))
    }
}
