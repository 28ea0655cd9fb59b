//! The log of one partition: segments in order, appended to by one thread.
//!
//! Lives here: [`Log`] and its plans. It decides synchronously and hands out owned plans for I/O:
//! `plan_*` → `run().await` → `complete_*`. Appends go on while a flush is on the disk, which *is*
//! group commit. After each completion the owner asks for the next flush and the next chore; time
//! and randomness are arguments.
//!
//! ```text
//!  append ─▶ tail (pending) ─▶ FlushPlan ─▶ store ─▶ durable ─▶ readers
//!                 roll ─▶ ChorePlan: finish ─▶ seal        expire ─▶ edit ─▶ remove files
//! ```
//!
//! Never lives here: a clock, a background thread, a runtime; the high watermark and who may
//! append, which are the partition's.
//!
//! Laws kept, asserted where they could break:
//! - log start ≤ durable ≤ log end; log start and durable move forward only, but where the end is cut, rejoins or is adopted.
//! - Offsets and ordinals are dense as appended. An append is taken whole or not at all.
//! - No more than [`UNSYNCED_BYTES_MAX`] bytes are written and unsynced: a group is no larger, holds
//!   batches of one segment, and starts only when the one before is synced.
//! - A frozen buffer never changes; writes are whole blocks; the partial last block is written again
//!   as it is.
//! - After a failed write or sync, or a plan that never came back, the log is fenced for good.
//!   Running out of space is no failure: it arises only while space is prepared.
//! - The manifest names what is read. An edit is durable before what follows from it is done.

mod adopt;
mod age;
mod append;
mod begun;
mod birth;
mod call_off;
mod chain;
mod checked;
mod chore;
mod close;
mod copied;
mod cut;
mod damage;
mod due;
mod epoch;
mod event;
mod expire;
mod fence;
mod fetch;
mod find;
mod flush;
mod held;
mod install;
pub mod lineage;
mod look;
mod mark;
mod next;
mod open;
mod options;
mod origin;
mod outcome;
mod pin;
mod prepare;
mod read;
mod read_plan;
mod reader;
mod rejoin;
mod replace;
mod scrub;
mod segments;
mod select;
mod snapshot;
mod space;
mod stride;
mod suffix;
mod sums;
mod tail;
mod work;

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::ops::Range;
use std::rc::Rc;

use corelog_record::{ByteSize, CopyId, LeaderEpoch, Offset, Timestamp};

use crate::disk::Dir;
use crate::format::damage::{Known, Place};
use crate::format::edit::Epoch;
use crate::manifest::Manifest;
use crate::mark::Mark;
use crate::quarantine::Way;
use crate::segment::{Point, Segment};
use crate::store::Store;

use self::chore::Kind;
use self::damage::Found;
use self::fence::Fence;
use self::held::Held;
use self::mark::Marked;
use self::scrub::Scrub;
use self::space::Hurry;
use self::sums::Sums;
use self::tail::Tail;
use self::work::Garbage;

pub use crate::format::damage::Damage;
pub use age::SealTime;
pub use append::{AppendError, Appended};
pub use begun::Begun;
pub use call_off::CallOff;
pub use chain::ChainPlan;
pub use checked::Checked;
pub use chore::{ChoreDone, ChorePlan};
pub use copied::CopyError;
pub use epoch::{Begin, HEARD_EPOCH_MAX, PROMOTION_STEP, TAKE_BACK_STEP, TAKEOVER_STEP};
pub use event::Event;
pub use expire::Hold;
pub use find::TimePlan;
pub use flush::{FlushDone, FlushPlan, Flushed};
pub use open::{OpenReport, Torn};
pub(crate) use options::STORE_BYTES_MAX;
pub use options::{INDEX_INTERVAL_BYTES, Identity, Options, Ownership, UNSYNCED_BYTES_MAX};
pub use origin::Origin;
pub use outcome::Chore;
pub use pin::{Active, Pinned};
pub use read::{Fetched, Piece, ReadError};
pub use read_plan::ReadPlan;
pub use reader::Reader;
pub use scrub::{ScrubDone, ScrubPlan, Scrubbed};
pub use segments::SegmentInfo;

pub(crate) use event::Events;

/// The log of one partition. See the [module](self).
pub struct Log<D: Dir> {
    dir: D,
    quarantine: D,
    /// What tells of the log's files, as long as nothing was made durable behind the opening: until then it may be missing.
    untold: Option<Begun<D>>,
    identity: Identity,
    options: Options,
    /// State of the generator of random ids.
    seed: u64,
    copy: CopyId,
    /// Those that the manifest names, oldest first.
    epochs: Rc<[Epoch]>,
    /// The highest that this copy ever had or heard of, also if it was forgotten since.
    epoch_used: Option<LeaderEpoch>,
    fence: Fence,
    /// In order, without gaps; the last one is active.
    segments: VecDeque<Segment<D>>,
    sums: Sums,
    log_start: Offset,
    durable: Point,
    /// The base offset of the segment that `durable` is a point of.
    durable_segment: Offset,
    /// Bytes made durable since the log was opened.
    durable_total: u64,
    /// What that was when the log was last idle.
    idle_total: u64,
    tail: Tail<D>,
    manifest: Held<Manifest<D>>,
    mark: Held<Mark<D>>,
    marked: Marked,
    /// Bytes of batches that a flush is writing; 0 without one.
    in_flight_bytes: usize,
    /// Whether the flush under way prepares a store or space on its own.
    is_flush_preparing: bool,
    /// Bytes of batches of the last group; 0 before the first.
    group_bytes: usize,
    chore: Option<Kind>,
    /// Whether a group waits for space that a chore prepares.
    hurry: Hurry,
    /// The next segment's store, prepared ahead, and its space in bytes.
    next: Option<(Rc<Store<D>>, u64)>,
    /// When chores were last asked for: what was sealed later was so by a clock that was ahead.
    time_heard: Timestamp,
    /// Whether the disk was found full, or no descriptor, until a chore succeeds.
    is_full: bool,
    /// Whether it was not space but descriptors that was missing then.
    is_out_of_files: bool,
    space_retry_at: Timestamp,
    next_retry_at: Timestamp,
    /// Sealing frees space and takes none: it does not wait for the time of those that do.
    seal_retry_at: Timestamp,
    index_retry_at: Timestamp,
    /// How often it is still looked for indexes that were rebuilt.
    index_checks: Cell<u8>,
    garbage: Vec<Garbage<D>>,
    reuse_retry_at: Timestamp,
    remove_retry_at: Timestamp,
    damage: Known,
    /// Damage that the manifest does not remember: the disk may give these bytes the next time.
    unread: Vec<Damage>,
    found: Found,
    events: Events,
    /// Where the manifest may remember something else of it yet.
    unwritten: BTreeSet<Place>,
    scrub: Scrub<D>,
    read_only_from: Option<Offset>,
}

/// Plans hold handles and buffers, of which there is nothing to show.
macro_rules! shown_by_name {
    ($($plan:ident)*) => {$(
        impl<D: Dir> fmt::Debug for $plan<D> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($plan))
            }
        }
    )*};
}

shown_by_name!(ChainPlan ChoreDone ChorePlan FlushDone FlushPlan Origin);
shown_by_name!(ReadPlan Reader ScrubDone ScrubPlan TimePlan);

impl<D: Dir> fmt::Debug for Log<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("dir", &self.dir.describe())
            .field("log_start", &self.log_start)
            .field("durable", &self.durable.offset)
            .field("log_end", &self.log_end())
            .field("is_fenced", &self.is_fenced())
            .finish_non_exhaustive()
    }
}

impl<D: Dir> Log<D> {
    /// Whose log this is.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// The name of these files, as one of the copies that the log may have.
    pub fn copy_id(&self) -> CopyId {
        self.copy
    }

    /// The oldest readable offset.
    pub fn log_start(&self) -> Offset {
        self.log_start
    }

    /// All below was synced.
    pub fn durable(&self) -> Offset {
        self.durable.offset
    }

    /// The offset that the next record gets.
    pub fn log_end(&self) -> Offset {
        self.active().end.offset
    }

    /// The offsets that can be read.
    pub fn readable(&self) -> Range<Offset> {
        self.log_start()..self.durable()
    }

    /// Bytes of batches in all stores, those not yet flushed included.
    pub fn store_bytes(&self) -> ByteSize {
        ByteSize::from_bytes(self.sums.store_bytes())
    }

    /// Whether a write or sync failed, or a plan was dropped: no more writes until reopened.
    pub fn is_fenced(&self) -> bool {
        self.fence.is_set()
    }

    /// Whether the last attempt to prepare space found the disk full, or no descriptor to open a file
    /// with. Appends are refused with [`AppendError::StorageFull`] or [`AppendError::OutOfFiles`] until
    /// a chore succeeds.
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// Known damage, by offset. Reads inside answer [`ReadError::Damaged`].
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// Where the damage begins that keeps the log from taking appends, if any does.
    pub fn read_only_from(&self) -> Option<Offset> {
        self.read_only_from
    }

    /// Bytes of memory held for readers of the tail.
    pub fn tail_bytes(&self) -> usize {
        self.tail.retained_bytes()
    }

    /// Bytes of batches that a flush under way is writing.
    pub fn in_flight_bytes(&self) -> usize {
        self.in_flight_bytes
    }

    /// Bytes of batches that wait for the next flush.
    pub fn pending_bytes(&self) -> usize {
        self.tail.pending_bytes()
    }

    /// Gives the oldest buffer of the tail back.
    pub fn shed_tail(&mut self) {
        self.tail.shed();
    }

    /// Changes how the log behaves from now on.
    pub fn set_options(&mut self, options: Options) {
        self.options = options;
        self.tail.shrink(self.options.tail_bytes_max);
    }

    /// Sets the fence, for good. What waits for the disk will never be on its way, and readers are given none of
    /// it: its memory is given back.
    fn set_fence(&mut self) {
        self.fence.set();
        self.tail.forget_pending();
    }

    /// Whether the log has its manifest and its mark: without records it has none.
    pub fn has_files(&self) -> bool {
        !self.manifest.is_missing() && !self.mark.is_missing()
    }

    /// The way of the log's files to quarantine.
    fn way(&self, time: Timestamp) -> Way<D> {
        Way {
            dir: self.dir.clone(),
            quarantine: self.quarantine.clone(),
            topic: self.identity.topic,
            partition: self.identity.partition,
            time,
        }
    }

    /// Whether a chore changes the end of the log, or what stands there from then on.
    fn is_end_held(&self) -> bool {
        self.chore == Some(Kind::End)
    }

    /// Whether a chore takes files away from segments that the log still has.
    fn is_moving_files(&self) -> bool {
        self.is_end_held() || self.chore == Some(Kind::Replace)
    }
}
