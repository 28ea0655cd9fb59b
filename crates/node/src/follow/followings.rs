//! Which partitions of a core follow, each by a task of its own.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

#[cfg(test)]
use corelog_protocol::message::replica_status::State;
use corelog_record::{PartitionId, TopicId, TopicName};
use corelog_storage::format::replica::{Replica, Role};

use super::places::Places;
use super::task::Following;
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
    /// Starts and stops followers, so that those partitions of a topic follow that are to. There may be thousands: others have
    /// the core between any two, and each is what the topic says then.
    pub(crate) async fn follow(self: &Rc<Self>, topic: TopicId) {
        for partition in (0..).map(PartitionId::new) {
            if !self.follow_one(PartitionKey { topic, partition }) {
                return;
            }
            rt::yield_if_needed().await;
        }
    }

    /// The same of one partition; false if there is none.
    pub(super) fn follow_one(self: &Rc<Self>, key: PartitionKey) -> bool {
        let topic = self.routes.borrow().topic_by_id(key.topic).cloned();
        let owner = topic.as_ref().and_then(|topic| topic.owner(key.partition));
        let (Some(topic), Some(owner)) = (topic, owner) else {
            return false;
        };
        if self.hands.puts_off(key) {
            return true;
        }
        let is_mine = owner == self.id && self.is_listening();
        let wanted = topic.replica(key.partition);
        match wanted.filter(|wanted| is_mine && wanted.role == Role::Follower) {
            Some(replica) => self.begin_to_follow(key, &topic.name, replica),
            None => drop(self.unfollow(key)),
        }
        true
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

    fn begin_to_follow(self: &Rc<Self>, key: PartitionKey, topic: &TopicName, replica: &Replica) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Addresses;
    use crate::core::tests::{topic_of, with_core};
    use crate::rt::tests::ways_given;

    /// All began in one go.
    #[test]
    fn others_have_the_core_between_any_two_partitions_that_begin_to_follow() {
        with_core(|core| async move {
            let listening = Addresses {
                listen: "127.0.0.1:1".parse().unwrap(),
                cores: Vec::new(),
                advertised: String::new(),
                advertised_cores: Vec::new(),
            };
            assert!(core.shared.addresses.set(listening).is_ok());
            let mut topic = topic_of("t", 1, 3);
            for (partition, _) in topic.clone().partitions() {
                let replica = Replica {
                    role: Role::Follower,
                    sources: vec!["127.0.0.1:1".to_owned()],
                    ..Replica::owner(partition)
                };
                topic.replicas.insert(partition, replica);
            }
            let id = topic.id;
            core.routes.borrow_mut().put(topic.into());
            assert_eq!(ways_given(core.follow(id)).await, 3);
            assert_eq!(core.followings.by_key.borrow().len(), 3);
        });
    }
}
