//! A directory of a real file system.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use corelog_storage::disk::map::{Check, Map, Pages};
use corelog_storage::disk::std::{StdDir, refuse_special};
use corelog_storage::disk::{self, Dir, Entry, Open};
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use super::buf::{UringBuf, UringBytes};
use super::file::UringFile;
use super::patience;
use super::reclaim::Leaving;
use crate::rt::blocking::{blocking, unwatched};

/// A directory whose files are driven by io_uring, on the core that opens them.
///
/// What concerns entries rather than bytes is done by [`StdDir`] on the pool of directory threads.
#[derive(Debug, Clone)]
pub struct UringDir {
    path: Rc<Path>,
}

impl UringDir {
    /// A handle to the directory at `path`, which need not exist. No I/O.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into().into(),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file `name` for reading through the page cache, for a thread that may wait.
    ///
    /// # Errors
    /// `NotFound` without such a file; any error of the file system.
    pub async fn open_cached(&self, name: &str) -> io::Result<OwnedFd> {
        let path = self.path.join(name);
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        patience::with_files(|| {
            let path = path.clone();
            blocking(move || {
                refuse_special(&path)?;
                Ok(nix::fcntl::open(&path, flags, Mode::empty())?)
            })
        })
        .await
    }

    /// Runs `work` on this directory, on the pool; again, if it had no descriptor.
    async fn on_pool<T: Send + 'static>(
        &self,
        work: impl Fn(StdDir) -> io::Result<T> + Send + Sync + 'static,
    ) -> io::Result<T> {
        let work = Arc::new(work);
        patience::with_files(|| {
            let (work, path) = (Arc::clone(&work), self.path.to_path_buf());
            blocking(move || work(StdDir::new(path)))
        })
        .await
    }
}

impl Dir for UringDir {
    /// The file, and the same for durable writes.
    const DURABLE_DESCRIPTORS: usize = 2;
    const DURABLE_IN_ONE_CALL: bool = true;
    type File = UringFile;
    type Buf = UringBuf;
    type Bytes = UringBytes;

    fn child(&self, name: &str) -> Self {
        Self::new(self.path.join(name))
    }

    fn alloc(&self, bytes: usize) -> UringBuf {
        UringBuf::alloc(bytes)
    }

    fn describe(&self) -> String {
        self.path.display().to_string()
    }

    async fn exists(&self) -> io::Result<bool> {
        self.on_pool(|dir| disk::block_on(dir.exists())).await
    }

    async fn create(&self) -> io::Result<()> {
        self.on_pool(|dir| disk::block_on(dir.create())).await
    }

    async fn create_all(&self) -> io::Result<()> {
        self.on_pool(|dir| disk::block_on(dir.create_all())).await
    }

    async fn list(&self) -> io::Result<Vec<Entry>> {
        self.on_pool(|dir| disk::block_on(dir.list())).await
    }

    async fn open(&self, name: &str, mode: Open) -> io::Result<UringFile> {
        UringFile::open(self.path.join(name), mode).await
    }

    async fn rename(&self, from: &str, to_dir: &Self, to: &str) -> io::Result<()> {
        let (from, to) = (from.to_owned(), to.to_owned());
        let to_path = to_dir.path.to_path_buf();
        self.on_pool(move |dir| disk::block_on(dir.rename(&from, &StdDir::new(&to_path), &to)))
            .await
    }

    async fn link(&self, from: &str, to_dir: &Self, to: &str) -> io::Result<()> {
        let (from, to) = (from.to_owned(), to.to_owned());
        let to_path = to_dir.path.to_path_buf();
        self.on_pool(move |dir| disk::block_on(dir.link(&from, &StdDir::new(&to_path), &to)))
            .await
    }

    async fn remove(&self, name: &str) -> io::Result<()> {
        let name = name.to_owned();
        self.on_pool(move |dir| {
            let leaving = Leaving::hold(&dir.path().join(&name));
            disk::block_on(dir.remove(&name))?;
            leaving.into_iter().for_each(Leaving::give_back);
            Ok(())
        })
        .await
    }

    async fn reuse(&self, name: &str) -> io::Result<()> {
        let name = name.to_owned();
        self.on_pool(move |dir| disk::block_on(dir.reuse(&name)))
            .await
    }

    async fn remove_tree(&self) -> io::Result<()> {
        // A topic of a TB, of which a disk may be told with each file.
        let path = self.path.to_path_buf();
        patience::with_files(|| {
            let dir = StdDir::new(&path);
            unwatched(move || {
                let leaving = Leaving::hold_tree(dir.path());
                disk::block_on(dir.remove_tree())?;
                leaving.into_iter().for_each(Leaving::give_back);
                Ok(())
            })
        })
        .await
    }

    async fn sync(&self) -> io::Result<()> {
        self.on_pool(|dir| disk::block_on(dir.sync())).await
    }

    async fn map(&self, name: &str, is_right: impl Check) -> io::Result<Map> {
        let path = self.path.join(name);
        let map = move |path: &Path| {
            refuse_special(path)?;
            let file = nix::fcntl::open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
            Pages::of_file(file.as_fd())
        };
        let pages = patience::with_files(|| {
            let (path, is_right) = (path.clone(), is_right.clone());
            blocking(move || map(&path)?.if_right(is_right))
        });
        pages.await.map(Map::from)
    }

    async fn read(&self, name: &str, bytes_max: u64) -> io::Result<Vec<u8>> {
        let name = name.to_owned();
        self.on_pool(move |dir| disk::block_on(dir.read(&name, bytes_max)))
            .await
    }

    async fn write_aside(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let (name, bytes) = (name.to_owned(), bytes.to_vec());
        self.on_pool(move |dir| disk::block_on(dir.write_aside(&name, &bytes)))
            .await
    }
}
