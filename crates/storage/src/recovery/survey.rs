//! Judging the bytes of one store, batch by batch from its start.

use std::ops::Range;
use std::rc::Rc;

use corelog_record::Offset;

use crate::Error;
use crate::disk::Dir;
use crate::index::{self, Builder, Sealed};
use crate::log::Damage;
use crate::scan::{Scanner, Step};
use crate::segment::Point;
use crate::store::Store;

/// What a survey is told.
pub(super) struct Of<D: Dir> {
    pub(super) store: Rc<Store<D>>,
    pub(super) base: Point,
    /// The length of the store. A valid batch may end in zeros, so the last byte that is not zero
    /// does not bound it.
    pub(super) bytes: u64,
    /// What was promised of this store: all below is durable.
    pub(super) mark: Option<Point>,
    pub(super) interval_bytes: u32,
    /// The index that an earlier closing may have left.
    pub(super) index: Rc<Sealed<D>>,
}

/// A survey of one store.
pub(super) struct Survey<D: Dir> {
    of: Of<D>,
    scanner: Option<Scanner<D>>,
    rows: Builder,
    damage: Vec<Damage>,
    bad_ranges: Vec<Range<u64>>,
    has_passed_mark: bool,
}

impl<D: Dir> Survey<D> {
    pub(super) async fn new(of: Of<D>) -> Result<Self, Error> {
        let scanner = match of.bytes {
            0 => None,
            bytes => {
                let file = of.store.file().await?;
                Some(Scanner::new(
                    &of.store,
                    file,
                    of.base.offset,
                    of.base,
                    bytes,
                ))
            }
        };
        Ok(Self {
            of,
            scanner,
            rows: Builder::default(),
            damage: Vec::new(),
            bad_ranges: Vec::new(),
            has_passed_mark: false,
        })
    }

    /// Where the survey is.
    pub(super) fn point(&self) -> Point {
        self.scanner.as_ref().map_or(self.of.base, Scanner::point)
    }

    /// The damage found.
    pub(super) fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// Where in the store bytes were stepped over.
    pub(super) fn bad_ranges(&self) -> Vec<Range<u64>> {
        self.bad_ranges.clone()
    }

    /// The index rows, and the damage.
    pub(super) fn into_parts(self) -> (Builder, Vec<Damage>) {
        (self.rows, self.damage)
    }

    /// Notes damage.
    pub(super) fn damaged(&mut self, from: Offset, to: Offset) {
        self.damage.push(Damage {
            from,
            to,
            segment: self.of.base.offset,
        });
    }

    /// Goes on to the first bad position behind the mark, or to the end. Bad bytes below the mark
    /// are damage, and stepped over: the mark says where the log went on.
    pub(super) async fn run(&mut self) -> Result<(), Error> {
        let Some(scanner) = &mut self.scanner else {
            return Ok(());
        };
        loop {
            let at = scanner.point();
            let mark = self.of.mark.filter(|_| !self.has_passed_mark);
            if let Some(mark) = mark.filter(|mark| mark.position <= at.position) {
                self.has_passed_mark = true;
                let is_there = (at.position, at.offset, at.ordinal)
                    == (mark.position, mark.offset, mark.ordinal);
                if is_there && at.chain == mark.chain {
                    continue;
                }
                scanner.move_to(mark);
                // A rotten header that was stepped over bends the chain, which the mark mends. But
                // valid batches which are not those that were marked are no good at all.
                if !is_there || self.damage.is_empty() {
                    let segment = self.of.base.offset;
                    self.damage.push(Damage {
                        from: segment,
                        to: mark.offset,
                        segment,
                    });
                    self.rows = Builder::default();
                }
                continue;
            }
            match scanner.next().await? {
                Step::Batch(_) => self.rows.note(&self.of.base, &at, self.of.interval_bytes),
                Step::End => return Ok(()),
                Step::Bad => {
                    let Some(mark) = self.of.mark.filter(|_| !self.has_passed_mark) else {
                        return Ok(());
                    };
                    let behind = scanner.behind_bad().await?;
                    let behind = behind.filter(|point| point.position <= mark.position);
                    let behind = behind.unwrap_or(mark);
                    scanner.move_to(behind);
                    let (from, to, segment) = (at.offset, behind.offset, self.of.base.offset);
                    self.damage.push(Damage { from, to, segment });
                    self.bad_ranges
                        .push(at.position.get()..behind.position.get());
                }
            }
        }
    }

    /// Steps over the bad bytes where the survey stopped, by the bad batch's own length or by index
    /// rows. Returns whether that worked; never searches, because a value may hold a batch.
    pub(super) async fn resync(&mut self) -> Result<bool, Error> {
        let Some(scanner) = &mut self.scanner else {
            return Ok(false);
        };
        let at = scanner.point();
        let mut behind = scanner.behind_bad().await?;
        if behind.is_none() {
            behind = self.row_behind(at).await?;
        }
        let (Some(behind), Some(scanner)) = (behind, &mut self.scanner) else {
            return Ok(false);
        };
        scanner.move_to(behind);
        self.note_bad(at, behind);
        Ok(true)
    }

    /// The first index row behind `at` at which a valid batch stands.
    async fn row_behind(&mut self, at: Point) -> Result<Option<Point>, Error> {
        let rows = self.of.index.load().await?;
        let row = index::after_position(&self.of.base, &*rows, at.position.get());
        let (Some(row), Some(scanner)) = (row, &mut self.scanner) else {
            return Ok(None);
        };
        scanner.move_to(row);
        let is_valid = matches!(scanner.next().await?, Step::Batch(_));
        scanner.move_to(at);
        Ok(Some(row).filter(|row| is_valid && at.offset < row.offset))
    }

    fn note_bad(&mut self, at: Point, behind: Point) {
        self.damaged(at.offset, behind.offset);
        self.bad_ranges
            .push(at.position.get()..behind.position.get());
    }
}
