//! AlterTopic: other settings, more partitions.

use corelog_record::{TopicId, TopicName};
use serde::{Deserialize, Serialize};

use super::settings::{SettingsChange, TopicSettings};

super::call!(AlterTopic);

/// What to change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The topic's name.
    pub name: TopicName,
    /// Its id.
    pub id: TopicId,
    /// How many partitions it shall have, never fewer than now; default nil, as many as now.
    #[serde(default)]
    pub partitions: Option<u32>,
    /// Which settings change; default none.
    #[serde(default)]
    pub settings: SettingsChange,
}

/// The topic as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// How many partitions it has.
    pub partitions: u32,
    /// The settings in force; default all defaults.
    #[serde(default)]
    pub settings: TopicSettings,
}
