//! RestoreTopic: begins to make a new topic of one in a snapshot.

use corelog_record::TopicName;
use serde::{Deserialize, Serialize};

super::call!(RestoreTopic);

/// What to restore, and as what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// A snapshot's name, or the absolute path of one on the node's machine.
    pub source: String,
    /// Which of its topics; default nil, the only one.
    #[serde(default)]
    pub source_topic: Option<TopicName>,
    /// The name of the new topic; there must be none of this name.
    pub topic: TopicName,
    /// Whether damage is taken over as damage; default false: nothing is restored then.
    #[serde(default)]
    pub with_damage: bool,
}

/// It has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The number under which RestoreStatus tells of it.
    pub restore: u64,
}
