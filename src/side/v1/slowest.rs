//! `/v1/slowest`: the slowest durable acknowledgements of the last hour, and where their time went.

use axum::extract::State;
use axum::response::Response;
use corelog_node::metrics::SlowAck;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::{Stage, health};
use crate::quantity::micros;

/// One of them; times in microseconds. See [`SlowAck`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) topic: String,
    pub(crate) partition: u32,
    /// The offset of its first record.
    pub(crate) offset: u64,
    pub(crate) records: u64,
    /// When it was answered, in milliseconds since 1970.
    pub(crate) answered_ms: i64,
    pub(crate) queue_us: u64,
    pub(crate) group_us: u64,
    pub(crate) sync_us: u64,
    pub(crate) reply_us: u64,
}

impl Row {
    fn of(slow: &SlowAck) -> Self {
        Self {
            topic: slow.topic.to_string(),
            partition: slow.partition.get(),
            offset: slow.base.get(),
            records: slow.records,
            answered_ms: slow.answered.millis(),
            queue_us: micros(slow.queue),
            group_us: micros(slow.group),
            sync_us: micros(slow.sync),
            reply_us: micros(slow.reply),
        }
    }

    /// Where its time went: queue, group, sync and reply.
    pub(crate) fn parts_us(&self) -> [u64; 4] {
        [self.queue_us, self.group_us, self.sync_us, self.reply_us]
    }

    /// All of them together.
    pub(crate) fn total_us(&self) -> u64 {
        self.parts_us().into_iter().fold(0, u64::saturating_add)
    }
}

/// What is told.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Slowest {
    /// The slowest first.
    pub(crate) slowest: Vec<Row>,
    /// No other since the node began took longer, in microseconds.
    pub(crate) others_us_max: u64,
}

/// The rows, and what is known of all others.
pub(super) async fn show(State(stage): State<Stage>) -> Response {
    let asked = health::ask(&stage, async |handle| handle.slowest().await);
    let told = asked.await.map(|(_handle, slowest)| {
        json!(Slowest {
            slowest: slowest.kept.iter().map(Row::of).collect(),
            others_us_max: micros(slowest.others_max),
        })
    });
    super::answer(told)
}
