//! The segments of a log: which one holds an offset, how much of each is durable, and what is told of
//! them.

use std::cmp::Ordering;
use std::collections::VecDeque;

use corelog_record::{Offset, Timestamp};

use super::Log;
use crate::disk::Dir;
use crate::segment::{NO_TIMESTAMP, Point, Segment};

/// One segment, as the log sees it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentInfo {
    /// The offset of its first record.
    pub base: Offset,
    /// The offset after its last record.
    pub next: Offset,
    /// Bytes of batches in its store.
    pub bytes: u64,
    /// Whether it is immutable.
    pub is_sealed: bool,
    /// When it was sealed, by the node's clock.
    pub seal_time: Option<Timestamp>,
    /// The largest record timestamp; `None` without records.
    pub max_timestamp: Option<Timestamp>,
}

impl<D: Dir> Log<D> {
    /// The segments with records, oldest first.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = SegmentInfo> + '_ {
        self.segments
            .iter()
            .filter(|segment| !segment.is_empty())
            .map(|segment| SegmentInfo {
                base: segment.base.offset,
                next: segment.end.offset,
                bytes: segment.bytes(),
                is_sealed: segment.is_sealed(),
                seal_time: segment.seal_time(),
                max_timestamp: Some(segment.end.max_timestamp).filter(|max| *max != NO_TIMESTAMP),
            })
    }

    /// The base offset of the segment that holds `offset`, or will hold it: those below have ended there.
    pub fn base_at(&self, offset: Offset) -> Offset {
        self.segment_of(offset).base.offset
    }

    /// The segment that is appended to.
    pub(super) fn active(&self) -> &Segment<D> {
        #[expect(
            clippy::expect_used,
            reason = "a log is made with one, and keeps the last"
        )]
        self.segments.back().expect("a log has an active segment")
    }

    /// The segment that holds `offset`; the active one for the log end.
    pub(super) fn segment_of(&self, offset: Offset) -> &Segment<D> {
        let active = self.active();
        // Nearly always, and of thousands nothing else is looked at.
        if active.base.offset <= offset {
            return active;
        }
        let count = self
            .segments
            .partition_point(|segment| segment.base.offset <= offset);
        self.segments.get(count.saturating_sub(1)).unwrap_or(active)
    }

    /// The segment based at `base`, which is there.
    pub(super) fn segment_at(&self, base: Offset) -> &Segment<D> {
        let segment = self.segment_of(base);
        assert_eq!(
            segment.base.offset, base,
            "a plan names segments of its log"
        );
        segment
    }

    pub(super) fn segment_at_mut(&mut self, base: Offset) -> &mut Segment<D> {
        let count = self
            .segments
            .partition_point(|segment| segment.base.offset <= base);
        let segment = &mut self.segments[count - 1];
        assert_eq!(
            segment.base.offset, base,
            "a plan names segments of its log"
        );
        segment
    }

    /// How much of a segment's store is durable, in bytes.
    pub(super) fn durable_bytes(&self, segment: &Segment<D>) -> u64 {
        self.durable_end(segment).position.get()
    }

    /// The end of what is durable of a segment.
    pub(super) fn durable_end(&self, segment: &Segment<D>) -> Point {
        match segment.base.offset.cmp(&self.durable_segment) {
            Ordering::Less => segment.end,
            Ordering::Equal => self.durable,
            Ordering::Greater => segment.base,
        }
    }
}

/// The last segment, for writing.
pub(super) fn back<D: Dir>(segments: &mut VecDeque<Segment<D>>) -> &mut Segment<D> {
    #[expect(
        clippy::expect_used,
        reason = "a log is made with one, and keeps the last"
    )]
    segments.back_mut().expect("a log has an active segment")
}
