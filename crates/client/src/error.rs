//! What can go wrong, and what it means for the caller.

mod fault;
mod late;
mod outcome;

use std::sync::Arc;
use std::time::Duration;

use corelog_protocol::error::{Applied, ErrorBody, ErrorCode, Retry};
use corelog_protocol::frame::FrameError;
use corelog_protocol::kind::Kind;
use corelog_record::{Offset, PartitionId, TopicName};

pub use self::fault::Fault;
use self::late::late;
pub use self::outcome::Outcome;

/// Everything that can go wrong in this crate.
///
/// [`Error::outcome`] says whether the request may have taken effect; [`Error::is_unreachable`]
/// tells a server that does not answer from one that refuses.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration names no server.
    #[error("no server to connect to")]
    NoServer,
    /// No connection could be made.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// Where to.
        address: Arc<str>,
        /// Why not.
        source: Arc<Fault>,
    },
    /// The connection ended before the answer came.
    #[error("connection to {address} lost: {source}")]
    Lost {
        /// The other end.
        address: Arc<str>,
        /// False if not a byte of the request was handed to the socket, or the server said that it did not take it.
        may_be_taken: bool,
        /// Why it ended.
        source: Arc<Fault>,
    },
    /// No answer in time.
    #[error("{}", late(address, *kind, *after, *is_sent, refused.as_deref()))]
    TimedOut {
        /// The server asked.
        address: Arc<str>,
        /// What it was asked for.
        kind: Kind,
        /// How long was waited.
        after: Duration,
        /// True if at least a byte of the request was handed to the socket.
        is_sent: bool,
        /// What the last answer to another attempt at it said, if one was answered.
        refused: Option<Box<ErrorBody>>,
    },
    /// The server answered with an error.
    #[error("{body}")]
    Refused {
        /// Code, message and detail, as the server sent them.
        body: Box<ErrorBody>,
    },
    /// The server's answer makes no sense.
    #[error("{address} answered {kind} with something else: {source}")]
    Answer {
        /// The server.
        address: Arc<str>,
        /// What it was asked for.
        kind: Kind,
        /// What is wrong with the answer.
        source: FrameError,
    },
    /// The request cannot be put into a frame.
    #[error("{kind} does not fit into a frame: {source}")]
    Request {
        /// What was to be asked.
        kind: Kind,
        /// Why not.
        source: FrameError,
    },
    /// The server and this client share no protocol version.
    #[error("{address} speaks protocol version {found}, this client {supported}")]
    Version {
        /// The server.
        address: Arc<str>,
        /// What it chose.
        found: u8,
        /// What this client offered.
        supported: u8,
    },
    /// The topic has no such partition.
    #[error("topic {topic} has {count} partitions, {partition} is none of them")]
    NoSuchPartition {
        /// The topic.
        topic: TopicName,
        /// The partition asked for.
        partition: PartitionId,
        /// How many there are.
        count: u32,
    },
    /// Where a record's key goes is not known: as long as the delivery timeout is, a server that may have partitions of the
    /// topic which no other one has said nothing of it, and those that did do not own all that they have of it.
    #[error(
        "where keys of {topic} go is not known: {server} did not say what it has of it within {after:?}, and the others do not own all of it"
    )]
    Uncounted {
        /// The topic.
        topic: TopicName,
        /// The server, the first of several.
        server: Arc<str>,
        /// How long was waited.
        after: Duration,
    },
    /// The same, where the server says that it has the topic and cannot read it.
    #[error("where keys of {topic} go is not known, by the word of {server}: {body}")]
    Unreadable {
        /// The topic.
        topic: TopicName,
        /// The server, the first of several.
        server: Arc<str>,
        /// Code, message and detail, as it sent them.
        body: Box<ErrorBody>,
    },
    /// A record beyond the server's or the producer's limit.
    #[error("a record of {bytes} bytes is beyond the limit of {bytes_max}")]
    RecordTooLarge {
        /// Bytes of key, value and headers; where it is the producer's, what it takes of memory.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// A batch could not be built, or what was fetched is none.
    #[error("bad batch: {source}")]
    Batch {
        /// What is wrong with it.
        #[from]
        source: corelog_record::Error,
    },
    /// Batches that were fetched do not hold what they should.
    #[error("{topic}/{partition} is damaged at offset {offset}: {source}")]
    Damaged {
        /// The topic.
        topic: TopicName,
        /// The partition.
        partition: PartitionId,
        /// Where reading stopped.
        offset: Offset,
        /// Where it can go on, if that is known.
        next: Option<Offset>,
        /// What is wrong.
        source: Box<Self>,
    },
    /// The server's disk does not give what is to be read.
    #[error("{topic}/{partition} cannot be read at offset {offset}: {source}")]
    Unread {
        /// The topic.
        topic: TopicName,
        /// The partition.
        partition: PartitionId,
        /// Where reading stopped.
        offset: Offset,
        /// What the server says of it.
        source: Box<Self>,
    },
    /// The offset asked for is outside the log.
    #[error("offset {offset} of {topic}/{partition} is not in [{log_start}, {high_watermark}]")]
    OutOfRange {
        /// The topic.
        topic: TopicName,
        /// The partition.
        partition: PartitionId,
        /// The offset asked for.
        offset: Offset,
        /// The oldest readable offset.
        log_start: Offset,
        /// The end of what is readable.
        high_watermark: Offset,
    },
    /// The log is not the one that was read, as where another node took the partition over without all that its source
    /// had: of what was read, records are lost, and others in their place.
    #[error(
        "{topic}/{partition} is not the log that was read up to offset {offset}: it may differ from offset {parting} on"
    )]
    Diverged {
        /// The topic.
        topic: TopicName,
        /// The partition.
        partition: PartitionId,
        /// Where reading would have gone on.
        offset: Offset,
        /// Who reads on from here misses nothing that is in the log now.
        parting: Offset,
    },
    /// Batches that do not follow each other.
    #[error("batch at offset {found} where {expected} or later was expected")]
    Disordered {
        /// The least offset that could follow.
        expected: Offset,
        /// The offset found.
        found: Offset,
    },
    /// Batches that end elsewhere than their answer says.
    #[error("batches that end at offset {found}, of an answer that goes on at {next}")]
    Misplaced {
        /// What the answer says comes next.
        next: Offset,
        /// What follows its last batch.
        found: Offset,
    },
    /// The server acknowledged another number of records than were sent.
    #[error("acknowledged offsets [{base}, {end}) for {count} records")]
    Miscounted {
        /// The first offset of the acknowledgement.
        base: Offset,
        /// The offset behind its last.
        end: Offset,
        /// Records sent.
        count: u64,
    },
    /// It is not known what the topic or its partition is, so that what was to be asked never was.
    #[error("the topic could not be looked up: {source}")]
    LookUp {
        /// How the question failed.
        source: Box<Self>,
    },
    /// Of several servers, those that answer have no such topic, and one that may does not answer.
    #[error("not all servers answer, and those that do have none of topic {topic}: {source}")]
    Untold {
        /// The topic.
        topic: TopicName,
        /// Why one of them did not.
        source: Box<Self>,
    },
    /// Not sent, or refused and not sent again, because the outcome of an earlier batch of the partition is
    /// unknown: order would not hold. Whoever looks at that outcome decides whether to send this again.
    #[error("an earlier batch of the partition has an unknown outcome")]
    BehindUnknown,
    /// No thread compressed it by the end of the delivery timeout: those that the runtime has for blocking work had other work.
    #[error("no thread of this program compressed the batch")]
    Uncompressed,
    /// Not in the log by the end of the delivery timeout, and tried no more.
    #[error("given up after {after:?}: {source}")]
    GivenUp {
        /// How long it was tried or had to wait for its turn; longer than the delivery timeout where an attempt ended later.
        after: Duration,
        /// The last failure; of what the server aborted behind another batch, that one's.
        source: Arc<Self>,
    },
    /// The producer or client was dropped, or a task of it has ended: with its runtime, or in a panic, of which the panic hook
    /// tells.
    #[error("closed by this program")]
    Closed,
    /// The same, while what was sent waited for its answer.
    #[error("closed by this program before the answer came")]
    ClosedInFlight,
}

impl Error {
    /// Whether the request may have taken effect.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Lost {
                may_be_taken: true, ..
            }
            | Self::TimedOut { is_sent: true, .. }
            | Self::Answer { .. }
            | Self::Miscounted { .. }
            | Self::ClosedInFlight => Outcome::Unknown,
            Self::Refused { body } => match body.applied() {
                Applied::No => Outcome::NotApplied,
                // No error answer of ours says that a request was applied; if one did, asking
                // again would do it twice.
                Applied::Unknown | Applied::Yes => Outcome::Unknown,
            },
            _ => Outcome::NotApplied,
        }
    }

    /// True if no server could be reached, or none answered in time.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::NoServer
            | Self::Connect { .. }
            | Self::Lost { .. }
            | Self::TimedOut { .. }
            | Self::Uncounted { .. } => true,
            Self::GivenUp { source, .. } => source.is_unreachable(),
            Self::LookUp { source } | Self::Untold { source, .. } => source.is_unreachable(),
            _ => false,
        }
    }

    /// The server's own error, if this is one.
    #[must_use]
    pub fn refusal(&self) -> Option<&ErrorBody> {
        match self {
            Self::Refused { body } | Self::Unreadable { body, .. } => Some(body),
            Self::GivenUp { source, .. } => source.refusal(),
            Self::Damaged { source, .. }
            | Self::Unread { source, .. }
            | Self::LookUp { source } => source.refusal(),
            _ => None,
        }
    }

    /// The same; of an answer that did not come in time, with what another attempt was refused for.
    pub(crate) fn besides(mut self, other: Option<Box<ErrorBody>>) -> Self {
        if let Self::TimedOut { refused, .. } = &mut self {
            *refused = other;
        }
        self
    }

    /// What a server answers with this.
    pub(crate) fn refused(body: ErrorBody) -> Self {
        Self::Refused {
            body: Box::new(body),
        }
    }

    /// What is at `offset` cannot be trusted, because of `source`; what is at `next` may.
    pub(crate) fn damaged(
        topic: &TopicName,
        partition: PartitionId,
        (offset, next): (Offset, Option<Offset>),
        source: Self,
    ) -> Self {
        Self::Damaged {
            topic: topic.clone(),
            partition,
            offset,
            next,
            source: Box::new(source),
        }
    }

    /// The same of a request that could not be made because this one failed, which changes nothing.
    pub(crate) fn of_look_up(self) -> Self {
        match self.outcome() {
            Outcome::NotApplied => self,
            Outcome::Unknown => Self::LookUp {
                source: Box::new(self),
            },
        }
    }

    /// How long the server asks to wait before trying again, within reason.
    pub(crate) fn retry_after(&self) -> Duration {
        let asked = self.refusal().and_then(|body| body.detail.retry_ms);
        Duration::from_millis(asked.unwrap_or(0).into()).min(RETRY_AFTER_MAX)
    }

    /// True if the same request may succeed later or elsewhere, as far as this error knows.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Lost { .. } | Self::TimedOut { .. } => true,
            Self::Refused { body } => body.retry() != Retry::No,
            Self::LookUp { source } | Self::Untold { source, .. } => source.may_pass(),
            _ => false,
        }
    }

    /// True if a server says that another one, which it needs for what was asked, does not answer it.
    pub(crate) fn is_of_source(&self) -> bool {
        matches!(self, Self::Refused { body } if body.is(ErrorCode::SourceUnavailable))
    }

    /// True if a server says that it has no such topic.
    #[must_use]
    pub fn is_unknown_topic(&self) -> bool {
        matches!(self, Self::Refused { body } if body.is(ErrorCode::UnknownTopic))
    }

    /// True if the topic that was asked for is another one by now.
    pub(crate) fn is_topic_changed(&self) -> bool {
        matches!(self, Self::Refused { body } if body.is(ErrorCode::TopicChanged))
    }

    /// True if only another node does what was asked for.
    pub(crate) fn is_elsewhere(&self) -> bool {
        matches!(self, Self::Refused { body } if body.retry() == Retry::Elsewhere)
    }
}

/// Whoever asks for more is asked again all the same.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);
