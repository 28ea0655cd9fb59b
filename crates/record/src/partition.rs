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

    /// This partition's place on a stretch of `length` (below 2^32), one of `2^places_log2` (1 to 32) of equal
    /// distance: 0 for the first partition, and the first few as far from each other as they can be. What partitions
    /// that are written to alike would do all at once, they do one after the other if each does it at its place.
    pub const fn place_on(self, length: u64, places_log2: u32) -> u64 {
        // In reverse, the low bits of a number are the high ones.
        let place = self.0.reverse_bits() >> (u32::BITS - places_log2);
        (length * place as u64) >> places_log2
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_partitions_have_places_as_far_apart_as_they_can_be() {
        let place = |number| PartitionId::new(number).place_on(800, 3);
        let first: Vec<_> = (0..8).map(place).collect();
        assert_eq!(first, [0, 400, 200, 600, 100, 500, 300, 700]);
        assert_eq!(place(8), place(0), "there are no more");
    }
}
