//! The index of a segment that is not written to any more: a file, read when it is first used.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use corelog_record::{Chain, HistoryId, Offset};

use super::made::{self, Ending};
use super::whole::Whole;
use super::{Builder, Loaded, Lost, Rows as _, remains};
use crate::Error;
use crate::disk::Dir;
use crate::disk::map;
use crate::error::At;
use crate::format::index::{self as format, Row};
use crate::open_files::{Holder, Place, maps};
use crate::segment::Point;
use crate::store::Store;

/// A segment's index file; shared by the log and the reads that use it.
pub(crate) struct Sealed<D: Dir> {
    dir: D,
    name: String,
    of: Of<D>,
    loaded: RefCell<Option<Rc<Loaded>>>,
    was_rebuilt: Cell<bool>,
    /// Whether the file was held against the store, and no row that it lacks can be found: once, however often it is mapped.
    is_complete: Cell<bool>,
    /// Where in the thread's table of maps it is, if its rows are loaded.
    place: Place,
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
            is_complete: Cell::new(false),
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
        // Rare, and of many states: each read would have room for them.
        Ok(Box::pin(self.load_file()).await?.0)
    }

    /// The same, if there may not be more once the disk gives all.
    ///
    /// # Errors
    /// As for [`Sealed::load`], and what the disk does not give still.
    pub(crate) async fn load_all(self: &Rc<Self>) -> Result<Rc<Loaded>, Error> {
        // All is made once more only where that may come to something else.
        if let Some(Loaded::Partial(_, lost)) = self.in_memory().as_deref() {
            self.ask_again(lost).await?;
        }
        if let Some(loaded) = self.all_in_memory() {
            return Ok(loaded);
        }
        match Box::pin(self.load_file()).await? {
            (loaded, None) => Ok(loaded),
            (_, Some(unread)) => Err(unread),
        }
    }

    /// Loads the rows, and tells what the disk did not give, if there may be more once it does.
    async fn load_file(self: &Rc<Self>) -> Result<(Rc<Loaded>, Option<Error>), Error> {
        let (file, has_gaps) = match self.map().await {
            Ok(mapped) => mapped,
            Err(error) => return self.made_anew(error).await,
        };
        if has_gaps && !self.is_complete.get() {
            if !self.of.has_all(&file).await? {
                let known = file.to_vec();
                let made = self.of.by(&known, self.of.anew().await?).await?;
                let is_partial = matches!(made.1, Ending::Unread(_));
                if is_partial || !known.into_iter().eq(made::all(&made.0)) {
                    return Ok(self.made(made, None));
                }
            }
            self.is_complete.set(true);
        }
        Ok(match self.may_lack_rows(&file) {
            true => self.made(self.of.completed(file.to_vec()).await?, None),
            false => (self.kept(file), None),
        })
    }

    /// Rows made in the place of a file which is wrong, or of which the disk does not give all.
    async fn made_anew(
        self: &Rc<Self>,
        error: io::Error,
    ) -> Result<(Rc<Loaded>, Option<Error>), Error> {
        let anew = self.of.anew().await?;
        if matches!(anew.1, Ending::Right) {
            return Ok(self.made(anew, None));
        }
        let (known, lost) = self.sound_rows().await?;
        let made = self.of.by(&known, anew).await?;
        // What the disk does not give now may lead behind what is bad: it is not written over.
        let lost = match is_wrong(&error) {
            true => lost,
            false => Some(At::new(&self.dir, &self.name).io("map", error)),
        };
        Ok(self.made(made, lost))
    }

    /// Takes rows that were made, of a file of which this was `lost`, unless another load was given more of them.
    fn made(
        self: &Rc<Self>,
        (rows, ending): (Builder, Ending),
        lost: Option<Error>,
    ) -> (Rc<Loaded>, Option<Error>) {
        let is_file = lost.is_some();
        let (of_store, error) = match (ending, lost) {
            (Ending::Unread(unread), _) => {
                (Some(unread.position.get()..unread.until), unread.error)
            }
            (_, Some(error)) => (None, error),
            (_, None) => return (self.replace(rows), None),
        };
        if let Some(loaded) = self.all_in_memory() {
            return (loaded, None);
        }
        let partial = Loaded::Partial(rows, Lost { of_store, is_file });
        (self.kept(partial), Some(error))
    }

    /// Asks the disk again for what was `lost`.
    ///
    /// # Errors
    /// That it gives none of it still.
    async fn ask_again(&self, lost: &Lost) -> Result<(), Error> {
        let Some(bytes) = lost.of_store.clone() else {
            return self.at_hand().await.map(drop);
        };
        let Err(error) = self.of.ask(bytes).await else {
            return Ok(());
        };
        match lost.is_file && self.at_hand().await.is_ok() {
            true => Ok(()),
            false => Err(error),
        }
    }

    /// The rows for which nothing has to be read from the store: some may be missing.
    ///
    /// # Errors
    /// That the file, which is there, cannot be had now.
    pub(crate) async fn at_hand(&self) -> Result<Vec<Row>, Error> {
        if let Some(loaded) = self.all_in_memory() {
            return Ok(loaded.to_vec());
        }
        match self.map().await {
            Ok((file, _)) => Ok(file.to_vec()),
            Err(error) if is_wrong(&error) => match self.sound_rows().await? {
                (rows, None) => Ok(rows),
                (_, Some(unread)) => Err(unread),
            },
            Err(error) => Err(At::new(&self.dir, &self.name).io("map", error)),
        }
    }

    /// The rows of the file that are intact; none if it is not there, or not this segment's. And why the disk did not give all
    /// of them, if it did not.
    ///
    /// # Errors
    /// Any error of opening and reading it, but for bytes that the disk does not give.
    pub(crate) async fn sound_rows(&self) -> Result<(Vec<Row>, Option<Error>), Error> {
        remains::sound_rows(&self.dir, &self.name, &self.whole()).await
    }

    fn in_memory(&self) -> Option<Rc<Loaded>> {
        let loaded = self.loaded.borrow().clone()?;
        maps(|table| table.touch(&self.place));
        Some(loaded)
    }

    fn all_in_memory(&self) -> Option<Rc<Loaded>> {
        self.in_memory().filter(|loaded| !loaded.is_partial())
    }

    /// Whether rows may be missing behind the last one of a file: of a log that was closed, went on and was killed, it
    /// has those of what there was when it was closed.
    fn may_lack_rows(&self, file: &Loaded) -> bool {
        let last = super::before_position(&self.of.base, file, u64::MAX);
        let behind = self.of.store_bytes.saturating_sub(last.position.get());
        self.of.is_lower && u64::from(self.of.interval_bytes) <= behind
    }

    /// Rows made anew from a store that the rows of the file contradict; `None` if the store is not
    /// whole either, or the rows were made from it already.
    ///
    /// # Errors
    /// Any error of reading the store; of rows of which there may be more, also what the disk does not give still, where that is
    /// all that they could be made up to before.
    pub(crate) async fn doubt(
        self: &Rc<Self>,
        rows: &Rc<Loaded>,
    ) -> Result<Option<Rc<Loaded>>, Error> {
        if rows.is_partial() {
            let all = Box::pin(self.load_all()).await;
            // What is wanted may lie before what ended those that were made now.
            let more = self.in_memory().filter(|made| rows.count() < made.count());
            return match (all, more) {
                (Err(Error::Io { .. }), Some(more)) => Ok(Some(more)),
                (all, _) => all.map(Some),
            };
        }
        if !matches!(**rows, Loaded::Mapped(_)) || self.of.end.is_none() {
            return Ok(None);
        }
        // Seldom, and large.
        Ok(match Box::pin(self.of.anew()).await? {
            (rows, Ending::Right) => Some(self.replace(rows)),
            (_, Ending::Bad | Ending::Unread(_) | Ending::Elsewhere) => None,
        })
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

    /// Maps the file, if it is there and every byte of it is right; tells whether it has gaps.
    async fn map(&self) -> io::Result<(Loaded, bool)> {
        let (whole, has_gaps) = (self.whole(), Arc::new(AtomicBool::new(false)));
        let found = Arc::clone(&has_gaps);
        let is_right = move |index: &[u8]| {
            let has_gaps = whole.has_gaps(index);
            found.store(has_gaps == Some(true), Ordering::Relaxed);
            has_gaps.is_some()
        };
        let map = self.dir.map(&self.name, is_right).await?;
        Ok((Loaded::Mapped(map), has_gaps.load(Ordering::Relaxed)))
    }

    fn whole(&self) -> Whole {
        Whole {
            header: super::header(self.of.history, &self.of.base),
            // Behind the end of one that goes on something may begin.
            below: self.of.store_bytes + u64::from(self.of.is_lower),
            // Those behind the last row of one that goes on are completed.
            end: (!self.of.is_lower).then_some(self.of.store_bytes),
        }
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

const _: () = assert!(format::BYTES_MAX == map::BYTES_MAX);

/// Whether a file is not there, or not right: nothing is lost where it is written over. Any other error of mapping it may
/// be gone the next time.
fn is_wrong(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::InvalidData
    )
}
