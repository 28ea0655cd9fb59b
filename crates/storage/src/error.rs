//! What can go wrong with a log, with what an operator needs to know about it.

use std::io;
use std::ops::Range;

use corelog_record::{HistoryId, LeaderEpoch, Offset, PartitionId, Position, TopicId};

use crate::disk::unread::is_unreadable;
use crate::disk::{Dir, is_full, is_out_of_files};
use crate::format;
use crate::format::state::Broken;
use crate::segment::name;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An operation on a file or directory failed.
    #[error("cannot {action} {file} in {dir}")]
    Io {
        /// What was tried: `open`, `write`, `sync`, …
        action: &'static str,
        /// The directory.
        dir: String,
        /// The file in it, or `.` for the directory itself.
        file: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The disk is full. It can arise only while space is prepared: nothing is lost, and the log goes on by itself once there is space.
    #[error("no space left to {action} {file} in {dir}")]
    StorageFull {
        /// What was tried.
        action: &'static str,
        /// The directory.
        dir: String,
        /// The file in it.
        file: String,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
    /// There is no descriptor left to open a file with. It can arise only before anything is
    /// written: nothing is lost, and the log goes on by itself.
    #[error("no descriptor left to {action} {file} in {dir}")]
    OutOfFiles {
        /// What was tried.
        action: &'static str,
        /// The directory.
        dir: String,
        /// The file in it.
        file: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The opening was called off before it came to its end: [`CallOff`](crate::log::CallOff).
    #[error("the opening was called off")]
    CalledOff,
    /// A write or a sync failed before: only reopening the log lifts the fence.
    #[error("the log is fenced after a failed write or sync; reopen it")]
    Fenced,
    /// The log accepts no change: damage at its end could not be stepped over.
    #[error("the log is read-only: damage from offset {from} on")]
    ReadOnly {
        /// The first offset that cannot be trusted.
        from: Offset,
    },
    /// Another chore or flush is under way; ask again when it is complete.
    #[error("the log is busy with another change")]
    Busy,
    /// An offset that the log cannot be cut to.
    #[error("offset {offset} is outside [{log_start}, {durable}]")]
    OutOfRange {
        /// The offset asked for.
        offset: Offset,
        /// The log start.
        log_start: Offset,
        /// The end of what is durable.
        durable: Offset,
    },
    /// A file whose bytes are not what its format asks for.
    #[error("cannot understand {file} in {dir}")]
    Format {
        /// The directory.
        dir: String,
        /// The file in it.
        file: String,
        /// What is wrong with it.
        #[source]
        source: format::Error,
    },
    /// Stores without the manifest that says which of them are the log's.
    #[error("{dir} holds store {file} but no manifest; only an offline repair can rebuild it")]
    NoManifest {
        /// The directory.
        dir: String,
        /// A store in it.
        file: String,
    },
    /// A log without a manifest, that had one: something tells of it.
    #[error(
        "the log in {dir} is gone, {told} tells that it was there: put the directory back as it was, or promote a copy; \
         only if nothing has it any more, or this is a copy, remove {told}, and it begins anew"
    )]
    Gone {
        /// The directory, which need not be there.
        dir: String,
        /// The files that tell.
        told: String,
    },
    /// A directory that holds another partition's files.
    #[error("{dir} holds partition {partition} of topic {topic}, history {history}")]
    Foreign {
        /// The directory.
        dir: String,
        /// The topic that its manifest names.
        topic: TopicId,
        /// The partition that its manifest names.
        partition: PartitionId,
        /// The history that its manifest names.
        history: HistoryId,
    },
    /// An epoch of another log that does not follow from those of its copy.
    #[error("epoch {epoch} of offset {offset} does not follow at {log_end} (last epoch: {last:?})")]
    EpochOrder {
        /// The epoch.
        epoch: LeaderEpoch,
        /// Where it began.
        offset: Offset,
        /// The last one of the copy.
        last: Option<LeaderEpoch>,
        /// Where the copy ends.
        log_end: Offset,
    },
    /// An epoch of a source that would leave a copy none to take over with.
    #[error("epoch {epoch} of the source is above {epoch_max}: a copy of it could never take over")]
    EpochTooHigh {
        /// The epoch.
        epoch: LeaderEpoch,
        /// The highest that a copy takes.
        epoch_max: LeaderEpoch,
    },
    /// No further epoch can begin.
    #[error("the log in {dir} has used up its epochs")]
    EpochsExhausted {
        /// The directory.
        dir: String,
    },
    /// A segment of which no other generation can be made.
    #[error("segment {segment} in {dir} has used up its generations")]
    GenerationsExhausted {
        /// The directory.
        dir: String,
        /// The base offset of the segment.
        segment: Offset,
    },
    /// A segment that does not begin where the log ends, by offset, ordinal or chain; or files of a generation that is taken.
    #[error("segment {segment} does not go on where the log ends, at offset {log_end}")]
    NotNext {
        /// The base offset of the segment.
        segment: Offset,
        /// The end of the log.
        log_end: Offset,
    },
    /// The file of a segment that was received is not there any more, or not as long as it was: an opening
    /// has removed it, or the log began anew behind it. It can be received again.
    #[error("{file} in {dir} is not there any more, or not as long as it was received")]
    ReceivedGone {
        /// The directory.
        dir: String,
        /// The file that was received.
        file: String,
    },
    /// A segment that does not hold the batches of the one that it is to replace; or files of a generation that is taken.
    #[error("segment {segment} is not the one of that base, or its files are not newer")]
    NotSame {
        /// The base offset of the segment.
        segment: Offset,
    },
    /// A segment from a source whose epochs are not those of the log.
    #[error("epoch {epoch} has another lineage in the log than in the source of segment {segment}")]
    OtherLineage {
        /// The base offset of the segment.
        segment: Offset,
        /// The number of the epoch.
        epoch: LeaderEpoch,
    },
    /// A segment of a source that does not have the last epoch of the log, in which no batch is: the epoch has to be forgotten first.
    #[error("epoch {epoch} of the log is none of the source's that segment {segment} is of")]
    OwnEpoch {
        /// The base offset of the segment.
        segment: Offset,
        /// The number of the epoch.
        epoch: LeaderEpoch,
    },
    /// A segment of which the source says what cannot be so, as far as the log knows.
    #[error("what the source says of segment {segment} contradicts the log")]
    Contradicts {
        /// The base offset of the first segment that was to come in.
        segment: Offset,
        /// Why.
        #[source]
        source: Broken,
    },
    /// A directory without a finished snapshot.
    #[error("{dir} holds no snapshot, or one that was never finished")]
    NoSnapshot {
        /// The directory.
        dir: String,
    },
    /// A directory that was to be made, and is not empty.
    #[error("{dir} is there already and not empty")]
    Occupied {
        /// The directory.
        dir: String,
    },
    /// A segment that can still change where only sealed ones may be.
    #[error("segment {segment} in {dir} is not sealed, so nothing tells whether it is whole")]
    NotSealed {
        /// The directory.
        dir: String,
        /// The base offset of the segment.
        segment: Offset,
    },
    /// A partition in a snapshot that is not the one that its summary promises.
    #[error(
        "{dir} holds offsets [{}, {}), its snapshot promises [{}, {})",
        found.start, found.end, promised.start, promised.end
    )]
    Unlike {
        /// The directory.
        dir: String,
        /// The offsets that its manifest names.
        found: Range<Offset>,
        /// The offsets that the summary names.
        promised: Range<Offset>,
    },
    /// A store whose bytes are not those that were sealed.
    #[error("{file} in {dir} is damaged from position {position} on: offsets [{from}, {to})")]
    DamagedStore {
        /// The directory.
        dir: String,
        /// The store.
        file: String,
        /// Where the first batch begins that cannot be trusted.
        position: Position,
        /// Its offset.
        from: Offset,
        /// The end of the segment: what lies behind was not looked at.
        to: Offset,
    },
    /// Bytes that were promised and cannot be trusted.
    #[error("offsets [{from}, {to}) of segment {segment} are damaged")]
    Damaged {
        /// The first damaged offset.
        from: Offset,
        /// The first offset behind the damage, as far as is known.
        to: Offset,
        /// The base offset of the segment.
        segment: Offset,
    },
}

impl Error {
    /// Whether only space or descriptors were missing: nothing has failed, and a later try may succeed.
    #[must_use]
    pub fn is_shortage(&self) -> bool {
        matches!(self, Self::StorageFull { .. } | Self::OutOfFiles { .. })
    }

    /// Why it failed, for an event that says what did.
    pub(crate) fn cause(&self) -> String {
        let source = std::error::Error::source(self);
        source.map_or_else(|| self.to_string(), ToString::to_string)
    }

    /// Whether a file is not there.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// Whether the disk did not give bytes of a file that is there: as good as bytes that are wrong, unless it gives them the next time.
    pub(crate) fn is_unreadable(&self) -> bool {
        matches!(self, Self::Io { action: "read", source, .. } if is_unreadable(source))
    }

    /// Whether the disk did not give bytes of a store: its directory and the log's manifest it gave.
    #[must_use]
    pub fn is_unread_store(&self) -> bool {
        matches!(self, Self::Io { file, .. } if self.is_unreadable() && name::is_store(file))
    }

    /// Whether an opening was given other bytes of a store than a moment before.
    #[must_use]
    pub fn is_misread(&self) -> bool {
        let is_unlike = |source: &io::Error| source.kind() == io::ErrorKind::InvalidData;
        matches!(self, Self::Damaged { .. })
            || matches!(self, Self::Io { source, file, .. } if is_unlike(source) && name::is_store(file))
    }

    /// Whether the disk did not give what is there, names of files and their lengths included: it may the next time.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        let Self::Io { action, source, .. } = self else {
            return false;
        };
        let is_asked_for = matches!(*action, "read" | "list" | "open" | "measure" | "outwait");
        is_asked_for && is_unreadable(source)
    }

    /// The same error where trying again later is no way out.
    pub(crate) fn for_good(self) -> Self {
        match self {
            Self::StorageFull {
                action,
                dir,
                file,
                source,
            }
            | Self::OutOfFiles {
                action,
                dir,
                file,
                source,
            } => Self::Io {
                action,
                dir,
                file,
                source,
            },
            other => other,
        }
    }
}

/// Where an operation happens, for the errors it may give.
#[derive(Debug, Clone)]
pub(crate) struct At {
    dir: String,
    file: String,
}

impl At {
    /// In `file` of `dir`.
    pub(crate) fn new<D: Dir>(dir: &D, file: &str) -> Self {
        Self {
            dir: dir.describe(),
            file: file.to_owned(),
        }
    }

    /// In `dir` itself.
    pub(crate) fn dir<D: Dir>(dir: &D) -> Self {
        Self::new(dir, ".")
    }

    /// An error that no retry mends, but for a lack of descriptors.
    pub(crate) fn io(self, action: &'static str, source: io::Error) -> Error {
        let Self { dir, file } = self;
        match is_out_of_files(&source) {
            true => Error::OutOfFiles {
                action,
                dir,
                file,
                source,
            },
            false => Error::Io {
                action,
                dir,
                file,
                source,
            },
        }
    }

    /// An error while space is prepared: that the disk is full is a state, not a failure.
    pub(crate) fn space(self, action: &'static str, source: io::Error) -> Error {
        if !is_full(&source) {
            return self.io(action, source);
        }
        let Self { dir, file } = self;
        Error::StorageFull {
            action,
            dir,
            file,
            source,
        }
    }

    /// An error for bytes that do not keep to their format.
    pub(crate) fn format(self, source: format::Error) -> Error {
        Error::Format {
            dir: self.dir,
            file: self.file,
            source,
        }
    }
}
