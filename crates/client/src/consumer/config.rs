//! What a consumer may be told, and where it begins and ends.

use std::time::Duration;

use corelog_record::{LeaderEpoch, Offset, Timestamp, TopicId};

/// How a [`Consumer`](super::Consumer) fetches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerConfig {
    /// Bytes fetched ahead of the caller, over all partitions: a third of each one's share at a time, but 64 KiB at
    /// least, so that beyond some 170 partitions of the default it is 192 KiB for each. On top comes what single batches
    /// exceed that by (a batch is never cut). With 0 nothing is fetched before the caller has had what came.
    pub prefetch_bytes_max: usize,
    /// The most one fetch asks for.
    pub fetch_bytes_max: u32,
    /// A fetch at the end of a followed partition waits at the server for this many bytes …
    pub wait_bytes_min: u32,
    /// … at most this long, and a minute, before it asks again.
    pub wait: Duration,
    /// The most one batch may grow to when it is decompressed; more is reported as damage.
    pub decompressed_bytes_max: usize,
    /// How long a partition may be unreachable, or be without records that were readable when reading
    /// began, or that were read before, before that is reported; `None` tries for ever. It counts from when an answer was to
    /// come, and an attempt has half of what is left, or what to connect may take if that is more, and a tenth of all at least.
    /// An answer that comes by then is waited for as long as it comes, with 64 KiB a second at least.
    /// Where it was over by more than a tenth when an attempt failed, as in a program that was held up itself, there is half of it once more.
    /// With zero the first failure is reported; an attempt has the client's `timeout` then.
    pub unreachable_timeout: Option<Duration>,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            prefetch_bytes_max: 32 << 20,
            fetch_bytes_max: 2 << 20,
            wait_bytes_min: 1,
            wait: Duration::from_secs(5),
            decompressed_bytes_max: 256 << 20,
            unreachable_timeout: Some(Duration::from_secs(30)),
        }
    }
}

/// Where reading a partition begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// The oldest readable record.
    Earliest,
    /// Behind the newest readable record: only what comes from now on. That another node took over with loss, and below
    /// it began something else, is reported as [`Error::Diverged`](crate::Error::Diverged).
    Latest,
    /// This offset; outside the log it is reported. Who goes on where reading stopped begins with
    /// [`Progress::resume`](super::Progress::resume).
    Offset(Offset),
    /// The same behind a record that was read before, of a batch of this epoch
    /// ([`Received::epoch`](super::Received::epoch)): that the log has lost that record since is reported as
    /// [`Error::Diverged`](crate::Error::Diverged).
    Behind {
        /// The one of the record and 1.
        offset: Offset,
        /// The leader epoch of its batch.
        epoch: LeaderEpoch,
    },
    /// Where reading this topic stopped: that there is another one of its name by now is reported as well, with the code
    /// `TopicChanged`.
    Resumed {
        /// The id of the topic that was read.
        topic: TopicId,
        /// The offset to go on from.
        offset: Offset,
        /// The leader epoch of the batch with the record before it, where that is known.
        epoch: Option<LeaderEpoch>,
    },
    /// This many offsets before the end, or the oldest readable record if there are fewer. An
    /// offset difference is not a record count where control batches or gaps lie in between.
    LastN(u64),
    /// The first record, in log order, whose timestamp is at or after this one; all that follow
    /// it are delivered, whatever their timestamps.
    Time(Timestamp),
}

impl Start {
    /// The topic that is meant, whichever has its name.
    pub(super) const fn topic(&self) -> Option<TopicId> {
        match self {
            Self::Resumed { topic, .. } => Some(*topic),
            _ => None,
        }
    }

    /// The offset that reading begins at, if that is known beforehand.
    pub(super) const fn offset(&self) -> Option<Offset> {
        match self {
            Self::Offset(offset) | Self::Behind { offset, .. } | Self::Resumed { offset, .. } => {
                Some(*offset)
            }
            Self::Earliest | Self::Latest | Self::LastN(_) | Self::Time(_) => None,
        }
    }

    /// The epoch of the record behind which reading begins, if that is known beforehand.
    pub(super) const fn epoch(&self) -> Option<LeaderEpoch> {
        match self {
            Self::Behind { epoch, .. } => Some(*epoch),
            Self::Resumed { epoch, .. } => *epoch,
            _ => None,
        }
    }
}

/// Where reading a partition ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// The high watermark as it was when reading began.
    #[default]
    HighWatermark,
    /// Before this offset, or the high watermark as it was when reading began if that is lower.
    Offset(Offset),
    /// Never: at the end, wait for more.
    Follow,
}
