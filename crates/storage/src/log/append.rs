//! Appending: check everything, then copy once.

use corelog_record::batch::{self, Rules};
use corelog_record::{LeaderEpoch, Offset, Timestamp};

use super::segments::back;
use super::{Checked, CopyError, Log, STORE_BYTES_MAX, UNSYNCED_BYTES_MAX};
use crate::disk::Dir;
use crate::segment::{Index, Segment, Stage};

/// What an append did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The offset of the first record.
    pub base: Offset,
    /// The offset after the last record.
    pub end: Offset,
    /// How many batches.
    pub batches: usize,
    /// How many bytes.
    pub bytes: usize,
    /// The epoch stamped into them.
    pub epoch: LeaderEpoch,
}

/// Why nothing was appended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// A batch breaks the rules.
    #[error("batch {index} is not valid")]
    Invalid {
        /// Which of the batches, from 0.
        index: usize,
        /// What is wrong with it.
        #[source]
        source: corelog_record::Error,
    },
    /// There is no batch.
    #[error("no batch to append")]
    Empty,
    /// More bytes than one group may hold.
    #[error("{bytes} bytes exceed the {bytes_max} that one append may hold")]
    TooLarge {
        /// Bytes given.
        bytes: usize,
        /// Bytes allowed.
        bytes_max: usize,
    },
    /// More records than one segment may reach over: several would end for one append.
    #[error("{records} records exceed the {records_max} that one append may hold")]
    TooManyRecords {
        /// Records given.
        records: u64,
        /// Records allowed.
        records_max: u64,
    },
    /// Too much waits for the disk already: try again after the next flush or chore.
    #[error("{pending} bytes wait for the disk already")]
    Full {
        /// Bytes that wait.
        pending: usize,
    },
    /// The end of the log is being cut off, segments are put there, or another epoch begins there; try
    /// again when that is done.
    #[error("the end of the log is being changed")]
    Cutting,
    /// The log follows another one and holds nothing of its own.
    #[error("the log follows another one: it takes copies of that one's batches only")]
    Following,
    /// Batches of another log that do not follow as a copy.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// The offsets of the log are used up.
    #[error("the log has no offsets left")]
    OffsetsExhausted,
    /// The log is fenced until it is reopened.
    #[error("the log is fenced after a failed write or sync; reopen it")]
    Fenced,
    /// Files could not be opened for want of descriptors; appends are taken again as soon as they can.
    #[error("no descriptor is left to open files with")]
    OutOfFiles,
    /// The disk is full; appends are taken again as soon as it is not.
    #[error("the disk is full")]
    StorageFull,
    /// Damage at the end of the log could not be stepped over.
    #[error("the log is read-only: damage from offset {from} on")]
    ReadOnly {
        /// The first offset that cannot be trusted.
        from: Offset,
    },
}

impl<D: Dir> Log<D> {
    /// Appends whole batches, all or none: checks each once, copies it once into the tail, stamps
    /// base offset and epoch. Nothing is durable before a flush.
    ///
    /// # Errors
    /// [`AppendError`]; the log is then as it was.
    pub fn append(&mut self, batches: &[u8], now: Timestamp) -> Result<Appended, AppendError> {
        self.admit(batches.len())?;
        let checked = Checked::at_once(batches, &self.options.rules)?;
        self.push_all(checked, now)
    }

    /// The same of batches that were checked before.
    ///
    /// # Errors
    /// As for [`Log::append`].
    pub fn append_checked(
        &mut self,
        checked: Checked<'_>,
        now: Timestamp,
    ) -> Result<Appended, AppendError> {
        self.admit(checked.bytes().len())?;
        self.push_all(checked, now)
    }

    fn push_all(&mut self, checked: Checked<'_>, now: Timestamp) -> Result<Appended, AppendError> {
        let (batches, records) = (checked.bytes(), checked.records());
        self.admit_records(records)?;
        let base = self.log_end();
        // A batch has a record at least: ordinals last as long.
        if base.checked_add(records).is_none() {
            return Err(AppendError::OffsetsExhausted);
        }
        for batch in batch::Batches::over(batches) {
            #[expect(clippy::expect_used, reason = "the check walked the same lengths")]
            let batch = batch.expect("every batch was checked");
            self.push(batch, now);
        }
        let end = self.log_end();
        assert_eq!(end, base.plus(records), "offsets are dense as appended");
        Ok(Appended {
            base,
            end,
            batches: checked.count(),
            bytes: batches.len(),
            epoch: self.epoch(),
        })
    }

    /// What is asked of batches that are appended.
    pub fn rules(&self) -> &Rules {
        &self.options.rules
    }

    /// Appends one batch that this program built itself: what a check would look for is what it has
    /// just written.
    ///
    /// # Errors
    /// [`AppendError`]; the log is then as it was.
    pub(crate) fn append_built(&mut self, batch: &[u8], now: Timestamp) -> Result<(), AppendError> {
        debug_assert!(
            batch::check(batch, &self.options.rules).is_ok(),
            "a batch that was built is valid"
        );
        self.admit(batch.len())?;
        self.push(batch, now);
        Ok(())
    }

    /// What is appended from now on goes to the disk in groups of no more than `bytes_max` bytes, but for one batch of more:
    /// whoever else syncs on the disk waits for what was written before. At most and by default
    /// [`UNSYNCED_BYTES_MAX`].
    pub fn bound_groups(&mut self, bytes_max: usize) {
        self.tail.bound_groups(bytes_max);
    }

    /// Whether `bytes` more bytes may be appended now, whatever they are.
    ///
    /// # Errors
    /// Why not: any [`AppendError`] that does not depend on what they are.
    pub fn admit(&self, bytes: usize) -> Result<(), AppendError> {
        // An empty copy that nobody has made its own has no epoch to stamp batches with, also if its mark is
        // still to be made.
        let is_unowned = !self.manifest.is_missing() && self.epochs().is_empty();
        // Of one that was fenced by its first group the epoch may be durable, or not.
        let is_unowned = is_unowned && !self.is_fenced();
        match self.is_follower() || is_unowned {
            true => Err(AppendError::Following),
            false => self.has_room(bytes, self.would_roll(bytes)),
        }
    }

    /// Whether `bytes` more bytes may be appended now, by whomever; `rolls`: to a new segment.
    pub(super) fn has_room(&self, bytes: usize, rolls: bool) -> Result<(), AppendError> {
        if self.is_fenced() {
            return Err(AppendError::Fenced);
        }
        if let Some(from) = self.read_only_from {
            return Err(AppendError::ReadOnly { from });
        }
        if self.is_end_held() {
            return Err(AppendError::Cutting);
        }
        if self.is_full() {
            return Err(match self.is_out_of_files {
                true => AppendError::OutOfFiles,
                false => AppendError::StorageFull,
            });
        }
        if bytes == 0 {
            return Err(AppendError::Empty);
        }
        if bytes > UNSYNCED_BYTES_MAX {
            return Err(AppendError::TooLarge {
                bytes,
                bytes_max: UNSYNCED_BYTES_MAX,
            });
        }
        let pending = self.pending_bytes();
        if rolls && self.is_sealing_behind() {
            return Err(AppendError::Full { pending });
        }
        let pending_bytes_max = self.options.pending_bytes_max.max(UNSYNCED_BYTES_MAX);
        match pending + bytes > pending_bytes_max {
            true => Err(AppendError::Full { pending }),
            false => Ok(()),
        }
    }

    /// Whether so many more records may be appended now, however few their bytes: what is inside a compressed batch is its
    /// producer's word. Those that are taken end at most one segment for their number.
    fn admit_records(&self, records: u64) -> Result<(), AppendError> {
        if records > REACH {
            return Err(AppendError::TooManyRecords {
                records,
                records_max: REACH,
            });
        }
        let active = self.active();
        let reach = active.end.offset.since(active.base.offset) + records;
        match reach > REACH && self.is_sealing_behind() {
            true => Err(AppendError::Full {
                pending: self.pending_bytes(),
            }),
            false => Ok(()),
        }
    }

    /// Appends one checked batch.
    fn push(&mut self, batch: &[u8], now: Timestamp) {
        if self.needs_roll(batch.len()) {
            self.roll();
        }
        self.put(batch, now);
    }

    /// Appends one checked batch to the active segment.
    pub(super) fn put(&mut self, batch: &[u8], now: Timestamp) {
        let epoch = self.epoch();
        let interval_bytes = self.options.index_interval_bytes;
        let active = back(&mut self.segments);
        let start = active.end;
        if let Index::Growing(rows) = &mut active.index {
            rows.note(&active.base, &start, interval_bytes);
        }
        let copy = self.tail.push(&self.dir, active.base.offset, &start, batch);
        batch::patch(copy, start.offset, epoch);
        #[expect(
            clippy::expect_used,
            reason = "checked, and stamped with the offset that follows"
        )]
        let end = start
            .after_header(copy)
            .expect("a stamped batch follows its point");
        self.tail.advance(&end, batch.len());
        active.end = end;
        self.sums.append(batch.len());
        active.born.get_or_insert(now);
    }

    /// Whether `bytes` more bytes are more than the active segment may have.
    fn would_roll(&self, bytes: usize) -> bool {
        let active = self.active();
        let bytes = active.bytes() + bytes as u64;
        !active.is_empty() && bytes > self.options.segment_bytes_max.bytes()
    }

    /// Whether a batch of `bytes` bytes needs a new segment.
    fn needs_roll(&self, bytes: usize) -> bool {
        let active = self.active();
        if active.is_empty() {
            return false;
        }
        self.would_roll(bytes) || self.is_out_of_reach()
    }

    /// Whether the active segment has grown beyond what rows of an index tell.
    pub(super) fn is_out_of_reach(&self) -> bool {
        let active = self.active();
        let offsets = active.end.offset.since(active.base.offset);
        let ordinals = active.end.ordinal.since(active.base.ordinal);
        offsets > REACH || ordinals > REACH || active.bytes() > REACH
    }

    /// Ends the active segment and begins the next, in memory.
    pub(crate) fn roll(&mut self) {
        let active = back(&mut self.segments);
        assert!(
            !active.is_empty(),
            "a segment without records is not rolled"
        );
        assert_eq!(
            active.stage,
            Stage::Active,
            "the last segment is the active one"
        );
        active.stage = Stage::Rolled;
        let base = active.end.rolled();
        let max_timestamp = active.end.max_timestamp;
        if self.segments.len() > 1 {
            self.sums.push(max_timestamp);
        }
        self.tail.roll();
        self.segments.push_back(Segment::new(base));
    }
}

/// Index rows hold 32 bits: no batch begins further from the base of its segment, in offsets, batches or bytes.
const REACH: u64 = (u32::MAX - batch::COUNT_MAX) as u64;

const _: () = assert!(
    REACH + (batch::BYTES_MAX + UNSYNCED_BYTES_MAX) as u64 <= STORE_BYTES_MAX,
    "a store that any log makes can be opened"
);
