//! Numbers of partitions and cores.

use std::fmt;

use serde::{Deserialize, Serialize};

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
