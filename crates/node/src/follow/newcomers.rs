//! Followers that come to be remembered: one that may own the partition by now is asked at once, as nobody was to ask it before.

use corelog_record::CopyId;
use corelog_storage::format::replica::Peer;

use super::asking::SILENT_AFTER;
use crate::catalog::Topic;
use crate::core::{Core, PartitionKey};

impl Core {
    /// Looks at those that a topic names as followers of partitions that this core owns, and did not name `before`.
    pub(crate) fn meet_newcomers(&self, before: Option<&Topic>, topic: &Topic) {
        for key in topic.keys_on(self.id) {
            let replica = topic.replica(key.partition);
            let Some(owned) = replica.filter(|replica| replica.role.owns()) else {
                continue;
            };
            if before.is_none() {
                // It was to be deleted, and stays: what was heard of its followers is forgotten.
                self.doubt_of(key, owned);
            }
            let known = before.and_then(|before| before.replica(key.partition));
            let is_new = |peer: &&Peer| known.is_none_or(|known| !known.followers.contains(*peer));
            for peer in owned.followers.iter().filter(is_new) {
                self.meet(key, peer.copy);
            }
        }
    }

    /// One of them may have been promoted while this node stood still, if all that was heard of it may have been said before;
    /// another one was heard to claim that.
    fn meet(&self, key: PartitionKey, copy: CopyId) {
        let followers = &self.followers;
        if followers.is_doubted(key, copy, SILENT_AFTER) {
            followers.await_word(key, copy);
            followers.unasked.add_deaf(key, copy);
        } else if followers.is_claiming(key, copy) {
            followers.ask_soon(key, copy);
        }
    }
}
