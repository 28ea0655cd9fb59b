//! What a partition wants performed, in the order it decided it.

use std::ops::Range;

use corelog_protocol::message::ack::Level;
use corelog_record::{Chain, LeaderEpoch, Offset};
use corelog_storage::disk::Dir;
use corelog_storage::log::{
    AppendError, Chore, ChorePlan, CopyError, Event, FlushPlan, ReadError, ReadPlan, ScrubPlan,
    Scrubbed, TimePlan,
};

use super::activity::Tick;
use super::group::Pace;
use super::input::Token;

/// What is to be performed.
pub(crate) enum Effect<D: Dir> {
    /// Tell the request what came of it.
    Answer {
        token: Token,
        answer: Result<Answer<D>, Refusal>,
    },
    /// A parked request finds data, or its partition goes away: let it ask again.
    Wake { token: Token },
    /// Hand back `Input::Commit` as soon as what else has arrived is appended, or with the next round.
    Commit(Pace),
    /// Hand back `Input::Commit` within [`ACCEPTED_AGE_MAX`](super::ACCEPTED_AGE_MAX).
    CommitSoon,
    /// Run it and hand back its completion; never drop it.
    Flush {
        /// Pace of the next group, as this one is.
        next_pace: Pace,
        /// Somebody waits for it who sent little.
        is_slight: bool,
        generation: u32,
        plan: Box<FlushPlan<D>>,
    },
    /// Run it in the background and hand back its completion.
    Chore {
        generation: u32,
        plan: Box<ChorePlan<D>>,
    },
    /// All below this offset is on disk: one effect for all requests that wait for it.
    Durable { upto: Offset, bytes: usize },
    /// The end of the log was cut, as was asked: less is durable than was told before. Whoever waits
    /// for more waits in vain.
    Cut { durable: Offset },
    /// No more writes until the partition is reopened; what waits for more than what is durable
    /// gets the outcome *unknown*.
    Fenced {
        failed: Failed,
        accepted_lost: u64,
        error: corelog_storage::Error,
    },
    /// Space could not be prepared: what waits for more than what is durable gets the outcome *unknown*, since it goes out
    /// when there is some. What comes behind gets *storage full*.
    Full { error: corelog_storage::Error },
    /// A chore failed without harm to what was promised; it is tried again later.
    ChoreFailed { error: corelog_storage::Error },
    /// Something happened to the log that the operator is to hear of.
    Event { event: Event },
    /// Hand back `Input::Ticked` within its time.
    Tick(Tick),
}

/// What failed where a partition is fenced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failed {
    /// The write or sync of a group.
    Flush,
    /// One of what the log does beside that: a mark, an edit of the manifest, space.
    Chore,
}

/// What came of a request.
#[derive(Debug)]
pub(crate) enum Answer<D: Dir> {
    /// Appended; at level durable it may be told once `Effect::Durable` has reached `end`.
    Appended {
        base: Offset,
        end: Offset,
        epoch: LeaderEpoch,
        level: Level,
        batches: usize,
        bytes: usize,
    },
    /// Run the plan and tell what it read.
    Read {
        plan: ReadPlan<D>,
        log_start: Offset,
        high_watermark: Offset,
    },
    /// There is nothing to read; if it might be parked it now is.
    Nothing {
        log_start: Offset,
        high_watermark: Offset,
        /// The base offset of the last segment.
        segment_base: Offset,
        is_parked: bool,
    },
    /// The offset asked for.
    Found {
        offset: Offset,
        log_start: Offset,
        high_watermark: Offset,
    },
    /// Run the plan and tell what it found; the high watermark if nothing.
    Search {
        plan: TimePlan<D>,
        log_start: Offset,
        high_watermark: Offset,
    },
    /// The log start as it now is, durably.
    Truncated { log_start: Offset },
    /// The log as a whole has changed, durably.
    Changed(Chore),
    /// What a snapshot holds of the partition, durably.
    Snapshotted {
        log_start: Offset,
        end: Offset,
        /// At the end.
        chain: Chain,
        segments: usize,
        bytes: u64,
    },
    /// Run the plan and hand back what it read; without one there is nothing to scrub.
    Scrub {
        generation: u32,
        plan: Option<Box<ScrubPlan<D>>>,
    },
    /// What a piece of a scrub found.
    Scrubbed(Box<Scrubbed>),
}

/// Why a request was not done; nothing of it was applied, but for one in doubt.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// A batch is not what the format requires.
    Invalid {
        batch_index: usize,
        source: corelog_record::Error,
    },
    /// Batches of a source do not follow.
    NotNext { source: CopyError },
    /// Another node owns the partition.
    NotOwner,
    /// There is no batch in the request.
    Empty,
    /// More bytes than one group may hold.
    TooLarge { bytes: usize, bytes_max: usize },
    /// More records than one segment may reach over.
    TooManyRecords { records: u64, records_max: u64 },
    /// The tail is full of bytes that wait for the disk.
    TailFull,
    /// A write or sync failed earlier.
    Fenced,
    /// A write or sync failed while it was done: it may have taken effect.
    InDoubt,
    /// There is no space on the disk.
    StorageFull,
    /// Damage makes the partition read-only.
    ReadOnly { from: Offset },
    /// The log has given out all its offsets.
    OffsetsExhausted,
    /// The offset was never or is no longer readable.
    OutOfRange { valid: Range<Offset> },
    /// The offset may be read later.
    PastHighWatermark { valid: Range<Offset> },
    /// What was read before is of another log, which may differ from this one from here on.
    OtherLog { from: Offset },
    /// The bytes asked for cannot be trusted.
    Damaged {
        damaged: Range<Offset>,
        segment: Offset,
    },
    /// The segment was moved away while it was read; asking again tells the valid range.
    Removed,
    /// Too much waits for a chore, or no file can be opened just now.
    Busy,
    /// What is to be in a snapshot was not sealed in time.
    NotSealed,
    /// The partition is going away.
    Closing,
    /// The disk does not give what is to be read of a segment.
    Unread {
        segment: Offset,
        source: corelog_storage::Error,
    },
    /// The disk failed.
    Failed { source: corelog_storage::Error },
}

impl From<AppendError> for Refusal {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Invalid { index, source } => Self::Invalid {
                batch_index: index,
                source,
            },
            AppendError::Copy(source) => Self::NotNext { source },
            AppendError::Empty => Self::Empty,
            AppendError::TooLarge { bytes, bytes_max } => Self::TooLarge { bytes, bytes_max },
            AppendError::TooManyRecords {
                records,
                records_max,
            } => Self::TooManyRecords {
                records,
                records_max,
            },
            AppendError::Full { .. } => Self::TailFull,
            AppendError::OffsetsExhausted => Self::OffsetsExhausted,
            AppendError::Fenced => Self::Fenced,
            AppendError::StorageFull => Self::StorageFull,
            AppendError::OutOfFiles | AppendError::Cutting => Self::Busy,
            AppendError::Following => Self::NotOwner,
            AppendError::ReadOnly { from } => Self::ReadOnly { from },
            other => unreachable!("an append error that is not told apart: {other}"),
        }
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::OutOfRange { valid, .. } => Self::OutOfRange { valid },
            ReadError::Damaged { from, to, segment } => Self::Damaged {
                damaged: from..to,
                segment,
            },
            ReadError::Removed { .. } => Self::Removed,
            ReadError::Disk { source, .. } if source.is_shortage() => Self::Busy,
            ReadError::Disk { segment, source } => Self::Unread { segment, source },
            other => unreachable!("a read error that is not told apart: {other}"),
        }
    }
}

/// Why a snapshot is not taken, a truncation not begun, a log not opened.
impl From<corelog_storage::Error> for Refusal {
    fn from(error: corelog_storage::Error) -> Self {
        use corelog_storage::Error;
        match error {
            Error::Fenced => Self::Fenced,
            Error::CalledOff => Self::Closing,
            Error::Busy | Error::OutOfFiles { .. } => Self::Busy,
            Error::ReadOnly { from } => Self::ReadOnly { from },
            Error::StorageFull { .. } => Self::StorageFull,
            Error::Damaged { from, to, segment } => Self::Damaged {
                damaged: from..to,
                segment,
            },
            source => Self::Failed { source },
        }
    }
}

/// Effects in the order they were decided; the buffer is reused from step to step.
pub(crate) struct Effects<D: Dir> {
    effects: Vec<Effect<D>>,
}

impl<D: Dir> Effects<D> {
    pub(crate) fn new() -> Self {
        Self {
            effects: Vec::new(),
        }
    }

    /// Takes all effects, oldest first; the buffer keeps its room.
    pub(crate) fn drain(&mut self) -> std::vec::Drain<'_, Effect<D>> {
        self.effects.drain(..)
    }

    pub(super) fn push(&mut self, effect: Effect<D>) {
        self.effects.push(effect);
    }

    pub(super) fn answer(&mut self, token: Token, answer: Answer<D>) {
        self.push(Effect::Answer {
            token,
            answer: Ok(answer),
        });
    }

    pub(super) fn refuse(&mut self, token: Token, refusal: Refusal) {
        self.push(Effect::Answer {
            token,
            answer: Err(refusal),
        });
    }
}
