//! Walking a log in order, as verified batches.

use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;

use corelog_record::Offset;
use corelog_record::batch::View;

use crate::Error;
use crate::disk::Dir;
use crate::index::{self, Builder, Sealed};
use crate::scan::{Scanner, Step};
use crate::segment::Point;
use crate::store::Store;

/// A part of the range to walk: the durable batches of one segment.
pub(crate) struct Part<D: Dir> {
    pub(crate) store: Rc<Store<D>>,
    pub(crate) base: Point,
    /// A point at or before the first wanted batch.
    pub(crate) start: Point,
    pub(crate) end: Point,
    pub(crate) rows: Rows<D>,
}

/// Where the index rows of a part are.
pub(crate) enum Rows<D: Dir> {
    /// They still grow, and are the log's.
    Away,
    /// In memory.
    Known(Builder),
    /// In a file.
    File(Rc<Sealed<D>>),
}

/// Walks what was durable when it was made, batch by batch: every checksum, the offsets, and the
/// chain of every segment are verified. Goes on while the log is appended to, and while segments
/// expire: their files stay as long as a reader may want them, and no longer than the reader.
///
/// Whoever uses it goes by the offsets of the batches: behind damage they jump.
pub struct Reader<D: Dir> {
    from: Offset,
    parts: VecDeque<Part<D>>,
    part: Option<Part<D>>,
    scanner: Option<Scanner<D>>,
    /// Where it goes on behind bad bytes.
    behind: Option<Behind>,
    /// Whether nothing was stepped over in this segment, so that the chain at its end must be right.
    is_whole: bool,
}

/// What is known behind bad bytes.
#[derive(Clone, Copy)]
enum Behind {
    /// A batch that can be trusted, or the end of the part.
    At(Point),
    /// Nothing of the segment.
    NextSegment,
}

impl<D: Dir> fmt::Debug for Reader<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("from", &self.from)
            .finish_non_exhaustive()
    }
}

impl<D: Dir> Reader<D> {
    /// A reader of `parts` in order, from the batch that holds `from`.
    pub(crate) fn new(from: Offset, parts: VecDeque<Part<D>>) -> Self {
        Self {
            from,
            parts,
            part: None,
            scanner: None,
            behind: None,
            is_whole: true,
        }
    }

    /// The next batch; `None` at the end of the range.
    ///
    /// # Errors
    /// [`Error::Damaged`], after which it goes on where that says that the damage ends: behind the
    /// bad batch by its own length, or at an index row, or in the next segment. If the chain at the
    /// end of a segment is not the one that was appended, all of it is damaged, though its batches
    /// were given out. Any error of reading, after which it goes on with the next segment.
    pub async fn next(&mut self) -> Result<Option<View<'_>>, Error> {
        match self.find().await {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(error) => {
                self.behind = Some(Behind::NextSegment);
                return Err(error);
            }
        }
        let (Some(scanner), Some(part)) = (&mut self.scanner, &self.part) else {
            return Ok(None);
        };
        let (at, segment) = (scanner.point(), scanner.base());
        // Should it not come back, the segment is given up.
        self.behind = Some(Behind::NextSegment);
        match scanner.next().await? {
            Step::Batch(batch) => {
                self.behind = None;
                Ok(Some(batch))
            }
            Step::Bad | Step::End => {
                let behind = behind(part, at).await?;
                self.behind = Some(behind.map_or(Behind::NextSegment, Behind::At));
                Err(Error::Damaged {
                    from: at.offset,
                    to: behind.unwrap_or(part.end).offset,
                    segment,
                })
            }
        }
    }

    /// Moves before the next wanted batch, good or bad. Returns whether there is one.
    async fn find(&mut self) -> Result<bool, Error> {
        match (self.behind.take(), &mut self.scanner) {
            (Some(Behind::At(point)), Some(scanner)) => {
                scanner.move_to(point);
                self.is_whole = false;
            }
            (Some(_), _) => (self.scanner, self.part) = (None, None),
            (None, _) => {}
        }
        loop {
            let (Some(scanner), Some(part)) = (&mut self.scanner, &self.part) else {
                let Some(part) = self.parts.pop_front() else {
                    return Ok(false);
                };
                self.scanner = Some(scanner(&part, start(&part, self.from).await?).await?);
                (self.part, self.is_whole) = (Some(part), true);
                continue;
            };
            let point = scanner.point();
            if point.position == part.end.position {
                let (from, to) = (part.base.offset, part.end.offset);
                let is_right = !self.is_whole || point.chain == part.end.chain;
                (self.scanner, self.part) = (None, None);
                if !is_right {
                    let segment = from;
                    return Err(Error::Damaged { from, to, segment });
                }
                continue;
            }
            match scanner.peek().await? {
                Some(next) if next <= self.from => {
                    if let Step::Bad = scanner.next().await? {
                        // Damage below the wanted batches is not asked about.
                        let behind = behind(part, point).await?;
                        match behind.filter(|behind| behind.offset <= self.from) {
                            Some(behind) => scanner.move_to(behind),
                            None => return Ok(true),
                        }
                        self.is_whole = false;
                    }
                }
                _ => return Ok(true),
            }
        }
    }
}

async fn scanner<D: Dir>(part: &Part<D>, point: Point) -> Result<Scanner<D>, Error> {
    let file = part.store.file().await?;
    let (base, bytes) = (part.base.offset, part.end.position.get());
    Ok(Scanner::new(&part.store, file, base, point, bytes))
}

/// Where to begin in a part so that the batch that holds `from` is found.
async fn start<D: Dir>(part: &Part<D>, from: Offset) -> Result<Point, Error> {
    match &part.rows {
        Rows::File(sealed) if part.base.offset < from => {
            let rows = sealed.load().await?;
            Ok(index::before_offset(&part.base, &*rows, from))
        }
        _ => Ok(part.start),
    }
}

/// The point behind the bad batch at `at`, by its own length or by the next index row at which a batch
/// stands; never by searching, since a value may hold a batch.
async fn behind<D: Dir>(part: &Part<D>, at: Point) -> Result<Option<Point>, Error> {
    let mut scanner = scanner(part, at).await?;
    if let Some(behind) = scanner.behind_bad().await? {
        return Ok(Some(behind));
    }
    let sealed = match &part.rows {
        Rows::File(sealed) => Some(sealed.load().await?),
        Rows::Away | Rows::Known(_) => None,
    };
    let mut position = at.position.get();
    loop {
        let row = match (&part.rows, &sealed) {
            (Rows::Known(rows), _) => index::after_position(&part.base, rows.rows(), position),
            (_, Some(rows)) => index::after_position(&part.base, &**rows, position),
            _ => None,
        };
        let Some(row) = row.filter(|row| position < row.position.get()) else {
            return Ok(None);
        };
        position = row.position.get();
        scanner.move_to(row);
        let is_behind = at.offset < row.offset && position < part.end.position.get();
        if is_behind && matches!(scanner.next().await?, Step::Batch(_)) {
            return Ok(Some(row));
        }
    }
}
