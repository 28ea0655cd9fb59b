//! Appending copies of another log's batches, as they are: what a follower does.

use corelog_record::batch::{self, View};
use corelog_record::{LeaderEpoch, Offset, Timestamp};

use super::{AppendError, Appended, Log, Ownership};
use crate::disk::Dir;
use crate::segment::Stage;

/// Why batches are no continuation of a copy. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The log is its own.
    #[error("the log is its own and takes no copies")]
    Owned,
    /// A batch begins elsewhere than where the log ends, or the batch before.
    #[error("batch {index} begins at offset {found}, not at {expected}")]
    Gap {
        /// Which of the batches, from 0.
        index: usize,
        /// Where it begins.
        found: Offset,
        /// Where the next batch has to begin.
        expected: Offset,
    },
    /// A batch of an epoch that the log has not been told of.
    #[error("batch {index} is of epoch {found:?}, of which the log does not know")]
    EpochUnknown {
        /// Which of the batches, from 0.
        index: usize,
        /// Its epoch; `None` if it was never appended to any log.
        found: Option<LeaderEpoch>,
    },
    /// A batch of an epoch that has ended.
    #[error("batch {index} is of epoch {found}, and epoch {last} has begun")]
    EpochFalls {
        /// Which of the batches, from 0.
        index: usize,
        /// Its epoch.
        found: LeaderEpoch,
        /// The one in force.
        last: LeaderEpoch,
    },
    /// The source goes on in a segment that has ended here; see [`Log::plan_unroll`].
    #[error("the source goes on in segment {segment}, which has ended here")]
    Rolled {
        /// The last segment with records.
        segment: Offset,
    },
    /// The source goes on in a segment that has ended here, and is damaged: what is sound of it cannot be
    /// told from here. It is to be given up, see [`Log::plan_rejoin`], and copied anew.
    #[error("the source goes on in segment {segment}, which is damaged here")]
    Damaged {
        /// The last segment with records.
        segment: Offset,
    },
    /// The segment is neither the active one nor one that begins at the log end.
    #[error("segment {segment} is neither the active one, {active}, nor begins at {log_end}")]
    Boundary {
        /// The segment that the batches are said to be of.
        segment: Offset,
        /// The base offset of the active segment.
        active: Offset,
        /// The log end.
        log_end: Offset,
    },
    /// The segment has more bytes, offsets or batches than an index can tell of.
    #[error("segment {segment} is larger than any can be")]
    SegmentTooLarge {
        /// The segment.
        segment: Offset,
    },
}

impl<D: Dir> Log<D> {
    /// Appends copies of whole batches, all of the source's segment that is based at `segment_base`,
    /// all or none: each is verified, must begin where the one before ends, and be of the epoch in
    /// force. Rolls where the source did, and nowhere else. Nothing is durable before a flush.
    ///
    /// # Errors
    /// [`AppendError::Copy`] for batches that do not follow; [`AppendError::Invalid`]; any that says
    /// to try again. The log is then as it was.
    pub fn append_copied(
        &mut self,
        batches: &[u8],
        segment_base: Offset,
        now: Timestamp,
    ) -> Result<Appended, AppendError> {
        if !self.is_follower() {
            return Err(CopyError::Owned.into());
        }
        let base = self.log_end();
        let rolls = self.rolls_for(segment_base)?;
        self.has_room(batches.len(), rolls)?;
        let count = self.check_copies(batches)?;
        if rolls {
            self.roll();
        }
        for batch in batch::Batches::over(batches) {
            #[expect(clippy::expect_used, reason = "check_copies walked the same lengths")]
            let batch = batch.expect("every batch was checked");
            self.put(batch, now);
        }
        Ok(Appended {
            base,
            end: self.log_end(),
            batches: count,
            bytes: batches.len(),
            epoch: self.epoch(),
        })
    }

    /// Whether the log follows another one.
    pub(super) fn is_follower(&self) -> bool {
        self.options.ownership == Ownership::Follower
    }

    /// Whether the active segment ends before batches of the source's segment `segment`.
    fn rolls_for(&self, segment: Offset) -> Result<bool, CopyError> {
        let (active, log_end) = (self.active(), self.log_end());
        if segment == active.base.offset {
            return match self.is_out_of_reach() {
                true => Err(CopyError::SegmentTooLarge { segment }),
                false => Ok(false),
            };
        }
        if segment == log_end {
            return Ok(true);
        }
        let last = self.segments.iter().rev().find(|last| !last.is_empty());
        let last = last.filter(|last| active.is_empty() && last.base.offset == segment);
        if let Some(last) = last {
            return Err(match last.stage {
                Stage::Damaged => CopyError::Damaged { segment },
                _ => CopyError::Rolled { segment },
            });
        }
        Err(CopyError::Boundary {
            segment,
            active: active.base.offset,
            log_end,
        })
    }

    /// Checks all batches. Returns how many there are.
    fn check_copies(&self, batches: &[u8]) -> Result<usize, AppendError> {
        let last = self.epochs().last().map(|began| began.epoch);
        let (mut index, mut expected) = (0, self.log_end());
        for batch in batch::Batches::over(batches) {
            let invalid = |source| AppendError::Invalid { index, source };
            let view = View::verify(batch.map_err(invalid)?).map_err(invalid)?;
            let found = view.base_offset();
            if found != expected {
                let gap = CopyError::Gap {
                    index,
                    found,
                    expected,
                };
                return Err(gap.into());
            }
            match (view.epoch(), last) {
                (Some(found), Some(last)) if found < last => {
                    return Err(CopyError::EpochFalls { index, found, last }.into());
                }
                (Some(found), Some(last)) if found == last => {}
                (found, _) => return Err(CopyError::EpochUnknown { index, found }.into()),
            }
            expected = view.next_offset();
            index += 1;
        }
        Ok(index)
    }
}
