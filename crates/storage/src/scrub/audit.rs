//! Judging a store by its end and by its index.
//!
//! A batch's own checksum does not cover its base offset, length and epoch, and says nothing of a
//! batch that stands in another's place. The chain does. It is known at the end of a sealed segment,
//! from the manifest, and at each row of its index. If it is right at the end, every byte of the store
//! is, and a row that disagrees is wrong itself. If it is not, the rows say between which two of them
//! the store has changed: after each that disagrees, the walk goes on with the row's chain.

use std::ops::Range;

use corelog_record::batch::HEADER_BYTES;
use corelog_record::{Chain, Offset};

use crate::segment::Point;

/// A judgement under way.
#[derive(Debug, Clone)]
pub(crate) struct Audit {
    /// The chain as stored, once the walk goes on with another.
    stored: Option<Chain>,
    /// Up to here all agreed.
    agreed: Offset,
    /// Offsets whose batches are sound, but not those that were written down.
    suspect: Vec<Range<Offset>>,
    /// Offsets of sound batches of another epoch than ruled there: where the chain cannot be followed nothing else tells.
    strays: Vec<Range<Offset>>,
    /// Whether bytes were stepped over by a length that nobody vouches for.
    is_bent: bool,
    has_damage: bool,
    has_wrong_row: bool,
    lacks_row: bool,
}

/// What came out of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Offsets whose batches are sound, but not those that were written down.
    pub(crate) replaced: Vec<Range<Offset>>,
    /// Whether the rows seen are true.
    pub(crate) is_index_right: bool,
    /// Whether all batches are those that were written down.
    pub(crate) is_whole: bool,
}

impl Audit {
    /// A judgement of the store that begins at `base`.
    pub(crate) fn new(base: Offset) -> Self {
        Self {
            stored: None,
            agreed: base,
            suspect: Vec::new(),
            strays: Vec::new(),
            is_bent: false,
            has_damage: false,
            has_wrong_row: false,
            lacks_row: false,
        }
    }

    /// Notes a sound batch with this header.
    pub(crate) fn batch(&mut self, header: &[u8; HEADER_BYTES]) {
        if let Some(stored) = &mut self.stored {
            *stored = stored.extend(header);
        }
    }

    /// Notes that the sound batch of these offsets is of another epoch than ruled there.
    pub(crate) fn stray(&mut self, offsets: Range<Offset>) {
        match self.strays.last_mut() {
            Some(last) if last.end == offsets.start => last.end = offsets.end,
            _ => self.strays.push(offsets),
        }
    }

    /// Compares the walk, which is at `at`, with a row of the index for the same position. Returns
    /// the point to go on from, if it is another.
    pub(crate) fn row(&mut self, at: &Point, row: &Point) -> Option<Point> {
        debug_assert_eq!(at.position, row.position, "a row is met where it points to");
        if at == row {
            self.agreed = at.offset;
            return None;
        }
        if at.offset != row.offset {
            self.has_wrong_row = true;
            return None;
        }
        if self.is_bent {
            self.is_bent = false;
            self.agreed = at.offset;
            return Some(*row);
        }
        if at.ordinal != row.ordinal || at.max_timestamp != row.max_timestamp {
            self.has_wrong_row = true;
            return None;
        }
        self.stored.get_or_insert(at.chain);
        self.suspect.push(self.agreed..at.offset);
        self.agreed = at.offset;
        Some(*row)
    }

    /// The chain as stored, where the walk has come to `chain`.
    pub(crate) fn stored(&self, chain: Chain) -> Chain {
        self.stored.unwrap_or(chain)
    }

    /// Whether the walk, which has come to `chain`, agrees with a chain that is known of that place.
    pub(crate) fn agrees(&self, chain: Chain, known: Chain) -> bool {
        self.stored(chain) == known || self.is_bent
    }

    /// Notes a row that points into the middle of a batch, or cannot be read.
    pub(crate) fn wrong_row(&mut self) {
        self.has_wrong_row = true;
    }

    /// Notes that a row is missing, or is no row any more: the others tell no less.
    pub(crate) fn lacking_row(&mut self) {
        self.lacks_row = true;
    }

    /// Whether a row was found wrong.
    pub(crate) fn has_wrong_row(&self) -> bool {
        self.has_wrong_row
    }

    /// Notes that bytes which are no sound batch were stepped over: by a row of the index, or by
    /// their own length.
    pub(crate) fn step_over(&mut self, is_by_row: bool) {
        self.has_damage = true;
        self.is_bent = !is_by_row;
    }

    /// The verdict on a walk that has come to `at`, where the store is to end at `end`.
    pub(crate) fn conclude(mut self, at: &Point, end: &Point) -> Verdict {
        let is_there = (at.offset, at.ordinal) == (end.offset, end.ordinal);
        let is_as_stored = self.stored.unwrap_or(at.chain) == end.chain;
        let is_index_right = !self.has_wrong_row && !self.lacks_row;
        if is_there && is_as_stored && !self.has_damage {
            return Verdict {
                replaced: Vec::new(),
                is_index_right: is_index_right && self.suspect.is_empty(),
                is_whole: true,
            };
        }
        let is_end = at.offset == end.offset && (self.is_bent || at.chain == end.chain);
        if !is_end && self.agreed < end.offset {
            self.suspect.push(self.agreed..end.offset);
        }
        self.suspect.append(&mut self.strays);
        Verdict {
            replaced: joined(self.suspect),
            is_index_right,
            is_whole: false,
        }
    }
}

/// Ranges in order, those that meet joined.
fn joined(mut ranges: Vec<Range<Offset>>) -> Vec<Range<Offset>> {
    ranges.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<Offset>> = Vec::new();
    for range in ranges {
        match joined.last_mut().filter(|last| range.start <= last.end) {
            Some(last) => last.end = last.end.max(range.end),
            None => joined.push(range),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use corelog_record::{Ordinal, Position};

    use super::*;
    use crate::segment::NO_TIMESTAMP;
    use crate::testing::own::offset;

    fn point(number: u64, chain: u64) -> Point {
        Point {
            offset: offset(number * 10),
            position: Position::new(number * 100).unwrap(),
            ordinal: Ordinal::new(number).unwrap(),
            chain: Chain::from_raw(chain),
            max_timestamp: NO_TIMESTAMP,
        }
    }

    #[test]
    fn a_row_that_disagrees_is_wrong_if_the_end_agrees() {
        let mut audit = Audit::new(Offset::ZERO);
        assert_eq!(audit.row(&point(1, 11), &point(1, 11)), None);
        assert_eq!(audit.row(&point(2, 12), &point(2, 99)), Some(point(2, 99)));
        let stored = audit.stored.unwrap();
        assert_eq!(stored, Chain::from_raw(12));
        let end = Point {
            chain: stored,
            ..point(3, 0)
        };
        let verdict = audit.conclude(&point(3, 77), &end);
        assert_eq!(verdict.replaced, []);
        assert!(!verdict.is_index_right);
    }

    #[test]
    fn rows_tell_where_a_store_has_changed_if_the_end_disagrees() {
        let mut audit = Audit::new(Offset::ZERO);
        audit.row(&point(1, 11), &point(1, 11));
        audit.row(&point(2, 99), &point(2, 12));
        audit.row(&point(3, 13), &point(3, 13));
        let verdict = audit.conclude(&point(4, 14), &point(4, 14));
        assert_eq!(verdict.replaced, [offset(10)..offset(20)]);
        assert!(verdict.is_index_right);
    }

    #[test]
    fn a_batch_of_another_epoch_is_told_unless_the_end_agrees() {
        for (end, replaced) in [(14, vec![]), (15, vec![offset(10)..offset(30)])] {
            let mut audit = Audit::new(Offset::ZERO);
            audit.stray(offset(10)..offset(20));
            audit.stray(offset(20)..offset(30));
            if end == 15 {
                audit.step_over(false);
            }
            let verdict = audit.conclude(&point(4, 14), &point(4, end));
            assert_eq!(verdict.replaced, replaced);
        }
    }

    #[test]
    fn without_rows_a_wrong_end_condemns_all() {
        let audit = Audit::new(Offset::ZERO);
        let verdict = audit.conclude(&point(4, 1), &point(4, 14));
        assert_eq!(verdict.replaced, [Offset::ZERO..offset(40)]);
    }

    #[test]
    fn a_row_behind_damage_mends_the_chain() {
        let mut audit = Audit::new(Offset::ZERO);
        audit.step_over(false);
        assert_eq!(audit.row(&point(2, 99), &point(2, 12)), Some(point(2, 12)));
        let verdict = audit.conclude(&point(3, 13), &point(3, 13));
        assert_eq!(verdict.replaced, []);
        assert!(verdict.is_index_right);
    }
}
