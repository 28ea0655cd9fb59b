//! A disk in memory, which knows what a power cut would leave of it.
//!
//! ```text
//! content  the bytes of a file, in blocks that copies share
//! spans    which blocks have space
//! inode    a file: what is shown, durable, and in doubt
//! tree     directory entries: in force, durable, and in doubt
//! disk     all of it as a value that can be copied, and the operations that change it
//! file     open files
//! loss     what a failed sync leaves, and bits that rot
//! trace    what was done to a disk, step by step
//! crash    the disks that a power cut may leave at each of these steps
//! ```
//!
//! Everything is shared by clones of a [`MemoryDir`]. `MemoryDir::power_cut` makes another, independent disk with what might
//! have survived; `MemoryDir::record` and `Trace::crash_states` make all of them, within reason.
//!
//! # What a power cut may leave
//!
//! The disk is as unkind as POSIX allows on a journaling file system over a device with a volatile cache, and a little more:
//! - bytes written but not synced survive or not, each sector of 512 bytes for itself and whole, in any version written
//!   since the last sync; the same holds for the length. A device need not keep the order of writes between two flushes;
//!   that a sector is never half written is what the format assumes;
//! - entries made, linked, renamed or removed since the last sync of their directory survive up to some point in the order
//!   in which they were made, a rename whole or not at all. Changes of different directories survive independently, and
//!   syncing a directory makes durable what concerns it alone: a journal keeps one order for all, but a file system that
//!   logs inodes by themselves does not (btrfs, and f2fs);
//! - syncing a file says nothing about its entry, syncing a directory nothing about its files (fsync(2));
//! - a file shortened and not synced may have its length and keep its bytes, or the other way round;
//! - space that `allocate` prepared is there after a power cut as far as the file's length is. On a disk that was
//!   [used](MemoryDir::used) before, zeros that were never synced may be missing there, and what the blocks held before be
//!   in their place: a file system without a journal may keep the map of a file and not its bytes.
//!
//! Which states a program can be left in by these rules, and how to enumerate them, follows Pillai et al., "All File Systems
//! Are Not Created Equal", OSDI 2014, and Mohan et al., "Finding Crash-Consistency Bugs with Bounded Black-Box Crash
//! Testing", OSDI 2018.

mod content;
mod crash;
mod disk;
mod file;
mod inode;
mod loss;
mod spans;
mod trace;
mod tree;

use ::std::cell::{Cell, RefCell};
use ::std::collections::BTreeMap;
use ::std::io;
use ::std::rc::Rc;

pub use self::crash::{Choice, Choices, CrashState, CrashStates, Tear};
use self::disk::{Disk, Op, Place};
pub use self::file::MemoryFile;
pub use self::loss::FailedSync;
pub use self::trace::{Step, Trace};
use self::tree::{FileId, Node};
use super::buf::{AlignedBuf, SharedBytes};
use super::map::{Check, Map, Pages};
use super::{BLOCK_BYTES, Dir, Entry, Open, Space};

/// A directory of a disk in memory; clones share the disk.
#[derive(Debug, Clone)]
pub struct MemoryDir {
    shared: Rc<Shared>,
    /// The names from the root to here.
    path: Rc<[String]>,
}

/// A disk, and who has files of it open.
#[derive(Debug, Default)]
struct Shared {
    disk: RefCell<Disk>,
    /// How many handles each open file has.
    open: RefCell<BTreeMap<FileId, usize>>,
    /// How many blocks there are; `None` if there is no limit.
    blocks_max: Cell<Option<usize>>,
    recording: RefCell<Option<Recording>>,
}

/// A trace that goes on.
#[derive(Debug)]
struct Recording {
    base: Disk,
    steps: Vec<Step>,
}

impl MemoryDir {
    /// The root of a new, empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::of(Disk::default(), Rc::default())
    }

    /// The same of a disk whose blocks hold something, which nobody sees before a power cut.
    #[must_use]
    pub fn used() -> Self {
        Self::of(Disk::used(), Rc::default())
    }

    fn of(disk: Disk, path: Rc<[String]>) -> Self {
        let shared = Shared {
            disk: RefCell::new(disk),
            ..Shared::default()
        };
        Self {
            shared: Rc::new(shared),
            path,
        }
    }

    fn place(&self, name: &str) -> Place {
        (Rc::clone(&self.path), name.into())
    }

    fn file(&self, name: &str) -> io::Result<FileId> {
        self.shared.disk.borrow().tree.file((&self.path, name))
    }

    fn run(&self, op: Op, name: &str) -> io::Result<Option<FileId>> {
        self.shared.run(op, name)
    }

    fn change(&self, op: fn(Rc<[String]>) -> Op) -> io::Result<()> {
        let op = op(Rc::clone(&self.path));
        self.run(op, &self.path.join("/")).map(drop)
    }
}

impl Shared {
    /// Changes the disk, and writes down what was done if it was. `name` is for the reader.
    fn run(&self, op: Op, name: &str) -> io::Result<Option<FileId>> {
        let done = self.disk.borrow_mut().run(&op)?;
        let frees = matches!(op, Op::SyncDir(_) | Op::RemoveTree(_));
        if let Some(recording) = &mut *self.recording.borrow_mut() {
            let name = name.into();
            recording.steps.push(Step { op, name });
        }
        if frees {
            self.sweep();
        }
        Ok(done)
    }

    fn sweep(&self) {
        let open = self.open.borrow();
        self.disk
            .borrow_mut()
            .sweep(|file| open.contains_key(&file));
    }

    /// How many of `wanted` blocks there is space for.
    fn blocks_free(&self, wanted: usize) -> usize {
        let Some(blocks_max) = self.blocks_max.get() else {
            return wanted;
        };
        let disk = self.disk.borrow();
        let open = self.open.borrow();
        let named: ::std::collections::BTreeSet<_> = disk.tree.files_in_force().collect();
        let in_use = disk.blocks_in_use(|file| named.contains(&file) || open.contains_key(&file));
        blocks_max.saturating_sub(in_use).min(wanted)
    }
}

impl MemoryDir {
    /// This directory on another disk, which holds what a power cut at this moment might leave;
    /// `seed` chooses among the possibilities.
    #[must_use]
    pub fn power_cut(&self, seed: u64) -> Self {
        let image = self.shared.disk.borrow().power_cut(seed);
        Self::of(image, Rc::clone(&self.path))
    }

    /// Another disk that is as this one is now, with all that is in doubt.
    #[must_use]
    pub fn fork(&self) -> Self {
        let disk = self.shared.disk.borrow().clone();
        Self::of(disk, Rc::clone(&self.path))
    }

    /// Begins to write down what is done to the disk, from here on.
    pub fn record(&self) {
        let recording = Recording {
            base: self.shared.disk.borrow().clone(),
            steps: Vec::new(),
        };
        *self.shared.recording.borrow_mut() = Some(recording);
    }

    /// How many operations were written down so far: what happened until now was after these.
    #[must_use]
    pub fn recorded(&self) -> usize {
        let recording = self.shared.recording.borrow();
        recording.as_ref().map_or(0, |all| all.steps.len())
    }

    /// What was written down since [`Self::record`]; recording goes on.
    #[must_use]
    pub fn trace(&self) -> Trace {
        let recording = self.shared.recording.borrow();
        let (base, steps) = match &*recording {
            Some(recording) => (recording.base.clone(), recording.steps.clone()),
            None => (self.shared.disk.borrow().clone(), Vec::new()),
        };
        Trace {
            base: Rc::new(base),
            steps: steps.into(),
            path: Rc::clone(&self.path),
        }
    }

    /// A number that differs between disks of different names or bytes, as far as 64 bits can. It
    /// is about what readers see, of the whole disk.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.shared.disk.borrow().hash()
    }

    /// Limits the space of the whole disk, in bytes, rounded down to blocks; `None` for no limit.
    /// Space is taken by `allocate`, and by writes outside of what it prepared. A file gives its
    /// space back when its last name is removed and its last handle closed.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        let blocks = bytes.map(|bytes| {
            let blocks = bytes / BLOCK_BYTES as u64;
            usize::try_from(blocks).unwrap_or(usize::MAX)
        });
        self.shared.blocks_max.set(blocks);
    }

    /// How many bytes have space, in whole blocks.
    #[must_use]
    pub fn bytes_in_use(&self) -> u64 {
        let blocks = self.shared.disk.borrow().blocks_in_use(|_| true);
        blocks as u64 * BLOCK_BYTES as u64
    }

    /// Does to the file `name` what a failed sync does, as `how` says; `seed` chooses what is left.
    ///
    /// # Errors
    /// `NotFound` without such a file.
    pub fn fail_sync(&self, name: &str, how: FailedSync, seed: u64) -> io::Result<()> {
        let file = self.file(name)?;
        self.run(Op::FailSync { file, how, seed }, name).map(drop)
    }

    /// Does to the file `name` what a failed flush of the device does: its unsynced bytes stay readable, but what a power
    /// cut leaves of each sector is now fixed (by `seed`), and no sync changes that until the sector is written again.
    ///
    /// # Errors
    /// `NotFound` without such a file.
    pub fn lose_unsynced(&self, name: &str, seed: u64) -> io::Result<()> {
        self.fail_sync(name, FailedSync::Device, seed)
    }

    /// Turns a bit of the file `name` over, on the disk itself; bits are counted from its start. One
    /// behind the end changes nothing.
    ///
    /// # Errors
    /// `NotFound` without such a file.
    pub fn flip(&self, name: &str, bit: u64) -> io::Result<()> {
        let file = self.file(name)?;
        self.run(Op::Flip { file, bit }, name).map(drop)
    }
}

impl Default for MemoryDir {
    fn default() -> Self {
        Self::new()
    }
}

impl Dir for MemoryDir {
    const DURABLE_IN_ONE_CALL: bool = true;
    type File = MemoryFile;
    type Buf = AlignedBuf;
    type Bytes = SharedBytes;

    fn child(&self, name: &str) -> Self {
        let names = self.path.iter().cloned().chain([name.to_owned()]);
        Self {
            shared: Rc::clone(&self.shared),
            path: names.collect(),
        }
    }

    fn alloc(&self, bytes: usize) -> AlignedBuf {
        AlignedBuf::zeroed(bytes)
    }

    fn describe(&self) -> String {
        format!("memory:/{}", self.path.join("/"))
    }

    async fn exists(&self) -> io::Result<bool> {
        match self.shared.disk.borrow().tree.dir(&self.path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn create(&self) -> io::Result<()> {
        self.change(Op::CreateDir)
    }

    async fn create_all(&self) -> io::Result<()> {
        self.change(Op::CreateDirs)
    }

    async fn list(&self) -> io::Result<Vec<Entry>> {
        let disk = self.shared.disk.borrow();
        let dir = disk.tree.dir(&self.path)?;
        let entries = disk.tree.entries(dir).map(|(name, node)| {
            let (is_dir, bytes) = match node {
                Node::Dir(_) => (true, 0),
                Node::File(file) => (false, disk.inode(*file)?.len() as u64),
            };
            let name = name.to_string();
            Ok(Entry {
                name,
                is_dir,
                bytes,
            })
        });
        entries.collect()
    }

    async fn open(&self, name: &str, mode: Open) -> io::Result<MemoryFile> {
        let file = match mode {
            Open::Create => {
                let made = self.run(Op::CreateFile(self.place(name)), name)?;
                made.ok_or_else(|| io::Error::other("a file was made, and is none"))?
            }
            Open::Read | Open::Scan | Open::Write => self.file(name)?,
        };
        let shared = Rc::clone(&self.shared);
        let is_writable = matches!(mode, Open::Write | Open::Create);
        Ok(MemoryFile::new(shared, file, name, is_writable))
    }

    async fn rename(&self, from: &str, to_dir: &Self, to: &str) -> io::Result<()> {
        assert!(
            Rc::ptr_eq(&self.shared, &to_dir.shared),
            "a rename stays on one disk"
        );
        let (from, to) = (self.place(from), to_dir.place(to));
        let name = Rc::clone(&to.1);
        self.run(Op::Rename { from, to }, &name).map(drop)
    }

    async fn link(&self, from: &str, to_dir: &Self, to: &str) -> io::Result<()> {
        assert!(
            Rc::ptr_eq(&self.shared, &to_dir.shared),
            "a link stays on one disk"
        );
        let (from, to) = (self.place(from), to_dir.place(to));
        let name = Rc::clone(&to.1);
        self.run(Op::Link { from, to }, &name).map(drop)
    }

    async fn remove(&self, name: &str) -> io::Result<()> {
        self.run(Op::Remove(self.place(name)), name).map(drop)
    }

    async fn reuse(&self, name: &str) -> io::Result<()> {
        let file = self.file(name)?;
        let (names, bytes) = {
            let disk = self.shared.disk.borrow();
            let named = disk.tree.files_in_force().filter(|&named| named == file);
            (named.count(), disk.inode(file)?.len())
        };
        if names > 1 || self.shared.open.borrow().contains_key(&file) {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        let (blocks, how) = (0..bytes.div_ceil(BLOCK_BYTES), Space::Zeroed);
        self.run(Op::Allocate { file, blocks, how }, name)?;
        self.run(Op::Sync { file, is_all: true }, name).map(drop)
    }

    async fn remove_tree(&self) -> io::Result<()> {
        self.change(Op::RemoveTree)
    }

    async fn sync(&self) -> io::Result<()> {
        self.change(Op::SyncDir)
    }

    async fn map(&self, name: &str, is_right: impl Check) -> io::Result<Map> {
        let file = self.file(name)?;
        let disk = self.shared.disk.borrow();
        let inode = disk.inode(file)?;
        let mut bytes = vec![0; inode.len()];
        inode.read(0, &mut bytes);
        Pages::owned(bytes).if_right(is_right).map(Map::from)
    }
}

#[cfg(test)]
mod tests;
