//! A store: the file of one segment's batches, open while it is needed.

use std::cell::Cell;
use std::io::ErrorKind;
use std::ops::Range;
use std::rc::Rc;

use crate::Error;
use crate::disk::unread::read_twice;
use crate::disk::{ASIDE_SUFFIX, BLOCK_BYTES, Dir, File, Open, padded, round_up};
use crate::error::At;
use crate::open_files::Handle;
use crate::steps;

/// A store's file. Shared by the log and the plans that use it; removing the file leaves those that
/// hold it open undisturbed.
pub(crate) struct Store<D: Dir> {
    handle: Rc<Handle<D>>,
    /// Set when the name may come to mean another file; shared with the handles apart.
    is_retired: Rc<Cell<bool>>,
    /// Shared with the handles apart, so that it shows whether there are any.
    pin: Rc<()>,
}

impl<D: Dir> Store<D> {
    /// The store `name`, not yet opened, and only ever for reading.
    pub(crate) fn closed(dir: &D, name: String) -> Rc<Self> {
        Self::of(Handle::closed(dir, name, Open::Read))
    }

    /// The store `name`, not yet opened, for writing.
    pub(crate) fn unopened(dir: &D, name: String) -> Rc<Self> {
        Self::of(Handle::durable(dir, name))
    }

    /// The store `name`, of which `file` is open for writing.
    pub(crate) fn opened(dir: &D, name: String, file: Rc<D::File>) -> Rc<Self> {
        Self::of(Handle::opened_durable(dir, name, file))
    }

    /// The same file after it was renamed to `name`.
    pub(crate) fn renamed(&self, name: String) -> Rc<Self> {
        let dir = self.handle.dir();
        match self.handle.open_file() {
            Some(file) => Self::opened(dir, name, file),
            None if self.handle.mode() == Open::Write => Self::unopened(dir, name),
            None => Self::closed(dir, name),
        }
    }

    /// The same file with a handle of its own, not yet opened: it closes when it is not used any
    /// more, whoever else has the file open.
    pub(crate) fn apart(&self) -> Rc<Self> {
        Rc::new(Self {
            handle: Handle::closed(self.handle.dir(), self.name().to_owned(), Open::Read),
            is_retired: self.is_retired.clone(),
            pin: self.pin.clone(),
        })
    }

    /// Whether a plan or a reader still uses the file, beside the one who asks.
    pub(crate) fn is_pinned(self: &Rc<Self>) -> bool {
        Rc::strong_count(self) > 1 || Rc::strong_count(&self.pin) > 1
    }

    /// Whether anyone has it beside so many `holders`. Handles apart do not count.
    pub(crate) fn is_held_beside(self: &Rc<Self>, holders: usize) -> bool {
        Rc::strong_count(self) > holders
    }

    fn of(handle: Rc<Handle<D>>) -> Rc<Self> {
        Rc::new(Self {
            handle,
            is_retired: Rc::default(),
            pin: Rc::default(),
        })
    }

    /// The name of the file.
    pub(crate) fn name(&self) -> &str {
        self.handle.name()
    }

    /// What errors of this file say.
    pub(crate) fn at(&self) -> At {
        self.handle.at()
    }

    /// The open file; opens it if it is closed.
    ///
    /// # Errors
    /// Any error of opening it.
    pub(crate) async fn file(&self) -> Result<Rc<D::File>, Error> {
        if self.is_retired.get() && self.handle.open_file().is_none() {
            return Err(self.at().io("open", ErrorKind::NotFound.into()));
        }
        self.handle.file().await
    }

    /// Makes durable what was written to it.
    ///
    /// # Errors
    /// Any error of the disk.
    pub(crate) async fn sync(&self) -> Result<(), Error> {
        let synced = self.file().await?.fdatasync().await;
        synced.map_err(|e| self.at().io("sync", e))
    }

    /// Has the file be of so many bytes, durably.
    ///
    /// # Errors
    /// Any error of the disk.
    pub(crate) async fn cut(&self, bytes: u64) -> Result<(), Error> {
        let (file, at) = (self.file().await?, || self.at());
        if file.len().await.map_err(|e| at().io("measure", e))? != bytes {
            let cut = file.set_len(bytes).await;
            cut.map_err(|e| at().io("cut", e))?;
        }
        file.sync_all().await.map_err(|e| at().io("sync", e))
    }

    /// Opens the file no more: it is gone, and its name may come to mean another one.
    pub(crate) fn retire(&self) {
        self.is_retired.set(true);
    }

    /// Lets go of the file.
    ///
    /// # Errors
    /// Any error of closing it, if no plan uses it any more.
    pub(crate) async fn close(&self) -> Result<(), Error> {
        self.handle.close().await
    }
}

/// Tells whether a copy is to go on.
pub(crate) type Check<'a> = dyn Fn() -> Result<(), Error> + 'a;

/// Copies the first `bytes` bytes of `store` to a new file `name` beside it, durably.
///
/// # Errors
/// [`Error::StorageFull`]; any error of the disk; that of `check`, which is asked before each piece. What was written so far
/// is removed.
pub(crate) async fn copy<D: Dir>(
    dir: &D,
    store: &Store<D>,
    name: String,
    bytes: u64,
    check: &Check<'_>,
) -> Result<Rc<Store<D>>, Error> {
    let target = written_or_removed(store, 0..bytes, (dir, &name), check).await?;
    if let Err(error) = steps::sync(dir).await {
        let _is_gone = steps::remove(dir, &name).await;
        return Err(error);
    }
    Ok(Store::opened(dir, name, target))
}

/// Copies `range` of `store` to the file `name` of `dir`, which appears whole or not at all.
///
/// # Errors
/// As for [`copy`]. What was written so far is removed.
pub(crate) async fn copy_range<D: Dir>(
    store: &Store<D>,
    range: Range<u64>,
    (dir, name): (&D, &str),
    check: &Check<'_>,
) -> Result<(), Error> {
    let aside = format!("{name}{ASIDE_SUFFIX}");
    let file = written_or_removed(store, range, (dir, &aside), check).await?;
    let closed = file.close().await;
    closed.map_err(|e| At::new(dir, name).io("close", e))?;
    steps::rename(dir, &aside, name).await?;
    steps::sync(dir).await
}

/// As [`write_range`]. A file that cannot be whole is removed: on a full disk it would keep the space that it got.
async fn written_or_removed<D: Dir>(
    store: &Store<D>,
    range: Range<u64>,
    (dir, name): (&D, &str),
    check: &Check<'_>,
) -> Result<Rc<D::File>, Error> {
    let written = write_range(store, range, (dir, name), check).await;
    if written.is_err() {
        // The first error is the one that matters.
        let _is_gone = steps::remove(dir, name).await;
    }
    written
}

/// Writes `range` of `store` to a new file, and syncs it.
async fn write_range<D: Dir>(
    store: &Store<D>,
    range: Range<u64>,
    (dir, name): (&D, &str),
    check: &Check<'_>,
) -> Result<Rc<D::File>, Error> {
    steps::remove(dir, name).await?;
    let at = || At::new(dir, name);
    let source = store.file().await?;
    let bytes = range.end - range.start;
    let target = steps::make(dir, name, bytes).await?;
    let mut position = 0;
    while position < bytes {
        check()?;
        let wanted = usize::try_from((bytes - position).min(COPY_BYTES)).unwrap_or(BLOCK_BYTES);
        let read = read_twice(&*source, range.start + position, wanted).await;
        let read = read.map_err(|e| store.at().io("read", e))?;
        let read = read.as_ref();
        if read.len() < wanted {
            let kind = ErrorKind::UnexpectedEof;
            return Err(store.at().io("read", kind.into()));
        }
        let written = target.write_at(Rc::new(padded(dir, read)), position).await;
        written.map_err(|e| at().space("write", e))?;
        position += round_up(wanted as u64);
    }
    target.set_len(bytes).await.map_err(|e| at().io("cut", e))?;
    target.sync_all().await.map_err(|e| at().io("sync", e))?;
    Ok(target)
}

/// How much is copied at once; whole blocks.
const COPY_BYTES: u64 = 1 << 20;
