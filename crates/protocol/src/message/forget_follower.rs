//! ForgetFollower: forgets a follower that is gone for good.

use corelog_record::{PartitionId, TopicId, TopicName};
use serde::{Deserialize, Serialize};

super::call!(ForgetFollower);

/// Which follower, and of what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The topic's name.
    pub topic: TopicName,
    /// Its id.
    pub id: TopicId,
    /// Only as a follower of this partition; default nil, of all.
    #[serde(default)]
    pub partition: Option<PartitionId>,
    /// The address, `host:port`, at which it is remembered.
    pub address: String,
}

/// It is forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The partitions that it was remembered of, or had yet to be told of, by number; default empty.
    #[serde(default)]
    pub partitions: Vec<PartitionId>,
}
