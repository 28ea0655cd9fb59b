//! The index of a segment that is not written to any more: a file, read when it is first used.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use corelog_record::{Chain, HistoryId, Offset};

use super::whole::Whole;
use super::{Builder, Rows};
use crate::Error;
use crate::disk::Dir;
use crate::disk::map::Map;
use crate::format::index::{self as format, Row};
use crate::open_files::{Holder, Place, maps};
use crate::scan::{Scanner, Step};
use crate::segment::Point;
use crate::store::Store;

/// A segment's index file; shared by the log and the reads that use it.
pub(crate) struct Sealed<D: Dir> {
    dir: D,
    name: String,
    of: Of<D>,
    loaded: RefCell<Option<Rc<Loaded>>>,
    was_rebuilt: Cell<bool>,
    /// Where in the thread's table of maps it is, if its rows are loaded.
    place: Place,
}

/// The rows of an index that was loaded.
pub(crate) enum Loaded {
    /// The file, checked.
    Mapped(Map),
    /// Rebuilt from the store, because the file is missing or wrong.
    Rebuilt(Builder),
}

/// What a sealed index belongs to.
pub(crate) struct Of<D: Dir> {
    pub(crate) history: HistoryId,
    pub(crate) base: Point,
    pub(crate) store: Rc<Store<D>>,
    /// Bytes of the store that it covers.
    pub(crate) store_bytes: u64,
    /// The chain at their end, if it is known.
    pub(crate) end: Option<(Offset, Chain)>,
    pub(crate) interval_bytes: u32,
    /// Whether the file, if there is one, may be that of an earlier and shorter store, and none is
    /// to be written.
    pub(crate) is_lower: bool,
}

impl<D: Dir> Sealed<D> {
    /// The index in the file `name`, not looked at yet.
    pub(crate) fn new(dir: &D, name: String, of: Of<D>) -> Rc<Self> {
        Rc::new(Self {
            dir: dir.clone(),
            name,
            of,
            loaded: RefCell::new(None),
            was_rebuilt: Cell::new(false),
            place: Place::default(),
        })
    }

    /// The name of the file.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The file that should be there, if it was found missing or wrong and rebuilt in memory.
    pub(crate) fn rebuilt(&self) -> Option<Vec<u8>> {
        let loaded = self.loaded.borrow();
        match loaded.as_deref() {
            Some(Loaded::Rebuilt(rows)) if self.was_rebuilt.get() => {
                Some(rows.encode(self.of.history, &self.of.base))
            }
            _ => None,
        }
    }

    /// Takes rows that were made anew from the store: the file is missing or wrong.
    pub(crate) fn replace(self: &Rc<Self>, rows: Builder) -> Rc<Loaded> {
        self.was_rebuilt.set(!self.of.is_lower);
        self.kept(Loaded::Rebuilt(rows))
    }

    /// Whether the rows are in memory or mapped.
    #[cfg(test)]
    pub(crate) fn is_loaded(&self) -> bool {
        self.loaded.borrow().is_some()
    }

    /// Notes that the rebuilt file is written; it is mapped when it is next used.
    pub(crate) fn written(&self) {
        self.was_rebuilt.set(false);
        maps(|table| table.remove(&self.place));
        *self.loaded.borrow_mut() = None;
    }

    /// The rows; loads them if this is the first use.
    ///
    /// # Errors
    /// Any error of reading the store, when the index has to be rebuilt from it; `Damaged` if it
    /// holds sound batches which are not those that were appended.
    pub(crate) async fn load(self: &Rc<Self>) -> Result<Rc<Loaded>, Error> {
        if let Some(loaded) = self.in_memory() {
            return Ok(loaded);
        }
        let rows = match self.map().await {
            Some(file) if !self.may_lack_rows(&file) => return Ok(self.kept(file)),
            Some(file) => self.completed(&file).await?,
            None => self.rebuild().await?.0,
        };
        Ok(self.replace(rows))
    }

    /// The rows, if none has to be made from the store.
    pub(crate) async fn at_hand(self: &Rc<Self>) -> Option<Rc<Loaded>> {
        if let Some(loaded) = self.in_memory() {
            return Some(loaded);
        }
        let file = self.map().await?;
        (!self.may_lack_rows(&file)).then(|| self.kept(file))
    }

    fn in_memory(&self) -> Option<Rc<Loaded>> {
        let loaded = self.loaded.borrow().clone()?;
        maps(|table| table.touch(&self.place));
        Some(loaded)
    }

    /// Whether rows may be missing behind the last one of a file: of a log that was closed, went on and was killed, it
    /// has those of what there was when it was closed.
    fn may_lack_rows(&self, file: &Loaded) -> bool {
        let last = super::before_position(&self.of.base, file, u64::MAX);
        let behind = self.of.store_bytes.saturating_sub(last.position.get());
        self.of.is_lower && u64::from(self.of.interval_bytes) <= behind
    }

    /// The rows of such a file, and those behind its last one, as far as the store is sound there.
    async fn completed(&self, lower: &Loaded) -> Result<Builder, Error> {
        let start = super::before_position(&self.of.base, lower, u64::MAX);
        let mut rows = Builder::from(lower.to_vec());
        let file = self.of.store.file().await?;
        let mut scanner = Scanner::new(&self.of.store, file, start, self.of.store_bytes);
        loop {
            let start = scanner.point();
            match scanner.next().await? {
                Step::Batch(_) => rows.note(&self.of.base, &start, self.of.interval_bytes),
                Step::End if !self.ends_elsewhere(&start) => return Ok(rows),
                // What no checksum covers may have turned over on its way. All of the store is read for that, twice at
                // most. Which batch bent the chain is not known, and rows made over it would agree with it: behind
                // those of the file the end alone tells.
                Step::End => {
                    return match self.rebuild().await {
                        Ok((rebuilt, true)) => Ok(rebuilt),
                        Ok((_, false)) | Err(Error::Damaged { .. }) => {
                            Ok(Builder::from(lower.to_vec()))
                        }
                        Err(error) => Err(error),
                    };
                }
                Step::Bad | Step::Unread(_) => {
                    if !scanner.read_again() {
                        rows.note(&self.of.base, &start, 1);
                        return Ok(rows);
                    }
                }
            }
        }
    }

    /// Rows made anew from a store that the rows of the file contradict; `None` if the store is not
    /// whole either, or the rows were made from it already.
    ///
    /// # Errors
    /// Any error of reading the store.
    pub(crate) async fn doubt(
        self: &Rc<Self>,
        rows: &Rc<Loaded>,
    ) -> Result<Option<Rc<Loaded>>, Error> {
        if !matches!(**rows, Loaded::Mapped(_)) || self.of.end.is_none() {
            return Ok(None);
        }
        let rows = match self.rebuild().await {
            Ok((rows, is_whole)) if is_whole => rows,
            Ok(_) | Err(Error::Damaged { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(self.replace(rows)))
    }

    /// Keeps rows in memory as long as there is room for them.
    fn kept(self: &Rc<Self>, loaded: Loaded) -> Rc<Loaded> {
        let (weight, loaded) = (loaded.weight(), Rc::new(loaded));
        *self.loaded.borrow_mut() = Some(Rc::clone(&loaded));
        maps(|table| {
            // Two may have loaded it at once.
            table.remove(&self.place);
            table.reserve(weight);
            table.insert(self, weight);
        });
        loaded
    }

    /// Maps the file, if it is there and every byte of it is right. An index is a hint: why it is
    /// of no use does not matter, it is rebuilt.
    async fn map(&self) -> Option<Loaded> {
        let whole = Whole {
            header: super::header(self.of.history, &self.of.base),
            store_bytes: self.of.store_bytes,
            // Behind the end of one that goes on something may begin.
            below: self.of.store_bytes + u64::from(self.of.is_lower),
        };
        let map = self.dir.map(&self.name, move |index| whole.is(index));
        map.await.ok().map(Loaded::Mapped)
    }

    /// Rows made from the store, and whether all of it is sound. If it comes to another end than what was appended, it is
    /// read once more: what no checksum covers may have turned over on its way.
    async fn rebuild(&self) -> Result<(Builder, bool), Error> {
        match self.rows_of_store().await {
            Err(Error::Damaged { .. }) => self.rows_of_store().await,
            other => other,
        }
    }

    async fn rows_of_store(&self) -> Result<(Builder, bool), Error> {
        let mut rows = Builder::default();
        let mut is_whole = true;
        let file = self.of.store.file().await?;
        let mut scanner = Scanner::new(&self.of.store, file, self.of.base, self.of.store_bytes);
        loop {
            let start = scanner.point();
            match scanner.next().await? {
                Step::Batch(_) => rows.note(&self.of.base, &start, self.of.interval_bytes),
                Step::End => break,
                Step::Bad | Step::Unread(_) => {
                    // One that was misread would bend the chain in all rows behind it.
                    if scanner.read_again() {
                        continue;
                    }
                    is_whole = false;
                    match scanner.behind_bad().await? {
                        Some(behind) => {
                            scanner.move_to(behind);
                            rows.note_around(&self.of.base, [&start, &behind]);
                        }
                        // What it hides is no reason to hide what lies before it.
                        None => {
                            rows.note(&self.of.base, &start, 1);
                            break;
                        }
                    }
                }
            }
        }
        let found = scanner.point();
        match self.of.end {
            Some((offset, _)) if is_whole && self.ends_elsewhere(&found) => {
                let segment = self.of.base.offset;
                Err(Error::Damaged {
                    from: segment,
                    to: offset,
                    segment,
                })
            }
            _ => Ok((rows, is_whole)),
        }
    }

    /// Whether the store that was read to `found` is known to end otherwise.
    fn ends_elsewhere(&self, found: &Point) -> bool {
        let end = self.of.end;
        end.is_some_and(|end| end != (found.offset, found.chain))
    }
}

impl<D: Dir> Holder for Sealed<D> {
    /// Lets the rows go until they are used again; those that have no file yet stay.
    fn let_go(&self) -> bool {
        let mut loaded = self.loaded.borrow_mut();
        let is_used = loaded
            .as_ref()
            .is_some_and(|rows| Rc::strong_count(rows) > 1);
        let is_kept = is_used || self.was_rebuilt.get();
        if !is_kept {
            *loaded = None;
        }
        !is_kept
    }

    fn place(&self) -> &Place {
        &self.place
    }
}

impl<D: Dir> Drop for Sealed<D> {
    fn drop(&mut self) {
        maps(|table| table.remove(&self.place));
    }
}

impl Loaded {
    /// What it counts in the table of maps, in bytes.
    fn weight(&self) -> usize {
        MAP_BYTES + self.count() * format::ROW_BYTES
    }

    /// All rows, in memory.
    pub(crate) fn to_vec(&self) -> Vec<Row> {
        (0..self.count())
            .map_while(|number| self.row(number))
            .collect()
    }
}

impl Rows for Loaded {
    fn count(&self) -> usize {
        match self {
            Self::Mapped(map) => format::row_count(map),
            Self::Rebuilt(rows) => rows.count(),
        }
    }

    fn row(&self, number: usize) -> Option<Row> {
        match self {
            Self::Mapped(map) => format::row(map, number)?.ok(),
            Self::Rebuilt(rows) => rows.row(number),
        }
    }
}

/// What a map costs besides its rows, in bytes: its header, the rest of its last page, and what the
/// kernel keeps of it; the kernel also bounds how many there are.
const MAP_BYTES: usize = 16 << 10;
