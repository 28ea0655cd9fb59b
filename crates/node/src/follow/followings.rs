//! Which partitions of a core follow, each by a task of its own.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

#[cfg(test)]
use corelog_protocol::message::replica_status::State;
use corelog_record::TopicName;
use corelog_storage::format::replica::{Replica, Role};

use super::places::Places;
use super::task::Following;
use crate::catalog::Topic;
use crate::core::{Core, PartitionKey};
use crate::rt;

/// The followers among a core's partitions.
#[derive(Default)]
pub(crate) struct Followings {
    by_key: RefCell<HashMap<PartitionKey, Rc<Following>>>,
    pub(super) places: Places,
}

impl Followings {
    /// The follower of a partition, if it follows.
    pub(super) fn of(&self, key: PartitionKey) -> Option<Rc<Following>> {
        self.by_key.borrow().get(&key).cloned()
    }
}

impl Core {
    /// Starts and stops followers, so that those partitions of a topic follow that are to.
    pub(crate) fn follow(self: &Rc<Self>, topic: &Arc<Topic>) {
        for (partition, owner) in topic.partitions() {
            let key = PartitionKey {
                topic: topic.id,
                partition,
            };
            if self.hands.puts_off(key) {
                continue;
            }
            let is_mine = owner == self.id && self.is_listening();
            let wanted = topic
                .replica(partition)
                .filter(|r| r.role == Role::Follower);
            match wanted.filter(|_| is_mine) {
                Some(replica) => self.follow_one(key, &topic.name, replica),
                None => drop(self.unfollow(key)),
            }
        }
    }

    /// Ends the follower of a partition, and waits until it appends no more.
    pub(crate) async fn halt(&self, key: PartitionKey) {
        self.hands.puts_off(key);
        if let Some(following) = self.unfollow(key) {
            following.ended().await;
        }
    }

    fn unfollow(&self, key: PartitionKey) -> Option<Rc<Following>> {
        let following = self.followings.by_key.borrow_mut().remove(&key)?;
        following.stop();
        Some(following)
    }

    fn follow_one(self: &Rc<Self>, key: PartitionKey, topic: &TopicName, replica: &Replica) {
        let running = self.followings.of(key);
        // One that has stopped begins again: it was asked to, or something changed.
        if running.is_some_and(|running| running.is_as(replica) && !running.has_ended()) {
            return;
        }
        let before = self.unfollow(key);
        let following = Rc::new(Following::new(key, topic, replica));
        let mut by_key = self.followings.by_key.borrow_mut();
        by_key.insert(key, Rc::clone(&following));
        drop(by_key);
        let core = Rc::clone(self);
        rt::spawn(async move {
            // One at a time appends to a log.
            if let Some(before) = before {
                before.ended().await;
            }
            following.run(&core).await;
        })
        .detach();
    }
}

#[cfg(test)]
impl Core {
    /// Has a partition of this core be told as a copy in some state, which nobody goes on with.
    pub(crate) fn copy_is(&self, key: PartitionKey, topic: &TopicName, state: State) {
        let following = Following::new(key, topic, &Replica::owner(key.partition));
        following.progress.state.set(state);
        let mut by_key = self.followings.by_key.borrow_mut();
        by_key.insert(key, Rc::new(following));
    }
}
