//! DeleteTopic: a topic and all its records go.

use corelog_record::{TopicId, TopicName};
use serde::{Deserialize, Serialize};

super::call!(DeleteTopic);

/// Which topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Its name.
    pub name: TopicName,
    /// Its id.
    pub id: TopicId,
}

/// It is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {}
