//! A disk in memory, which knows what a power cut would leave of it.
//!
//! Lives here: [`MemoryDir`] and its files; `inode` (the bytes of a file: written, synced and in
//! doubt), `tree` (directory entries: in force, and durable). Everything is shared by clones, and
//! `MemoryDir::power_cut` makes another, independent disk with what might have survived.
//!
//! The disk is as unkind as POSIX allows on a journaling file system:
//! - bytes written but not synced survive or not, each sector of 512 bytes for itself, in any
//!   version written since the last sync; the same holds for the length;
//! - entries made, renamed or removed since the last sync of their directory survive up to some
//!   point in the order in which they were made, a rename whole or not at all;
//! - syncing a file says nothing about its entry, syncing a directory nothing about its files;
//! - after a failed sync (`MemoryDir::lose_unsynced`) a later sync proves nothing for bytes that
//!   were not written again.

mod inode;
mod tree;

use ::std::cell::RefCell;
use ::std::io;
use ::std::ops::Range;
use ::std::rc::Rc;

use self::inode::Inode;
use self::tree::{Node, Tree};
use super::buf::{AlignedBuf, SharedBytes};
use super::map::{Map, Pages};
use super::{BLOCK_BYTES, Buf, Dir, Entry, File, Open, Space};

/// A directory of a disk in memory; clones share the disk.
#[derive(Debug, Clone)]
pub struct MemoryDir {
    tree: Rc<RefCell<Tree>>,
    /// The names from the root to here.
    path: Vec<String>,
}

/// An open file of a [`MemoryDir`].
#[derive(Debug)]
pub struct MemoryFile {
    inode: Rc<RefCell<Inode>>,
    is_writable: bool,
}

impl MemoryDir {
    /// The root of a new, empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self {
            tree: Rc::default(),
            path: Vec::new(),
        }
    }

    /// This directory on another disk, which holds what a power cut at this moment might leave;
    /// `seed` chooses among the possibilities.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn power_cut(&self, seed: u64) -> Self {
        let tree = self
            .tree
            .borrow()
            .power_cut(&mut fastrand::Rng::with_seed(seed));
        Self {
            tree: Rc::new(RefCell::new(tree)),
            path: self.path.clone(),
        }
    }

    /// Does to the file `name` what a failed sync does: its unsynced bytes stay readable, but what
    /// a power cut leaves of each sector is now fixed (by `seed`), and no sync changes that until
    /// the sector is written again.
    ///
    /// # Errors
    /// `NotFound` without such a file.
    #[cfg(any(test, feature = "testing"))]
    pub fn lose_unsynced(&self, name: &str, seed: u64) -> io::Result<()> {
        let inode = self.tree.borrow().file(&self.path, name)?;
        inode
            .borrow_mut()
            .lose_unsynced(&mut fastrand::Rng::with_seed(seed));
        Ok(())
    }
}

impl Default for MemoryDir {
    fn default() -> Self {
        Self::new()
    }
}

impl Dir for MemoryDir {
    type File = MemoryFile;
    type Buf = AlignedBuf;
    type Bytes = SharedBytes;

    fn child(&self, name: &str) -> Self {
        let mut path = self.path.clone();
        path.push(name.to_owned());
        Self {
            tree: Rc::clone(&self.tree),
            path,
        }
    }

    fn alloc(&self, bytes: usize) -> AlignedBuf {
        AlignedBuf::zeroed(bytes)
    }

    fn describe(&self) -> String {
        format!("memory:/{}", self.path.join("/"))
    }

    async fn exists(&self) -> io::Result<bool> {
        match self.tree.borrow().dir(&self.path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn create(&self) -> io::Result<()> {
        self.tree.borrow_mut().create(&self.path)
    }

    async fn list(&self) -> io::Result<Vec<Entry>> {
        let tree = self.tree.borrow();
        let dir = tree.dir(&self.path)?;
        let entries = tree.entries(dir).map(|(name, node)| match node {
            Node::Dir(_) => Entry {
                name: name.clone(),
                is_dir: true,
                bytes: 0,
            },
            Node::File(inode) => {
                let bytes = inode.borrow().len() as u64;
                Entry {
                    name: name.clone(),
                    is_dir: false,
                    bytes,
                }
            }
        });
        Ok(entries.collect())
    }

    async fn open(&self, name: &str, mode: Open) -> io::Result<MemoryFile> {
        let inode = match mode {
            Open::Create => self.tree.borrow_mut().create_file(&self.path, name)?,
            Open::Read | Open::Write => self.tree.borrow().file(&self.path, name)?,
        };
        Ok(MemoryFile {
            inode,
            is_writable: mode != Open::Read,
        })
    }

    async fn rename(&self, from: &str, to_dir: &Self, to: &str) -> io::Result<()> {
        assert!(
            Rc::ptr_eq(&self.tree, &to_dir.tree),
            "a rename stays on one disk"
        );
        self.tree
            .borrow_mut()
            .rename((&self.path, from), (&to_dir.path, to))
    }

    async fn link(&self, from: &str, to_dir: &Self, to: &str) -> io::Result<()> {
        assert!(
            Rc::ptr_eq(&self.tree, &to_dir.tree),
            "a link stays on one disk"
        );
        self.tree
            .borrow_mut()
            .link((&self.path, from), (&to_dir.path, to))
    }

    async fn remove(&self, name: &str) -> io::Result<()> {
        self.tree.borrow_mut().remove_file(&self.path, name)
    }

    async fn remove_tree(&self) -> io::Result<()> {
        self.tree.borrow_mut().remove_tree(&self.path)
    }

    async fn sync(&self) -> io::Result<()> {
        self.tree.borrow_mut().sync(&self.path)
    }

    async fn map(&self, name: &str) -> io::Result<Map> {
        let inode = self.tree.borrow().file(&self.path, name)?;
        let inode = inode.borrow();
        Ok(Map::from(Pages::owned(inode.read(0..inode.len()).to_vec())))
    }
}

impl MemoryFile {
    fn writable(&self) -> io::Result<::std::cell::RefMut<'_, Inode>> {
        if self.is_writable {
            Ok(self.inode.borrow_mut())
        } else {
            let message = "the file is open for reading only";
            Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
        }
    }
}

impl File for MemoryFile {
    type Buf = AlignedBuf;
    type Bytes = SharedBytes;

    async fn read_at(&self, position: u64, len: usize) -> io::Result<SharedBytes> {
        let inode = self.inode.borrow();
        let start = to_usize(position)?.min(inode.len());
        let end = start.saturating_add(len).min(inode.len());
        let bytes = inode.read(start..end);
        let mut buf = AlignedBuf::zeroed(bytes.len().next_multiple_of(BLOCK_BYTES));
        buf.as_mut_slice()[..bytes.len()].copy_from_slice(bytes);
        Ok(SharedBytes::new(Rc::new(buf), 0..bytes.len()))
    }

    async fn write_at(&self, buf: Rc<AlignedBuf>, position: u64) -> io::Result<()> {
        let position = to_usize(position)?;
        assert!(
            position.is_multiple_of(BLOCK_BYTES),
            "position {position} is within a block"
        );
        self.writable()?.write(position, buf.as_slice());
        Ok(())
    }

    async fn fdatasync(&self) -> io::Result<()> {
        self.inode.borrow_mut().sync();
        Ok(())
    }

    async fn sync_all(&self) -> io::Result<()> {
        self.fdatasync().await
    }

    async fn allocate(&self, range: Range<u64>, how: Space) -> io::Result<()> {
        let mut inode = self.writable()?;
        let (start, end) = (to_usize(range.start)?, to_usize(range.end)?);
        assert!(start <= end, "the range {range:?} runs backwards");
        let len = inode.len().max(end);
        inode.set_len(len);
        if how == Space::Zeroed {
            inode.write(start, &vec![0; end - start]);
        }
        Ok(())
    }

    async fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.writable()?.set_len(to_usize(bytes)?);
        Ok(())
    }

    async fn len(&self) -> io::Result<u64> {
        Ok(self.inode.borrow().len() as u64)
    }

    async fn close(self: Rc<Self>) -> io::Result<()> {
        Ok(())
    }
}

fn to_usize(number: u64) -> io::Result<usize> {
    usize::try_from(number).map_err(|source| io::Error::new(io::ErrorKind::FileTooLarge, source))
}

#[cfg(test)]
mod tests;
