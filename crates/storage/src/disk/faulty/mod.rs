//! A directory that fails on demand, counts, and holds operations back, for tests.
//!
//! [`FaultyDir`] wraps any directory; [`Faults`] is the switchboard that all its clones, children
//! and files share. Faults are explicit: the n-th operation of a kind, or of any kind, from now on.
//! A gate holds operations of a kind back, before or after they take effect, so that a test can
//! let other things happen in between.

use ::std::future::poll_fn;
use ::std::io;
use ::std::ops::Range;
use ::std::rc::Rc;
use ::std::task::Poll;

pub use self::faults::{Fault, Faults, Match, Operation, When};
use super::map::Map;
use super::{BLOCK_BYTES, Buf, Dir, Entry, File, Open, Space};

mod faults;

/// A directory whose operations fail, tear or wait as its [`Faults`] say.
#[derive(Debug, Clone)]
pub struct FaultyDir<D: Dir> {
    inner: D,
    faults: Faults,
}

/// A file of a [`FaultyDir`].
#[derive(Debug)]
pub struct FaultyFile<D: Dir> {
    inner: Rc<D::File>,
    dir: D,
    name: String,
    faults: Faults,
}

impl<D: Dir> FaultyDir<D> {
    /// Wraps `inner`, without any fault yet.
    #[must_use]
    pub fn new(inner: D) -> Self {
        Self {
            inner,
            faults: Faults::default(),
        }
    }

    /// The switchboard.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The wrapped directory.
    #[must_use]
    pub fn inner(&self) -> &D {
        &self.inner
    }
}

impl<D: Dir> Dir for FaultyDir<D> {
    type File = FaultyFile<D>;
    type Buf = D::Buf;
    type Bytes = D::Bytes;

    fn child(&self, name: &str) -> Self {
        Self {
            inner: self.inner.child(name),
            faults: self.faults.clone(),
        }
    }

    fn alloc(&self, bytes: usize) -> D::Buf {
        self.inner.alloc(bytes)
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }

    async fn exists(&self) -> io::Result<bool> {
        run(&self.faults, Operation::Exists, ".", self.inner.exists()).await
    }

    async fn create(&self) -> io::Result<()> {
        run(&self.faults, Operation::CreateDir, ".", self.inner.create()).await
    }

    async fn list(&self) -> io::Result<Vec<Entry>> {
        run(&self.faults, Operation::List, ".", self.inner.list()).await
    }

    async fn open(&self, name: &str, mode: Open) -> io::Result<FaultyFile<D>> {
        let operation = match mode {
            Open::Create => Operation::CreateFile,
            Open::Read | Open::Write => Operation::Open,
        };
        let inner = run(&self.faults, operation, name, self.inner.open(name, mode)).await?;
        let (dir, faults) = (self.inner.clone(), self.faults.clone());
        Ok(FaultyFile {
            inner: Rc::new(inner),
            dir,
            name: name.to_owned(),
            faults,
        })
    }

    async fn rename(&self, from: &str, to_dir: &Self, to: &str) -> io::Result<()> {
        let rename = self.inner.rename(from, &to_dir.inner, to);
        run(&self.faults, Operation::Rename, to, rename).await
    }

    async fn link(&self, from: &str, to_dir: &Self, to: &str) -> io::Result<()> {
        let link = self.inner.link(from, &to_dir.inner, to);
        run(&self.faults, Operation::Link, to, link).await
    }

    async fn remove(&self, name: &str) -> io::Result<()> {
        run(
            &self.faults,
            Operation::Remove,
            name,
            self.inner.remove(name),
        )
        .await
    }

    async fn remove_tree(&self) -> io::Result<()> {
        run(
            &self.faults,
            Operation::RemoveTree,
            ".",
            self.inner.remove_tree(),
        )
        .await
    }

    async fn sync(&self) -> io::Result<()> {
        run(&self.faults, Operation::SyncDir, ".", self.inner.sync()).await
    }

    async fn map(&self, name: &str) -> io::Result<Map> {
        run(&self.faults, Operation::Map, name, self.inner.map(name)).await
    }
}

impl<D: Dir> File for FaultyFile<D> {
    type Buf = D::Buf;
    type Bytes = D::Bytes;

    async fn read_at(&self, position: u64, len: usize) -> io::Result<D::Bytes> {
        self.run(Operation::Read, self.inner.read_at(position, len))
            .await
    }

    async fn write_at(&self, buf: Rc<D::Buf>, position: u64) -> io::Result<()> {
        let fault = self.faults.begin(Operation::Write, &self.name);
        wait(&self.faults, Operation::Write, &self.name, When::Before).await;
        let outcome = match fault {
            None => self.inner.write_at(buf, position).await,
            Some(Fault::Fail(kind)) => Err(kind.into()),
            Some(Fault::Short { bytes }) => {
                assert!(
                    bytes < buf.as_slice().len(),
                    "a short write leaves something out"
                );
                let part = |index: usize| index < bytes;
                self.write_part(&buf, position, part).await?;
                Err(io::ErrorKind::WriteZero.into())
            }
            Some(Fault::Torn { seed }) => {
                let mut random = fastrand::Rng::with_seed(seed);
                let sectors = buf.as_slice().len() / SECTOR_BYTES;
                let kept: Vec<_> = (0..sectors).map(|_| random.bool()).collect();
                self.write_part(&buf, position, |index| kept[index / SECTOR_BYTES])
                    .await?;
                Err(io::Error::other("the write was torn"))
            }
        };
        wait(&self.faults, Operation::Write, &self.name, When::After).await;
        outcome
    }

    async fn fdatasync(&self) -> io::Result<()> {
        self.run(Operation::Sync, self.inner.fdatasync()).await
    }

    async fn sync_all(&self) -> io::Result<()> {
        self.run(Operation::Sync, self.inner.sync_all()).await
    }

    async fn allocate(&self, range: Range<u64>, how: Space) -> io::Result<()> {
        self.run(Operation::Allocate, self.inner.allocate(range, how))
            .await
    }

    async fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.run(Operation::SetLen, self.inner.set_len(bytes)).await
    }

    async fn len(&self) -> io::Result<u64> {
        self.run(Operation::Len, self.inner.len()).await
    }

    async fn close(self: Rc<Self>) -> io::Result<()> {
        let closing = Rc::clone(&self.inner).close();
        self.run(Operation::Close, closing).await
    }
}

impl<D: Dir> FaultyFile<D> {
    async fn run<T>(
        &self,
        operation: Operation,
        work: impl Future<Output = io::Result<T>>,
    ) -> io::Result<T> {
        run(&self.faults, operation, &self.name, work).await
    }

    /// Writes the bytes of `buf` for which `is_new` holds; the others stay as they are in the file.
    async fn write_part(
        &self,
        buf: &D::Buf,
        position: u64,
        is_new: impl Fn(usize) -> bool,
    ) -> io::Result<()> {
        let new = buf.as_slice();
        let old = self.inner.read_at(position, new.len()).await?;
        let kept = (0..new.len()).rposition(&is_new).map_or(0, |last| last + 1);
        // Nothing behind the last byte that made it: the file does not grow over the others.
        let mut part = self.dir.alloc(kept.next_multiple_of(BLOCK_BYTES));
        for (index, byte) in part.as_mut_slice().iter_mut().enumerate() {
            let old = old.as_ref().get(index).copied().unwrap_or(0);
            *byte = if is_new(index) { new[index] } else { old };
        }
        if part.as_slice().is_empty() {
            return Ok(());
        }
        self.inner.write_at(Rc::new(part), position).await
    }
}

/// Counts an operation, and runs it unless it is to fail; waits where a gate is closed.
async fn run<T>(
    faults: &Faults,
    operation: Operation,
    file: &str,
    work: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    let fault = faults.begin(operation, file);
    wait(faults, operation, file, When::Before).await;
    let outcome = match fault {
        None => work.await,
        Some(Fault::Fail(kind)) => Err(kind.into()),
        Some(Fault::Short { .. } | Fault::Torn { .. }) => {
            Err(io::Error::other("the operation failed"))
        }
    };
    wait(faults, operation, file, When::After).await;
    outcome
}

/// Waits until no gate holds the operation.
async fn wait(faults: &Faults, operation: Operation, file: &str, when: When) {
    let Some(ticket) = faults.queue(operation, file, when) else {
        return;
    };
    let passes = |context: &mut ::std::task::Context<'_>| {
        if faults.passes(&ticket, context.waker()) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    };
    poll_fn(passes).await;
}

/// Writes tear between sectors of the smallest size in use.
const SECTOR_BYTES: usize = 512;

#[cfg(test)]
mod tests;
