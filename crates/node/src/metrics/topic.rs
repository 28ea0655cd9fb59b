//! One topic, as core 0 knows it.

use corelog_protocol::message::settings::TopicSettings;
use corelog_record::{Timestamp, TopicId, TopicName};

/// One topic of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSnapshot {
    /// Its name.
    pub name: TopicName,
    /// Its id, another one each time that a topic of the name is created.
    pub id: TopicId,
    /// When it was created.
    pub created: Timestamp,
    /// How many partitions it has.
    pub partition_count: u32,
    /// Its settings.
    pub settings: TopicSettings,
}
