//! A line of a partition's epoch list.

use corelog_record::{LeaderEpoch, Lineage, Offset};
use serde::{Deserialize, Serialize};

/// One epoch of a partition: who owned it from which offset on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epoch {
    /// The epoch's number.
    pub epoch: LeaderEpoch,
    /// The 16 random bytes that name the epoch's owner.
    pub lineage: Lineage,
    /// The first offset of the epoch.
    pub start: Offset,
}
