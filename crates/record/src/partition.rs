//! Numbers of partitions and cores, and a partition's full name.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::TopicName;

/// The number of a partition within its topic, from 0.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct PartitionId(u32);

/// The number of a core within its node, from 0.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct CoreId(u16);

/// A partition by its topic's name and its number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: TopicName,
    /// The partition's number.
    pub partition: PartitionId,
}

impl PartitionId {
    /// The partition of this number.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The partition's number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl CoreId {
    /// The core of this number.
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// The core's number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for CoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// As in `orders/3`, the path of a partition below the topics of a node.
impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}
