//! A directory that fails and lies on demand, counts, and holds operations back, for tests.
//!
//! ```text
//! fault    what can go wrong, and with what
//! faults   the switchboard: what is to happen, what happened, what waits, what was counted
//! plan     faults chosen by a seed
//! course   what a fault makes of an operation
//! flight   what is under way, and what breaks the laws of the disk
//! file     open files
//! backing  what is asked of the directory that is wrapped
//! ```
//!
//! [`FaultyDir`] wraps a directory; [`Faults`] is the switchboard that all its clones, children and
//! files share. A gate holds operations of a kind back, before or after they take effect, so that a
//! test can let other things happen in between.
//!
//! # The fault model
//!
//! **What is told.** Any operation may fail: without an effect, or after it had its effect
//! ([`Fault::FailAfter`]: the answer of a device or of a network got lost). A write that fails may
//! have put any of its sectors in place: the first bytes ([`Fault::Short`]), any sectors of 512 bytes
//! ([`Fault::Torn`]), any blocks of 4096 bytes ([`Fault::TornBlocks`]). Which of the two a device
//! tears at depends on its physical sectors; Zheng et al. ("Understanding the Robustness of SSDs
//! under Power Fault", FAST 2013) saw both, and writes that were persisted out of order, which is
//! what the disk in memory leaves after a power cut. No sector is ever half written: the format
//! assumes so.
//!
//! **A sync that fails** ([`Fault::Fail`] or [`Fault::FailSync`] on a sync). What happened next on
//! Linux was measured by Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC
//! 2020, and is what their CuttleFS simulates:
//!
//! | | ext4, `data=ordered` | XFS | Btrfs |
//! |---|---|---|---|
//! | what makes fsync fail | a data block, or the journal | a data block, or the journal | a data block, or the log |
//! | the pages are then | clean | clean | clean |
//! | a read through the cache shows | the new bytes | the new bytes | the old bytes |
//! | the disk has, where it failed | the old bytes | the old bytes | the old bytes |
//! | the length is then | the new one, durable | the new one, durable | the old one |
//! | the next fsync | succeeds | succeeds | succeeds |
//! | if metadata fails | read-only | shut down | read-only |
//!
//! The first six lines are [`FailedSync::Ext4`], [`FailedSync::Xfs`] and [`FailedSync::Btrfs`], the
//! last is [`Halt`]. (ext4 with `data=journal` tells of the failure one fsync late; Corelog does not
//! support it, since no program could.)
//!
//! *Direct I/O* changes who fails. A block that cannot be written is then an error of the write,
//! not of the sync, and no page is left to be marked clean; what a sync can still fail at is the
//! journal (see [`Halt`]) and the flush of the device's cache. After a failed flush the device may
//! have persisted anything that it was given since the last one, reads come from its cache and show
//! the new bytes, and the next flush succeeds: [`FailedSync::Device`], the default. The table still
//! counts where files are small and read through the cache, and where a file system turns a direct
//! write into a buffered one, as Btrfs does for compressed extents. After power is cut, or a page
//! evicted, reads show what the disk has.
//!
//! In none of these cases does a later success say anything about the bytes, unless they were
//! written again. A sync of a *directory* that fails leaves its changes in doubt, as they were.
//!
//! **What is not told.** A sync that is answered and never done ([`Fault::Lost`]) or done later
//! ([`Fault::Delayed`]: a cache that ignores flushes); a write that is answered and nowhere, or in
//! another place, or in another file ([`Fault::Misdirected`]; of reads the same); bits that turn
//! over on the disk or on the way ([`Fault::Flip`]). All were found in the field by Bairavasundaram
//! et al., "An Analysis of Data Corruption in the Storage Stack", FAST 2008. No program can keep a
//! promise on a disk that lies about a sync; it can still not serve bytes that are wrong.
//!
//! **Space** runs out while it is prepared, while files and directories are made, and in writes
//! where none is prepared ([`Faults::set_full`]; by bytes, `MemoryDir::set_capacity`), never in a
//! write into space that was prepared: that is what `allocate` means (fallocate(2)).
//!
//! **What the program must not do** is noted as a [`Breach`]: two operations under way that change
//! the same block, which also panics, and a write where no space is prepared.

mod backing;
mod course;
mod fault;
mod faults;
mod file;
mod flight;
mod plan;

use ::std::cell::RefCell;
use ::std::fmt;
use ::std::future::poll_fn;
use ::std::io;
use ::std::rc::{Rc, Weak};
use ::std::task::{Context, Poll};

pub use self::backing::{Backing, Bytes};
use self::course::{change, course, flipped, run};
pub use self::fault::{Fault, Halt, Match, Operation, When};
pub use self::faults::{Faults, Happened};
pub use self::file::FaultyFile;
pub use self::flight::Breach;
pub use self::plan::{Event, Kind, Plan, Profile};
use super::map::{Check, Map, Pages};
pub use super::memory::FailedSync;
use super::{Dir, Entry, File, Open};

/// A directory whose operations fail, lie or wait as its [`Faults`] say.
pub struct FaultyDir<D: Backing> {
    inner: D,
    scene: Scene<D>,
}

/// What all directories and files of a faulty disk share.
struct Scene<D: Backing> {
    faults: Faults,
    /// Files open for writing, where a write may land that was meant for another.
    open: Rc<RefCell<Vec<Weak<D::File>>>>,
    /// Syncs that were said to be done.
    late: Rc<RefCell<Vec<Due<D>>>>,
}

/// A sync to be done later, and the number of the operation before which it is.
type Due<D> = (u64, Late<D>);

/// A sync to be done later.
enum Late<D: Dir> {
    Dir(D),
    File(Rc<D::File>),
}

impl<D: Backing> FaultyDir<D> {
    /// Wraps `inner`, without any fault yet.
    #[must_use]
    pub fn new(inner: D) -> Self {
        let scene = Scene {
            faults: Faults::default(),
            open: Rc::default(),
            late: Rc::default(),
        };
        Self { inner, scene }
    }

    /// The switchboard.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.scene.faults
    }

    /// The wrapped directory.
    #[must_use]
    pub fn inner(&self) -> &D {
        &self.inner
    }
}

impl<D: Backing> Clone for FaultyDir<D> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            scene: self.scene.clone(),
        }
    }
}

impl<D: Backing> fmt::Debug for FaultyDir<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FaultyDir").field(&self.describe()).finish()
    }
}

impl<D: Backing> Dir for FaultyDir<D> {
    const DURABLE_IN_ONE_CALL: bool = D::DURABLE_IN_ONE_CALL;
    type File = FaultyFile<D>;
    type Buf = D::Buf;
    type Bytes = Bytes<D::Bytes>;

    fn child(&self, name: &str) -> Self {
        Self {
            inner: self.inner.child(name),
            scene: self.scene.clone(),
        }
    }

    fn alloc(&self, bytes: usize) -> D::Buf {
        self.inner.alloc(bytes)
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }

    async fn exists(&self) -> io::Result<bool> {
        let work = self.inner.exists();
        self.scene.run(Operation::Exists, ".", work).await
    }

    async fn create(&self) -> io::Result<()> {
        let work = self.inner.create();
        self.scene.change(Operation::CreateDir, ".", work).await
    }

    async fn create_all(&self) -> io::Result<()> {
        let work = self.inner.create_all();
        self.scene.change(Operation::CreateDir, ".", work).await
    }

    async fn list(&self) -> io::Result<Vec<Entry>> {
        let work = self.inner.list();
        self.scene.run(Operation::List, ".", work).await
    }

    async fn open(&self, name: &str, mode: Open) -> io::Result<FaultyFile<D>> {
        let operation = match mode {
            Open::Create => Operation::CreateFile,
            Open::Read | Open::Scan | Open::Write => Operation::Open,
        };
        let work = self.inner.open(name, mode);
        let file = Rc::new(self.scene.run(operation, name, work).await?);
        if mode != Open::Read {
            let mut open = self.scene.open.borrow_mut();
            open.retain(|file| file.strong_count() > 0);
            open.push(Rc::downgrade(&file));
        }
        FaultyFile::new(file, self.inner.clone(), name, self.scene.clone())
    }

    async fn rename(&self, from: &str, to_dir: &Self, to: &str) -> io::Result<()> {
        let work = self.inner.rename(from, &to_dir.inner, to);
        self.scene.change(Operation::Rename, to, work).await
    }

    async fn link(&self, from: &str, to_dir: &Self, to: &str) -> io::Result<()> {
        let work = self.inner.link(from, &to_dir.inner, to);
        self.scene.change(Operation::Link, to, work).await
    }

    async fn remove(&self, name: &str) -> io::Result<()> {
        let work = self.inner.remove(name);
        self.scene.change(Operation::Remove, name, work).await
    }

    async fn reuse(&self, name: &str) -> io::Result<()> {
        let work = self.inner.reuse(name);
        self.scene.change(Operation::Reuse, name, work).await
    }

    async fn remove_tree(&self) -> io::Result<()> {
        let work = self.inner.remove_tree();
        self.scene.change(Operation::RemoveTree, ".", work).await
    }

    async fn sync(&self) -> io::Result<()> {
        let fault = self.scene.begin(Operation::SyncDir, ".").await;
        let work = async {
            match fault {
                Some(Fault::Delayed { operations }) => {
                    self.scene.delay(operations, Late::Dir(self.inner.clone()));
                    Ok(())
                }
                _ => {
                    let work = self.inner.sync();
                    change(course(fault, Operation::SyncDir), work).await
                }
            }
        };
        self.scene.gated(Operation::SyncDir, ".", work).await
    }

    async fn map(&self, name: &str, is_right: impl Check) -> io::Result<Map> {
        let fault = self.scene.begin(Operation::Map, name).await;
        let work = async {
            let Some(Fault::Flip { seed }) = fault else {
                let work = self.inner.map(name, is_right);
                return run(course(fault, Operation::Map), work).await;
            };
            let map = self.inner.map(name, |_| true).await?;
            let pages = Pages::owned(flipped(&map, seed));
            pages.if_right(is_right).map(Map::from)
        };
        self.scene.gated(Operation::Map, name, work).await
    }
}

impl<D: Backing> Clone for Scene<D> {
    fn clone(&self) -> Self {
        Self {
            faults: self.faults.clone(),
            open: Rc::clone(&self.open),
            late: Rc::clone(&self.late),
        }
    }
}

impl<D: Backing> Scene<D> {
    /// Counts an operation, and says what is to happen to it; does the late syncs that are due.
    async fn begin(&self, operation: Operation, name: &str) -> Option<Fault> {
        let fault = self.faults.begin(operation, name);
        let now = self.faults.total();
        let is_due = |(due, _): &mut Due<D>| *due <= now;
        let due: Vec<_> = self.late.borrow_mut().extract_if(.., is_due).collect();
        for (_, late) in due {
            // Whoever waited for it was told long ago that it is done.
            let _untold = match late {
                Late::Dir(dir) => dir.sync().await,
                Late::File(file) => file.sync_all().await,
            };
        }
        fault
    }

    fn delay(&self, operations: u64, late: Late<D>) {
        let due = self.faults.total() + operations;
        self.late.borrow_mut().push((due, late));
    }

    /// Runs `work` between the gates of an operation.
    async fn gated<T>(
        &self,
        operation: Operation,
        name: &str,
        work: impl Future<Output = io::Result<T>>,
    ) -> io::Result<T> {
        wait(&self.faults, operation, name, When::Before).await;
        let outcome = work.await;
        wait(&self.faults, operation, name, When::After).await;
        outcome
    }

    /// An operation that returns something.
    async fn run<T>(
        &self,
        operation: Operation,
        name: &str,
        work: impl Future<Output = io::Result<T>>,
    ) -> io::Result<T> {
        let fault = self.begin(operation, name).await;
        let work = run(course(fault, operation), work);
        self.gated(operation, name, work).await
    }

    /// An operation that only changes something.
    async fn change(
        &self,
        operation: Operation,
        name: &str,
        work: impl Future<Output = io::Result<()>>,
    ) -> io::Result<()> {
        let fault = self.begin(operation, name).await;
        let work = change(course(fault, operation), work);
        self.gated(operation, name, work).await
    }
}

/// Waits until no gate holds the operation.
async fn wait(faults: &Faults, operation: Operation, file: &str, when: When) {
    let Some(ticket) = faults.queue(operation, file, when) else {
        return;
    };
    let passes = |context: &mut Context<'_>| {
        if faults.passes(&ticket, context.waker()) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    };
    poll_fn(passes).await;
}

#[cfg(test)]
mod tests;
