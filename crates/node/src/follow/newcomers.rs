//! Followers that come to be remembered: one that may own the partition by now is asked at once, as nobody was to ask it before.

use std::rc::Rc;

use corelog_storage::format::replica::Peer;

use super::fence::SILENT_AFTER;
use crate::catalog::Topic;
use crate::core::{Core, PartitionKey};

impl Core {
    /// Looks at those that a topic names as followers of partitions that this core owns, and did not name `before`.
    pub(crate) fn meet_newcomers(self: &Rc<Self>, before: Option<&Topic>, topic: &Topic) {
        for key in topic.keys_on(self.id) {
            let replica = topic.replica(key.partition);
            let Some(owned) = replica.filter(|replica| replica.role.owns()) else {
                continue;
            };
            let known = before.and_then(|before| before.replica(key.partition));
            let is_new = |peer: &&Peer| known.is_none_or(|known| !known.followers.contains(*peer));
            for peer in owned.followers.iter().filter(is_new) {
                self.meet(topic, key, peer);
            }
        }
    }

    /// One of them may have been promoted while this node stood still, if all that was heard of it may have been said before;
    /// another one was heard to claim that.
    fn meet(self: &Rc<Self>, topic: &Topic, key: PartitionKey, peer: &Peer) {
        let (followers, copy) = (&self.followers, peer.copy);
        if followers.is_doubted(key, copy, SILENT_AFTER) {
            followers.await_word(key, copy);
            followers.unasked.add_deaf(key, copy);
        } else if followers.awaits_word(key, copy) && followers.may_check_claim(key) {
            self.hear_claim(topic.name.clone(), key, peer.clone());
        }
    }
}
