//! CreateTopic: a new topic, durable before it is answered.

use corelog_record::{TopicId, TopicName};
use serde::{Deserialize, Serialize};

use super::settings::TopicSettings;

super::call!(CreateTopic);

/// The topic to create.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Its name.
    pub name: TopicName,
    /// How many partitions, 1 to 4,096; default 1.
    #[serde(default = "partitions_default")]
    pub partitions: u32,
    /// Its settings; default all defaults.
    #[serde(default)]
    pub settings: TopicSettings,
    /// True: a topic of this name is no error and stays as it is; default false.
    #[serde(default)]
    pub if_not_exists: bool,
}

/// The topic as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Its id.
    pub id: TopicId,
    /// False if it was there before; default true.
    #[serde(default = "created_default")]
    pub created: bool,
    /// How many partitions it has.
    pub partitions: u32,
    /// The settings in force; default all defaults.
    #[serde(default)]
    pub settings: TopicSettings,
}

const fn partitions_default() -> u32 {
    1
}

const fn created_default() -> bool {
    true
}
