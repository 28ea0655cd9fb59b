//! One partition that is not the node's alone, as its core tells it.

use corelog_protocol::message::replica_status;
use corelog_record::{CoreId, Offset, TopicName};

/// One partition that follows another node's, is followed, or changed hands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaSnapshot {
    /// The topic's name.
    pub topic: TopicName,
    /// The core that owns it.
    pub core: CoreId,
    /// Where it is copied from, or went; the first that answers is asked.
    pub sources: Vec<String>,
    /// It is copied up to here and no further; none: it follows for ever, or is not copied.
    pub until: Option<Offset>,
    /// It is copied no faster than so many bytes a second.
    pub rate: Option<u64>,
    /// Its role, how far it is, and who follows it.
    pub status: replica_status::Partition,
}
