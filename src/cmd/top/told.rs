//! What a node tells of itself under `/v1`, as far as it is shown. A field that an older node does
//! not tell has its default.

use corelog_protocol::message::describe_topic::Awaited;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::rates::Histogram;
use crate::side::SlowAckRow;

/// All of it, asked at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    pub(super) node: Node,
    pub(super) topics: Vec<Topic>,
    pub(super) partitions: Vec<Partition>,
    pub(super) connections: Vec<Connection>,
    pub(super) clones: Vec<Clone>,
    pub(super) followers: Vec<Follower>,
    pub(super) slowest: Vec<SlowAckRow>,
}

/// The process, its disk, its cores.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Node {
    pub(super) node: String,
    pub(super) version: String,
    pub(super) started: String,
    pub(super) data_dir: String,
    pub(super) listen: String,
    pub(super) resident_bytes: Option<u64>,
    pub(super) disk: Option<Disk>,
    /// `None` where it could not be listed in time.
    pub(super) quarantine: Option<Vec<Quarantine>>,
    /// Shown as rows with their rates.
    #[serde(skip_serializing)]
    pub(super) cores: Vec<Core>,
}

/// The file system of the data directory.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Disk {
    pub(super) free_bytes: u64,
    pub(super) total_bytes: u64,
}

/// What was moved aside for one reason.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Quarantine {
    pub(super) reason: String,
    pub(super) files: u64,
    pub(super) bytes: u64,
}

/// One core.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Core {
    pub(super) core: u64,
    pub(super) address: String,
    pub(super) advertised: String,
    pub(super) partitions: u64,
    pub(super) fenced_partitions: u64,
    pub(super) connections: u64,
    pub(super) in_flight_requests: u64,
    pub(super) parked_fetches: u64,
    pub(super) busy_ms: u64,
    pub(super) late_max_ms: u64,
    pub(super) stalls: u64,
    pub(super) stuck: u64,
    pub(super) slow_work: u64,
    pub(super) unflushed_bytes: u64,
    pub(super) kept_bytes: u64,
    pub(super) received_bytes: u64,
    pub(super) sent_bytes: u64,
    pub(super) appended_records: u64,
    pub(super) appended_bytes: u64,
    pub(super) copied_records: u64,
    pub(super) copied_bytes: u64,
    pub(super) installed_bytes: u64,
    pub(super) fetched_bytes: u64,
    pub(super) transferred_bytes: u64,
    pub(super) flushes: u64,
    pub(super) flushed_bytes: u64,
    pub(super) hops: u64,
    pub(super) lane_busy: u64,
    pub(super) requests: u64,
    pub(super) errors: u64,
    #[serde(skip_serializing)]
    pub(super) sync_us: Histogram,
    #[serde(skip_serializing)]
    pub(super) late_us: Histogram,
}

/// One topic.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Topic {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) created: String,
    pub(super) policy: Policy,
    pub(super) partitions: u64,
    pub(super) segments: u64,
    pub(super) bytes: u64,
}

/// A topic's settings.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Policy {
    pub(super) ack: String,
    pub(super) retention_age_ms: Option<u64>,
    pub(super) retention_bytes: Option<u64>,
    pub(super) segment_bytes: u64,
    /// What this command has no word for.
    #[serde(flatten)]
    pub(super) rest: serde_json::Map<String, Value>,
}

/// One partition.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Partition {
    pub(super) topic: String,
    pub(super) partition: u64,
    pub(super) core: u64,
    pub(super) state: String,
    pub(super) waits_for: Vec<Awaited>,
    pub(super) read_only: Option<bool>,
    pub(super) damaged_ranges: Option<u64>,
    pub(super) role: String,
    pub(super) source: Option<String>,
    /// `None`, as up to `bytes`, while its log is not open.
    pub(super) log_start: Option<u64>,
    pub(super) high_watermark: Option<u64>,
    pub(super) durable: Option<u64>,
    pub(super) log_end: Option<u64>,
    pub(super) epoch: Option<u64>,
    pub(super) segments: Option<u64>,
    pub(super) bytes: Option<u64>,
    pub(super) parked_fetches: u64,
    pub(super) scrubbed_at: Option<String>,
    pub(super) lag_records: Option<u64>,
    pub(super) lag_bytes: Option<u64>,
    pub(super) lag_ms: Option<u64>,
    pub(super) source_silent_ms: Option<u64>,
}

/// One client's connection.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Connection {
    pub(super) core: u64,
    pub(super) id: u64,
    pub(super) peer: String,
    pub(super) client: String,
    pub(super) since: String,
    pub(super) received_bytes: u64,
    pub(super) sent_bytes: u64,
    pub(super) in_flight_requests: u64,
}

/// A partition that the node copies, or gave to another.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Clone {
    pub(super) topic: String,
    pub(super) partition: u64,
    pub(super) core: u64,
    pub(super) role: String,
    pub(super) state: String,
    pub(super) source: Option<String>,
    pub(super) sources: Vec<String>,
    pub(super) rate: Option<u64>,
    pub(super) error: Option<Trouble>,
    /// `None` while its log is not open.
    pub(super) end: Option<u64>,
    pub(super) source_end: Option<u64>,
    pub(super) source_heard_ms: Option<u64>,
    pub(super) lag_records: Option<u64>,
    pub(super) lag_bytes: Option<u64>,
    pub(super) lag_ms: Option<u64>,
    pub(super) bytes_done: u64,
    pub(super) bytes_total: u64,
    pub(super) segments_done: u64,
    pub(super) segments_total: u64,
    pub(super) repairs: u64,
}

/// Why a copy does not go on.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Trouble {
    pub(super) code: String,
    pub(super) message: String,
}

/// A copy elsewhere of one of the node's partitions.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Follower {
    pub(super) topic: String,
    pub(super) partition: u64,
    pub(super) node: Option<String>,
    pub(super) address: Option<String>,
    pub(super) copy: String,
    /// `None`, as when it was heard, of one that was not heard since the node was started.
    pub(super) end: Option<u64>,
    pub(super) heard_ms: Option<u64>,
    pub(super) is_silent: bool,
}
