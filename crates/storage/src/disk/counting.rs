//! A directory that counts what is asked of it: how many bytes, how many syncs, how much metadata.
//!
//! What a device writes beyond that is the file system's (its journal, its own metadata); what is
//! counted here is what a program can help.

use ::std::cell::Cell;
use ::std::future::Future;
use ::std::io;
use ::std::ops::{Range, Sub};
use ::std::rc::Rc;

use super::map::{Check, Map};
use super::{Buf, Dir, Entry, File, Open, Space};

/// What was asked for so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Bytes written.
    pub written_bytes: u64,
    /// Bytes of zeros written to prepare space.
    pub zeroed_bytes: u64,
    /// Syncs of files, by themselves or with a write.
    pub syncs: u64,
    /// Syncs of directories.
    pub dir_syncs: u64,
    /// Files cut or extended.
    pub set_lens: u64,
    /// Times that space was prepared, of either kind.
    pub allocates: u64,
    /// Names changed.
    pub renames: u64,
    /// Files made, linked and removed.
    pub entries: u64,
}

impl Counts {
    /// Bytes written for whatever reason.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.written_bytes + self.zeroed_bytes
    }
}

impl Sub for Counts {
    type Output = Self;

    /// What was asked for since `earlier`.
    fn sub(self, earlier: Self) -> Self {
        Self {
            written_bytes: self.written_bytes - earlier.written_bytes,
            zeroed_bytes: self.zeroed_bytes - earlier.zeroed_bytes,
            syncs: self.syncs - earlier.syncs,
            dir_syncs: self.dir_syncs - earlier.dir_syncs,
            set_lens: self.set_lens - earlier.set_lens,
            allocates: self.allocates - earlier.allocates,
            renames: self.renames - earlier.renames,
            entries: self.entries - earlier.entries,
        }
    }
}

/// A directory that counts; clones, children and files share the counts.
#[derive(Debug, Clone)]
pub struct CountingDir<D: Dir> {
    inner: D,
    counts: Rc<Cell<Counts>>,
}

/// A file of a [`CountingDir`].
#[derive(Debug)]
pub struct CountingFile<D: Dir> {
    inner: Rc<D::File>,
    counts: Rc<Cell<Counts>>,
}

impl<D: Dir> CountingDir<D> {
    /// Counts what is asked of `inner` from now on.
    #[must_use]
    pub fn new(inner: D) -> Self {
        Self {
            inner,
            counts: Rc::default(),
        }
    }

    /// What was asked for so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts.get()
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        count(&self.counts, change);
    }
}

impl<D: Dir> Dir for CountingDir<D> {
    const DURABLE_IN_ONE_CALL: bool = D::DURABLE_IN_ONE_CALL;
    type File = CountingFile<D>;
    type Buf = D::Buf;
    type Bytes = D::Bytes;

    fn child(&self, name: &str) -> Self {
        Self {
            inner: self.inner.child(name),
            counts: Rc::clone(&self.counts),
        }
    }

    fn alloc(&self, bytes: usize) -> D::Buf {
        self.inner.alloc(bytes)
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn exists(&self) -> impl Future<Output = io::Result<bool>> {
        self.inner.exists()
    }

    fn create(&self) -> impl Future<Output = io::Result<()>> {
        self.count(|counts| counts.entries += 1);
        self.inner.create()
    }

    fn create_all(&self) -> impl Future<Output = io::Result<()>> {
        self.count(|counts| counts.entries += 1);
        self.inner.create_all()
    }

    fn list(&self) -> impl Future<Output = io::Result<Vec<Entry>>> {
        self.inner.list()
    }

    async fn open(&self, name: &str, mode: Open) -> io::Result<CountingFile<D>> {
        if mode == Open::Create {
            self.count(|counts| counts.entries += 1);
        }
        let inner = self.inner.open(name, mode).await?;
        Ok(CountingFile {
            inner: Rc::new(inner),
            counts: Rc::clone(&self.counts),
        })
    }

    fn rename(&self, from: &str, to_dir: &Self, to: &str) -> impl Future<Output = io::Result<()>> {
        self.count(|counts| counts.renames += 1);
        self.inner.rename(from, &to_dir.inner, to)
    }

    fn link(&self, from: &str, to_dir: &Self, to: &str) -> impl Future<Output = io::Result<()>> {
        self.count(|counts| counts.entries += 1);
        self.inner.link(from, &to_dir.inner, to)
    }

    fn remove(&self, name: &str) -> impl Future<Output = io::Result<()>> {
        self.count(|counts| counts.entries += 1);
        self.inner.remove(name)
    }

    fn reuse(&self, name: &str) -> impl Future<Output = io::Result<()>> {
        self.count(|counts| {
            counts.allocates += 1;
            counts.syncs += 1;
        });
        self.inner.reuse(name)
    }

    fn remove_tree(&self) -> impl Future<Output = io::Result<()>> {
        self.count(|counts| counts.entries += 1);
        self.inner.remove_tree()
    }

    fn sync(&self) -> impl Future<Output = io::Result<()>> {
        self.count(|counts| counts.dir_syncs += 1);
        self.inner.sync()
    }

    fn map(&self, name: &str, is_right: impl Check) -> impl Future<Output = io::Result<Map>> {
        self.inner.map(name, is_right)
    }
}

impl<D: Dir> File for CountingFile<D> {
    type Buf = D::Buf;
    type Bytes = D::Bytes;

    fn read_at(&self, position: u64, len: usize) -> impl Future<Output = io::Result<D::Bytes>> {
        self.inner.read_at(position, len)
    }

    fn write_at(&self, buf: Rc<D::Buf>, position: u64) -> impl Future<Output = io::Result<()>> {
        let bytes = buf.as_slice().len() as u64;
        count(&self.counts, |counts| counts.written_bytes += bytes);
        self.inner.write_at(buf, position)
    }

    fn write_durably_at(
        &self,
        buf: Rc<D::Buf>,
        position: u64,
    ) -> impl Future<Output = io::Result<()>> {
        let bytes = buf.as_slice().len() as u64;
        count(&self.counts, |counts| {
            counts.written_bytes += bytes;
            counts.syncs += 1;
        });
        self.inner.write_durably_at(buf, position)
    }

    fn fdatasync(&self) -> impl Future<Output = io::Result<()>> {
        count(&self.counts, |counts| counts.syncs += 1);
        self.inner.fdatasync()
    }

    fn sync_all(&self) -> impl Future<Output = io::Result<()>> {
        count(&self.counts, |counts| counts.syncs += 1);
        self.inner.sync_all()
    }

    fn allocate(&self, range: Range<u64>, how: Space) -> impl Future<Output = io::Result<()>> {
        count(&self.counts, |counts| {
            counts.allocates += 1;
            if how != Space::Reserved {
                counts.zeroed_bytes += range.end - range.start;
            }
        });
        self.inner.allocate(range, how)
    }

    fn set_len(&self, bytes: u64) -> impl Future<Output = io::Result<()>> {
        count(&self.counts, |counts| counts.set_lens += 1);
        self.inner.set_len(bytes)
    }

    fn len(&self) -> impl Future<Output = io::Result<u64>> {
        self.inner.len()
    }

    fn close(self: Rc<Self>) -> impl Future<Output = io::Result<()>> {
        Rc::clone(&self.inner).close()
    }
}

fn count(counts: &Cell<Counts>, change: impl FnOnce(&mut Counts)) {
    let mut changed = counts.get();
    change(&mut changed);
    counts.set(changed);
}
