//! CreateSnapshot: the records of topics as they are now, kept beside them.

use corelog_record::TopicName;
use serde::{Deserialize, Serialize};

use super::snapshot::Snapshot;

super::call!(CreateSnapshot);

/// What to take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The snapshot's name, of the form that a topic's has.
    pub snapshot: String,
    /// Which topics; default empty, all of them.
    #[serde(default)]
    pub topics: Vec<TopicName>,
}

/// What was taken; it is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The snapshot with every partition.
    pub taken: Snapshot,
}
