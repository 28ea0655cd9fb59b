//! Walking a log in order, as verified batches.

use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;

use corelog_record::Offset;
use corelog_record::batch::View;

use crate::Error;
use crate::disk::Dir;
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
}

/// Walks what was durable when it was made, batch by batch: every checksum and the chain from batch
/// to batch are verified. Goes on while the log is appended to; segments that are removed meanwhile
/// give an error unless they are open already.
pub struct Reader<D: Dir> {
    from: Offset,
    parts: VecDeque<Part<D>>,
    scanner: Option<(Scanner<D>, Point)>,
    is_broken: bool,
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
            scanner: None,
            is_broken: false,
        }
    }

    /// The next batch; `None` at the end of the range.
    ///
    /// # Errors
    /// [`Error::Damaged`], after which it goes on with the next segment; any error of reading.
    pub async fn next(&mut self) -> Result<Option<View<'_>>, Error> {
        if !self.find().await? {
            return Ok(None);
        }
        let Some((scanner, end)) = &mut self.scanner else {
            return Ok(None);
        };
        let (from, to, segment) = (scanner.point().offset, end.offset, scanner.base());
        match scanner.next().await? {
            Step::Batch(batch) => Ok(Some(batch)),
            Step::Bad | Step::End => {
                self.is_broken = true;
                Err(Error::Damaged { from, to, segment })
            }
        }
    }

    /// Moves before the next wanted batch, good or bad. Returns whether there is one.
    async fn find(&mut self) -> Result<bool, Error> {
        if std::mem::take(&mut self.is_broken) {
            self.scanner = None;
        }
        loop {
            let Some((scanner, end)) = &mut self.scanner else {
                let Some(part) = self.parts.pop_front() else {
                    return Ok(false);
                };
                let file = part.store.file().await?;
                let bytes = part.end.position.get();
                let scanner = Scanner::new(&part.store, file, part.base.offset, part.start, bytes);
                self.scanner = Some((scanner, part.end));
                continue;
            };
            let point = scanner.point();
            if point.position == end.position {
                let (to, segment) = (end.offset, scanner.base());
                let is_whole = point.chain == end.chain;
                self.scanner = None;
                if !is_whole {
                    return Err(Error::Damaged {
                        from: segment,
                        to,
                        segment,
                    });
                }
                continue;
            }
            match scanner.peek().await? {
                Some(next) if next <= self.from => {
                    if let Step::Bad = scanner.next().await? {
                        return Ok(true);
                    }
                }
                _ => return Ok(true),
            }
        }
    }
}
