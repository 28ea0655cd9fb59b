//! All topics of a node, as each core holds them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use corelog_protocol::error::{Detail, ErrorCode};
use corelog_record::{CoreId, PartitionId, TopicId, TopicName};

use super::topic::Topic;
use crate::failure::{Failure, failure, failure_with};

/// All topics of a node, by name and by id.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    topics: BTreeMap<TopicName, Arc<Topic>>,
    /// The same: each Fetch of a follower asks for one, and a node may have ten thousand.
    by_id: HashMap<TopicId, Arc<Topic>>,
    /// Those that are there, and could not be read at the start.
    unreadable: BTreeSet<TopicName>,
}

impl Routes {
    /// The topic of this name.
    ///
    /// # Errors
    /// `UnknownTopic`, or `Damaged` of one that could not be read: it is there, and to be gone is something else.
    pub(crate) fn topic(&self, name: &TopicName) -> Result<&Arc<Topic>, Failure> {
        self.named(name)
            .ok_or_else(|| match self.unreadable.contains(name) {
                true => unreadable(name),
                false => failure(ErrorCode::UnknownTopic, format!("there is no topic {name}")),
            })
    }

    /// The same for who tells nobody why there is none.
    pub(crate) fn named(&self, name: &TopicName) -> Option<&Arc<Topic>> {
        self.topics.get(name)
    }

    /// Those that are there and could not be read, unless another has taken the name since.
    pub(crate) const fn unreadable(&self) -> &BTreeSet<TopicName> {
        &self.unreadable
    }

    /// Takes over which topics could not be read.
    pub(crate) fn set_unreadable(&mut self, names: BTreeSet<TopicName>) {
        self.unreadable = names;
    }

    /// The topic of this name and id.
    ///
    /// # Errors
    /// As [`Routes::topic`], or `TopicChanged` if the id is of an earlier topic of the name.
    pub(crate) fn topic_of(&self, name: &TopicName, id: TopicId) -> Result<&Arc<Topic>, Failure> {
        let topic = self.topic(name)?;
        if topic.id != id {
            let message = format!("topic {name} was deleted and created again");
            let detail = Detail {
                topic_id: Some(topic.id),
                ..Detail::default()
            };
            return Err(failure_with(ErrorCode::TopicChanged, message, detail));
        }
        Ok(topic)
    }

    /// The topic of this id, whatever its name.
    pub(crate) fn topic_by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.by_id.get(&id)
    }

    /// The core that owns a partition.
    ///
    /// # Errors
    /// As [`Routes::topic_of`], or `UnknownPartition`.
    pub(crate) fn owner(
        &self,
        name: &TopicName,
        id: TopicId,
        partition: PartitionId,
    ) -> Result<CoreId, Failure> {
        let topic = self.topic_of(name, id)?;
        topic.owner(partition).ok_or_else(|| {
            let count = topic.partition_count();
            let message = format!("topic {name} has {count} partitions, numbered from 0");
            let detail = Detail {
                partitions: Some(count),
                ..Detail::default()
            };
            failure_with(ErrorCode::UnknownPartition, message, detail)
        })
    }

    /// Every topic, by name.
    pub(crate) fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.topics.values()
    }

    /// Adds a topic or replaces it by its new state.
    pub(crate) fn put(&mut self, topic: Arc<Topic>) {
        self.unreadable.remove(&topic.name);
        let before = self.topics.insert(topic.name.clone(), Arc::clone(&topic));
        if let Some(before) = before {
            self.by_id.remove(&before.id);
        }
        self.by_id.insert(topic.id, topic);
    }

    /// Removes a topic, unless another has taken its name.
    pub(crate) fn remove(&mut self, topic: &Topic) {
        if self.by_id.remove(&topic.id).is_some() {
            self.topics.remove(&topic.name);
        }
    }
}

/// What is told of a topic that is there and could not be read.
pub(super) fn unreadable(name: &TopicName) -> Failure {
    let message = format!(
        "topic {name} is there, and could not be read when the server was started, whose log says why: with the server \
         stopped put its file `topic` back, or move its directory away and clone it from a copy (`corelog promote`, \
         `corelog clone`)"
    );
    failure(ErrorCode::Damaged, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::tests::topic_of;

    fn topic(id: u8) -> Arc<Topic> {
        Arc::new(topic_of("orders", id, 1))
    }

    #[test]
    fn a_topic_that_could_not_be_read_is_there_until_another_has_its_name() {
        let (name, id) = (topic(1).name.clone(), topic(1).id);
        let mut routes = Routes::default();
        let code = |routes: &Routes| {
            let owner = routes.owner(&name, id, PartitionId::new(0));
            owner.err().map(|error| error.code)
        };
        assert_eq!(code(&routes), Some(ErrorCode::UnknownTopic.number()));
        routes.set_unreadable([name.clone()].into());
        assert_eq!(code(&routes), Some(ErrorCode::Damaged.number()));
        routes.put(topic(1));
        assert_eq!((code(&routes), routes.unreadable().len()), (None, 0));
    }

    #[test]
    fn a_topic_is_found_by_its_id_for_as_long_as_it_has_its_name() {
        let mut routes = Routes::default();
        let found = |routes: &Routes| {
            [1, 2].map(|id| {
                let id = TopicId::from_bytes([id; 16]);
                routes.topic_by_id(id).is_some_and(|found| found.id == id)
            })
        };
        routes.put(topic(1));
        routes.put(topic(1));
        assert_eq!(found(&routes), [true, false]);
        routes.put(topic(2));
        assert_eq!(found(&routes), [false, true]);
        routes.remove(&topic(1));
        assert_eq!(found(&routes), [false, true]);
        routes.remove(&topic(2));
        assert_eq!(found(&routes), [false, false]);
    }
}
