//! Sealed segments from other nodes: several at once, from several sources at once.
//!
//! ```text
//! Order ─▶ job ─▶ workers ─▶ storage::intake ─▶ Received: what is ready for the log
//!                    └─▶ peer: one connection each, to whichever source is to be asked next
//! ```
//!
//! - [`job`]: who receives which segment, and what came of all of them;
//! - [`worker`]: one segment after the other, from the sources that have it;
//! - [`sources`]: which sources may still be asked;
//! - [`givers`]: who gave what is there of a segment;
//! - [`files`]: which files are there already, and which of them nobody wants;
//! - [`claims`]: which files are being written;
//! - [`paces`]: how fast the orders of one clone are, all together;
//! - [`progress`]: how far all of it is, for those who watch;
//! - [`queues`]: the orders that wait, and which of them comes first;
//! - [`threads`]: the threads on which all that waits for sockets and disks.
//!
//! Laws kept: a source that sends one wrong byte is named and asked no more; what was verified before
//! stays, and the next source goes on behind it; nothing is waited for without a deadline; a file has one
//! writer, also while that is not wanted any more.

mod claims;
mod files;
mod givers;
mod job;
mod paces;
mod progress;
mod queues;
mod sources;
mod threads;
mod worker;

#[cfg(test)]
pub(super) mod tests;

use std::time::Duration;

use corelog_protocol::error::{ErrorBody, Retry};
use corelog_record::{HistoryId, Offset, PartitionId, TopicId, TopicName};
use corelog_storage::disk::std::StdDir;
use corelog_storage::format::edit::Seal;
use corelog_storage::intake::{self, Ready};
use corelog_storage::log::lineage::Began;

use super::peer::PeerError;

pub(crate) use claims::Claims;
pub(crate) use progress::{Done, Progress};
pub(crate) use threads::{RECEIVERS, Receivers};

/// What is received, from whom, and to where.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    /// The addresses of the nodes that may have it, `host:port`; those to be asked first come first.
    pub(crate) sources: Vec<String>,
    /// Those of them that failed a moment ago: others are asked first.
    pub(crate) failed: Vec<String>,
    /// How this node calls itself in their log lines.
    pub(crate) client: String,
    /// The topic, which has the same name and id here and there.
    pub(crate) topic: TopicName,
    pub(crate) id: TopicId,
    pub(crate) partition: PartitionId,
    pub(crate) history: HistoryId,
    /// What is wanted, in the order of its offsets.
    pub(crate) segments: Vec<Wanted>,
    /// The epochs of the log, oldest first.
    pub(crate) epochs: Vec<Began>,
    /// The directory of the log.
    pub(crate) dir: StdDir,
    /// Bytes of store for each row of an index.
    pub(crate) interval_bytes: u32,
    /// Bytes in a second at most; 0: as many as come.
    pub(crate) rate: u64,
    /// How long a source may send nothing, but for the time in which it may wait for its turn to send.
    pub(crate) patience: Duration,
    /// How long it has its thread before others come first.
    pub(crate) turn: Duration,
    /// Whether nothing else that was received from the first segment on is taken in any more: what came of others
    /// is given up.
    pub(crate) is_alone: bool,
}

/// A segment that is wanted.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// What it holds.
    pub(crate) seal: Seal,
    /// The generation that its files are to have here.
    pub(crate) generation: u32,
}

impl Wanted {
    /// Its base and generation, which name its files.
    fn segment(&self) -> (Offset, u32) {
        (self.seal.digest.base, self.generation)
    }
}

/// What came of an order.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// The segments that are all there, in the order of their offsets; perhaps with gaps. Without an error, too, it may be
    /// fewer than were ordered: its turn was over.
    pub(crate) ready: Vec<Ready>,
    /// What went wrong on the way, in the order in which it did; of many, the first ones.
    pub(crate) faults: Vec<Met>,
    /// Why not all of it is there, if it is not. What came in of the rest is gone on with next time.
    pub(crate) error: Option<ReceiveError>,
}

/// What went wrong with a source.
#[derive(Debug)]
pub(crate) struct Met {
    /// Its address.
    pub(crate) source: String,
    /// The segment that was asked for.
    pub(crate) segment: Offset,
    /// What it was.
    pub(crate) fault: Fault,
}

/// Why a source does not give a segment.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Fault {
    /// It does not answer as it should.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// It has no sealed segment of that base that holds the same.
    #[error("it has no such segment")]
    Lacks,
    /// It does not give it: gone, damaged, another topic by now.
    #[error("it refused: {0}")]
    Refused(Box<ErrorBody>),
    /// It sent bytes that are not those of the segment.
    #[error("it sent wrong bytes")]
    Wrong(#[source] intake::Error),
}

impl Fault {
    /// Whether what the source sends is not to be believed.
    pub(crate) fn is_deceit(&self) -> bool {
        let is_astray = matches!(self, Self::Peer(PeerError::Astray | PeerError::Frame(_)));
        is_astray || matches!(self, Self::Wrong(_))
    }

    /// Whether the source will not give the segment however often it is asked.
    pub(crate) fn is_for_good(&self) -> bool {
        match self {
            Self::Lacks => true,
            Self::Refused(body) => body.retry() != Retry::Later,
            Self::Peer(_) | Self::Wrong(_) => false,
        }
    }
}

/// Why not all that was ordered is there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ReceiveError {
    /// No source gives this segment, or not as it is; the faults tell why.
    #[error("no source gives segment {segment}")]
    NoSource {
        /// Its base offset.
        segment: Offset,
    },
    /// The disk refuses, or the order names what no segment can be.
    #[error(transparent)]
    Intake(#[from] intake::Error),
    /// An earlier order that has this segment has not ended yet.
    #[error("segment {segment} is being received already")]
    InUse {
        /// Its base offset.
        segment: Offset,
    },
    /// Its turn was over, and others waited.
    #[error("others came first")]
    MadeWay,
    /// It was not wanted any more.
    #[error("the segments are not wanted any more")]
    Stopped,
}
