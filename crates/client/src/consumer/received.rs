//! A record as it reaches the caller.

use std::sync::Arc;

use bytes::Bytes;
use corelog_record::{Offset, PartitionId, Record, Timestamp, TopicName};

/// A record that was read. Its fields are slices of what was fetched (or decompressed): cheap to
/// clone, and keeping one keeps the fetched bytes around it in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received {
    /// Its topic.
    pub topic: Arc<TopicName>,
    /// Its partition.
    pub partition: PartitionId,
    /// Its place in the log.
    pub offset: Offset,
    /// Its time, as its producer said.
    pub timestamp: Timestamp,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Option<Bytes>,
    /// Its headers in order.
    pub headers: Vec<Header>,
}

/// A header of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Header {
    /// Its value.
    pub value: Option<Bytes>,
    /// UTF-8, as the batch's reader checked.
    name: Bytes,
}

impl Header {
    /// `name` is a slice of `bytes`, and so is `value`.
    pub(super) fn of(bytes: &Bytes, name: &str, value: Option<&[u8]>) -> Self {
        Self {
            name: bytes.slice_ref(name.as_bytes()),
            value: value.map(|value| bytes.slice_ref(value)),
        }
    }

    /// The header's name.
    #[must_use]
    pub fn name(&self) -> &str {
        // The bytes were a `str` when they came in.
        std::str::from_utf8(&self.name).unwrap_or_default()
    }
}

impl Received {
    /// A copy that owns its bytes and can be sent again.
    #[must_use]
    pub fn to_record(&self) -> Record {
        let own = |bytes: &Option<Bytes>| bytes.as_ref().map(|bytes| bytes.to_vec());
        let headers = self.headers.iter();
        Record {
            timestamp: self.timestamp,
            key: own(&self.key),
            value: own(&self.value),
            headers: headers
                .map(|one| (one.name().to_owned(), own(&one.value)))
                .collect(),
        }
    }
}
