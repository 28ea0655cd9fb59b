//! Rows made from a store, by those that are known of it.

use std::ops::Range;

use super::sealed::Of;
use super::whole::FAR_BYTES;
use super::{Builder, Rows, before_position, point};
use crate::Error;
use crate::disk::{Dir, File};
use crate::format::index::Row;
use crate::scan::{Scanner, Step, Unread};
use crate::segment::Point;

use corelog_record::batch::HEADER_BYTES;

/// What a walk over a store came to.
pub(super) enum Ending {
    /// To the end that it should, if that is known: the rows are right.
    Right,
    /// Something is bad, and bends the chain, or leads nowhere.
    Bad,
    /// Something leads nowhere for want of what the disk did not give: once it does there may be more rows.
    Unread(Unread),
    /// Every batch is sound, and they are not those that were appended.
    Elsewhere,
}

/// A walk that makes rows.
struct Making<'a, D: Dir> {
    of: &'a Of<D>,
    scanner: Scanner<D>,
    rows: Builder,
    /// Rows that were there before, in order: where one and the store are at odds, the row is believed.
    known: &'a [Row],
    /// How many of them the walk has passed.
    passed: usize,
    /// How many of the rows made are as right as the last of those.
    sure: usize,
    /// Whether something bad behind that was stepped over by its own length, which may bend the chain.
    is_bent: bool,
    has_bad: bool,
    /// What the disk did not give, where nothing leads on, or a row that lies far behind it: there may be others between.
    unread: Option<Unread>,
}

impl<D: Dir> Of<D> {
    /// Rows made anew, by the store alone. What no checksum covers may have turned over on its way: what comes to another end
    /// is read once more.
    ///
    /// # Errors
    /// Any error of reading the store.
    pub(super) async fn anew(&self) -> Result<(Builder, Ending), Error> {
        match self.walk(self.base, Builder::default(), &[]).await? {
            (_, Ending::Elsewhere) => self.walk(self.base, Builder::default(), &[]).await,
            made => Ok(made),
        }
    }

    /// The rows that were made `anew`; if they are not right those that are `known` stay: they lead behind what leads
    /// nowhere, and tell the chain where the store bends it.
    ///
    /// # Errors
    /// Any error of reading the store; `Damaged` if it holds sound batches which are not those that were appended, and
    /// nothing tells which of them are.
    pub(super) async fn by(
        &self,
        known: &[Row],
        anew: (Builder, Ending),
    ) -> Result<(Builder, Ending), Error> {
        match anew {
            (_, Ending::Right) => Ok(anew),
            _ if !known.is_empty() => self.walk(self.base, Builder::default(), known).await,
            (_, Ending::Bad | Ending::Unread(_)) => Ok(anew),
            (_, Ending::Elsewhere) => {
                let (from, segment) = (self.base.offset, self.base.offset);
                let to = self.end.map_or(from, |end| end.0);
                Err(Error::Damaged { from, to, segment })
            }
        }
    }

    /// The rows of a file that lacks some behind its last one, and those. Which batch bends the chain there is not known, and
    /// rows made over it would agree with it: then those of the file are all.
    ///
    /// # Errors
    /// Any error of reading the store.
    pub(super) async fn completed(&self, lower: Vec<Row>) -> Result<(Builder, Ending), Error> {
        let rows = Builder::from(lower.clone());
        let last = before_position(&self.base, &rows, u64::MAX);
        match self.walk(last, rows, &[]).await? {
            (_, Ending::Elsewhere) => self.by(&lower, self.anew().await?).await,
            made => Ok(made),
        }
    }

    /// Whether no row is missing where that would be felt: between two that lie far apart there is one batch, up to which
    /// the headers lead, or none that can be found.
    ///
    /// # Errors
    /// Any error of reading the store, but for bytes that the disk does not give.
    pub(super) async fn has_all(&self, rows: &impl Rows) -> Result<bool, Error> {
        let mut before = self.base;
        for row in all(rows) {
            let Some(next) = point(&self.base, &row) else {
                return Ok(false);
            };
            if !self.is_near(&before, next.position.get()).await? {
                return Ok(false);
            }
            before = next;
        }
        // Those behind the last one of a segment that goes on are completed.
        Ok(self.is_lower || self.is_near(&before, self.store_bytes).await?)
    }

    /// Whether no row is due between `from` and the next one, at the position `to`.
    async fn is_near(&self, from: &Point, to: u64) -> Result<bool, Error> {
        let mut at = *from;
        let ahead = |at: &Point| to.saturating_sub(at.position.get());
        if ahead(&at) <= FAR_BYTES {
            return Ok(true);
        }
        let file = self.store.file().await?;
        while at.position.get() < from.position.get() + u64::from(self.interval_bytes) {
            let header = match file.read_at(at.position.get(), HEADER_BYTES).await {
                Ok(header) => header,
                Err(error) => {
                    let error = self.store.at().io("read", error);
                    return match error.is_unreadable() {
                        true => Ok(false),
                        false => Err(error),
                    };
                }
            };
            match at.after_header(header.as_ref()) {
                Some(next) => at = next,
                None => return Ok(false),
            }
        }
        Ok(at.position.get() == to)
    }

    /// Has the disk be asked for these bytes of the store.
    ///
    /// # Errors
    /// That it does not give them.
    pub(super) async fn ask(&self, Range { start, end }: Range<u64>) -> Result<(), Error> {
        let file = self.store.file().await?;
        let bytes = usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX);
        let read = file.read_at(start, bytes).await;
        read.map(drop)
            .map_err(|error| self.store.at().io("read", error))
    }

    async fn walk(
        &self,
        start: Point,
        rows: Builder,
        known: &[Row],
    ) -> Result<(Builder, Ending), Error> {
        let file = self.store.file().await?;
        let making = Making {
            of: self,
            scanner: Scanner::new(&self.store, file, start, self.store_bytes),
            known,
            passed: 0,
            sure: rows.count(),
            rows,
            is_bent: false,
            has_bad: false,
            unread: None,
        };
        making.run().await
    }

    /// Whether the store that was read to `found` is known to end otherwise.
    fn ends_elsewhere(&self, found: &Point) -> bool {
        let end = self.end;
        end.is_some_and(|end| end != (found.offset, found.chain))
    }
}

impl<D: Dir> Making<'_, D> {
    async fn run(mut self) -> Result<(Builder, Ending), Error> {
        let Of {
            base,
            interval_bytes,
            ..
        } = self.of;
        loop {
            self.meet_known();
            let start = self.scanner.point();
            let unread = match self.scanner.next().await? {
                Step::Batch(_) => {
                    self.rows.note(base, &start, *interval_bytes);
                    continue;
                }
                Step::End => break,
                Step::Bad => None,
                Step::Unread(unread) => Some(unread),
            };
            // One that was misread would bend the chain in all rows behind it.
            if !self.scanner.read_again() && !self.step_over(unread).await? {
                return Ok((self.rows, self.unread.map_or(Ending::Bad, Ending::Unread)));
            }
        }
        let is_elsewhere = self.of.ends_elsewhere(&self.scanner.point());
        // Nothing that is known to be bad bends the chain behind the last row that is sure.
        if is_elsewhere && !self.is_bent {
            self.let_go();
        }
        let ending = match (is_elsewhere, self.has_bad) {
            (true, false) => Ending::Elsewhere,
            (true, true) => Ending::Bad,
            (false, true) if self.of.end.is_none() => Ending::Bad,
            // What no chain tells is bad in the batches alone.
            (false, _) => Ending::Right,
        };
        Ok((self.rows, self.unread.map_or(ending, Ending::Unread)))
    }

    /// Compares the walk with the rows that are known of where it is, and goes on with theirs.
    fn meet_known(&mut self) {
        let at = self.scanner.point();
        while let Some(row) = self.known.get(self.passed) {
            if at.position.get() < row.position.into() {
                break;
            }
            self.passed += 1;
            let known = point(&self.of.base, row);
            let is_here =
                |known: &Point| (known.position, known.offset) == (at.position, at.offset);
            let Some(known) = known.filter(is_here) else {
                continue;
            };
            if known.chain != at.chain {
                self.has_bad = true;
                // Which of the batches in between bends it cannot be told.
                if !self.is_bent {
                    self.let_go();
                }
                self.rows.end(known.position.get());
                self.scanner.move_to(known);
            }
            self.rows.note(&self.of.base, &known, 1);
            (self.sure, self.is_bent) = (self.rows.count(), false);
        }
    }

    /// Lets go of the rows made since the last one that is sure.
    fn let_go(&mut self) {
        self.rows.keep(self.sure);
    }

    /// Steps over what is bad, or `unread`: by its own length, or to the next row that is known at which a valid batch stands.
    /// False if neither leads anywhere, which is no reason to hide what lies before it.
    async fn step_over(&mut self, unread: Option<Unread>) -> Result<bool, Error> {
        self.has_bad = true;
        let base = &self.of.base;
        let start = self.scanner.point();
        self.rows.note(base, &start, 1);
        let (by_length, unread) = match self.scanner.behind_bad().await? {
            Ok(by_length) => (by_length, unread),
            Err(found) => (None, unread.or(Some(found))),
        };
        let behind = match by_length {
            Some(behind) => Some(behind),
            None => self.known_behind(start, unread).await?,
        };
        let Some(behind) = behind else {
            return Ok(false);
        };
        self.is_bent = by_length.is_some();
        self.rows.note(base, &behind, 1);
        self.scanner.move_to(behind);
        Ok(true)
    }

    /// The next row that is known at which a valid batch stands. Those on the way there stay if the disk did not give all:
    /// what it did not may stand at them, and nothing else leads there.
    async fn known_behind(
        &mut self,
        start: Point,
        unread: Option<Unread>,
    ) -> Result<Option<Point>, Error> {
        let base = &self.of.base;
        let known = self.known[self.passed..].iter();
        let known = known.filter_map(|row| point(base, row));
        let (behind, found) = self.scanner.first_behind(known.clone()).await?;
        let Some(unread) = unread.or(found) else {
            return Ok(behind);
        };
        let is_passed = |known: &Point| {
            let is_before = behind.is_none_or(|behind| known.position < behind.position);
            start.position < known.position && start.offset < known.offset && is_before
        };
        for row in known.filter(is_passed) {
            self.rows.note(base, &row, 1);
        }
        let is_far = |row: Point| FAR_BYTES < row.position.get() - start.position.get();
        if behind.is_none_or(is_far) {
            self.unread.get_or_insert(unread);
        }
        Ok(behind)
    }
}

/// All rows, in order.
pub(super) fn all(rows: &impl Rows) -> impl Iterator<Item = Row> {
    (0..rows.count()).map_while(|number| rows.row(number))
}
