//! What a fetcher tells the consumer.

use bytes::Bytes;
use corelog_record::{LeaderEpoch, Offset, Timestamp, TopicId};
use tokio::sync::OwnedSemaphorePermit;

use crate::Error;

/// One piece of news. Bounded: per assignment one end, as many fetches as it has room for, and
/// one beginning, or as many as retention outran before the first fetch, or servers were found to be behind.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) assignment: u64,
    pub(super) news: News,
}

#[derive(Debug)]
pub(super) enum News {
    /// Where reading begins and ends; told again with a later beginning where retention outran the first fetch. Who goes on
    /// behind what was read is told once the log is known to be that one, or to end before that.
    Begun { begin: Begin, around: Around },
    /// Whole batches, not verified yet.
    Fetched {
        batches: Bytes,
        around: Around,
        room: OwnedSemaphorePermit,
    },
    /// All there was to read was fetched.
    Ended,
    /// Reading cannot go on.
    Failed(Error),
}

/// What was found at the beginning.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begin {
    /// The topic that is read.
    pub(super) topic: Option<TopicId>,
    pub(super) offset: Offset,
    pub(super) end: Option<Offset>,
    pub(super) since: Option<Timestamp>,
    /// Of the batch with the record before `offset`, where that is known.
    pub(super) epoch: Option<LeaderEpoch>,
}

/// The readable part of the log, as last heard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around {
    pub(super) log_start: Offset,
    pub(super) high_watermark: Offset,
}
