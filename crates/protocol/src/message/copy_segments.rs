//! CopySegments: the bytes of segments, in many answers. Each answer's body is bytes of one file.

use corelog_record::{HistoryId, Offset, PartitionId, Position, TopicId, TopicName};
use serde::{Deserialize, Serialize};

use crate::limits;

super::call!(CopySegments, HAS_ANSWER_BODY);

/// Which bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The topic's name.
    pub topic: TopicName,
    /// Its id.
    pub id: TopicId,
    /// The partition's number.
    pub partition: PartitionId,
    /// The log's name, as the Segments answer gave it.
    pub history: HistoryId,
    /// The parts, answered in this order, at most 1,024.
    pub parts: Vec<Part>,
    /// Bytes of one answer's body at most, 64 KiB at least; default and limit 4 MiB.
    #[serde(default = "piece_bytes_default")]
    pub piece_bytes_max: u32,
}

/// A range of one sealed segment's store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The segment's base offset.
    pub segment: Offset,
    /// The file's generation; default 0.
    #[serde(default)]
    pub generation: u32,
    /// The first byte; default 0.
    #[serde(default)]
    pub position: Position,
    /// How many bytes; default nil, to the segment's end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// One piece; an error answer ends the stream and names the segment in its detail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The segment's base offset.
    pub segment: Offset,
    /// The file's generation; default 0.
    #[serde(default)]
    pub generation: u32,
    /// Where in the store the body's first byte stands.
    pub position: Position,
    /// Bytes of the body.
    pub bytes: u32,
    /// True for the last piece of its part; default false.
    #[serde(default, rename = "final")]
    pub is_final: bool,
}

const fn piece_bytes_default() -> u32 {
    limits::COPY_PIECE_BYTES_MAX
}
