//! A disk in memory that remembers everything, or its manifests alone: over one that forgets the rest, the log
//! is measured and not the disk.

use std::future::Future;
use std::io;
use std::ops::Range;
use std::rc::Rc;

use corelog_storage::disk::map::{Check, Map};
use corelog_storage::disk::memory::{MemoryDir, MemoryFile};
use corelog_storage::disk::{Dir, Entry, File, Open, Space};

/// A directory of such a disk.
#[derive(Debug, Clone)]
pub(crate) struct SinkDir {
    inner: MemoryDir,
    forgets: bool,
}

/// A file that may forget.
#[derive(Debug)]
pub(crate) struct SinkFile {
    inner: Rc<MemoryFile>,
    is_kept: bool,
}

impl SinkDir {
    /// One that forgets what is written to anything but a manifest.
    pub(crate) fn forgetful() -> Self {
        let (inner, forgets) = (MemoryDir::new(), true);
        Self { inner, forgets }
    }

    /// One that remembers.
    pub(crate) fn faithful() -> Self {
        let (inner, forgets) = (MemoryDir::new(), false);
        Self { inner, forgets }
    }
}

impl Dir for SinkDir {
    type File = SinkFile;
    type Buf = <MemoryDir as Dir>::Buf;
    type Bytes = <MemoryDir as Dir>::Bytes;

    fn child(&self, name: &str) -> Self {
        Self {
            inner: self.inner.child(name),
            forgets: self.forgets,
        }
    }

    fn alloc(&self, bytes: usize) -> Self::Buf {
        self.inner.alloc(bytes)
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn exists(&self) -> impl Future<Output = io::Result<bool>> {
        self.inner.exists()
    }

    fn create(&self) -> impl Future<Output = io::Result<()>> {
        self.inner.create()
    }

    fn create_all(&self) -> impl Future<Output = io::Result<()>> {
        self.inner.create_all()
    }

    fn list(&self) -> impl Future<Output = io::Result<Vec<Entry>>> {
        self.inner.list()
    }

    async fn open(&self, name: &str, mode: Open) -> io::Result<SinkFile> {
        Ok(SinkFile {
            inner: Rc::new(self.inner.open(name, mode).await?),
            is_kept: !self.forgets || name.starts_with("manifest"),
        })
    }

    fn rename(&self, from: &str, to_dir: &Self, to: &str) -> impl Future<Output = io::Result<()>> {
        self.inner.rename(from, &to_dir.inner, to)
    }

    fn link(&self, from: &str, to_dir: &Self, to: &str) -> impl Future<Output = io::Result<()>> {
        self.inner.link(from, &to_dir.inner, to)
    }

    fn remove(&self, name: &str) -> impl Future<Output = io::Result<()>> {
        self.inner.remove(name)
    }

    fn reuse(&self, name: &str) -> impl Future<Output = io::Result<()>> {
        self.inner.reuse(name)
    }

    fn remove_tree(&self) -> impl Future<Output = io::Result<()>> {
        self.inner.remove_tree()
    }

    fn sync(&self) -> impl Future<Output = io::Result<()>> {
        self.inner.sync()
    }

    fn map(&self, name: &str, is_right: impl Check) -> impl Future<Output = io::Result<Map>> {
        self.inner.map(name, is_right)
    }
}

impl File for SinkFile {
    type Buf = <MemoryDir as Dir>::Buf;
    type Bytes = <MemoryDir as Dir>::Bytes;

    fn read_at(&self, position: u64, len: usize) -> impl Future<Output = io::Result<Self::Bytes>> {
        self.inner.read_at(position, len)
    }

    async fn write_at(&self, buf: Rc<Self::Buf>, position: u64) -> io::Result<()> {
        match self.is_kept {
            true => self.inner.write_at(buf, position).await,
            false => Ok(()),
        }
    }

    async fn fdatasync(&self) -> io::Result<()> {
        match self.is_kept {
            true => self.inner.fdatasync().await,
            false => Ok(()),
        }
    }

    fn sync_all(&self) -> impl Future<Output = io::Result<()>> {
        self.inner.sync_all()
    }

    async fn allocate(&self, range: Range<u64>, how: Space) -> io::Result<()> {
        match self.is_kept {
            true => self.inner.allocate(range, how).await,
            false => Ok(()),
        }
    }

    fn set_len(&self, bytes: u64) -> impl Future<Output = io::Result<()>> {
        self.inner.set_len(bytes)
    }

    fn len(&self) -> impl Future<Output = io::Result<u64>> {
        self.inner.len()
    }

    fn close(self: Rc<Self>) -> impl Future<Output = io::Result<()>> {
        Rc::clone(&self.inner).close()
    }
}
