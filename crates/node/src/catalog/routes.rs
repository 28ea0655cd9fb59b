//! All topics of a node, as each core holds them.

use std::collections::BTreeMap;
use std::sync::Arc;

use corelog_protocol::error::{Detail, ErrorCode};
use corelog_record::{CoreId, PartitionId, TopicId, TopicName};

use super::topic::Topic;
use crate::failure::{Failure, failure, failure_with};

/// All topics of a node, by name.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    topics: BTreeMap<TopicName, Arc<Topic>>,
}

impl Routes {
    /// The topic of this name.
    ///
    /// # Errors
    /// `UnknownTopic`.
    pub(crate) fn topic(&self, name: &TopicName) -> Result<&Arc<Topic>, Failure> {
        self.topics
            .get(name)
            .ok_or_else(|| failure(ErrorCode::UnknownTopic, format!("there is no topic {name}")))
    }

    /// The topic of this name and id.
    ///
    /// # Errors
    /// `UnknownTopic`, or `TopicChanged` if the id is of an earlier topic of the name.
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
        self.topics.values().find(|topic| topic.id == id)
    }

    /// The core that owns a partition.
    ///
    /// # Errors
    /// `UnknownTopic`, `TopicChanged` or `UnknownPartition`.
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
        self.topics.insert(topic.name.clone(), topic);
    }

    /// Removes a topic, unless another has taken its name.
    pub(crate) fn remove(&mut self, topic: &Topic) {
        if self
            .topics
            .get(&topic.name)
            .is_some_and(|found| found.id == topic.id)
        {
            self.topics.remove(&topic.name);
        }
    }
}
