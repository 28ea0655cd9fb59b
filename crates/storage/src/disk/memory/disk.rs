//! The whole disk as a value: a copy of it is a fork, and the same operations lead to the same disk.

use ::std::collections::BTreeMap;
use ::std::io;
use ::std::ops::Range;
use ::std::rc::Rc;

use super::super::{BLOCK_BYTES, Space};
use super::content::{Stored, stored};
use super::inode::Inode;
use super::tree::{FileId, Tree};

/// A path of a directory, and a name in it.
pub(super) type Place = (Rc<[String]>, Rc<str>);

/// Directories and files.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    pub(super) tree: Tree,
    files: BTreeMap<FileId, Rc<Inode>>,
    files_made: u64,
    /// Operations so far.
    steps: u64,
    /// What each block holds before it is written to.
    old: Stored,
}

/// Something that changes the disk, or what is durable of it.
#[derive(Debug, Clone)]
pub(super) enum Op {
    CreateDir(Rc<[String]>),
    CreateDirs(Rc<[String]>),
    CreateFile(Place),
    Link {
        from: Place,
        to: Place,
    },
    Rename {
        from: Place,
        to: Place,
    },
    Remove(Place),
    RemoveTree(Rc<[String]>),
    SyncDir(Rc<[String]>),
    /// Puts blocks in place, from the block `first` on.
    Write {
        file: FileId,
        first: usize,
        blocks: Rc<[Stored]>,
    },
    /// Gives space to blocks.
    Allocate {
        file: FileId,
        blocks: Range<usize>,
        how: Space,
    },
    SetLen {
        file: FileId,
        bytes: usize,
    },
    Sync {
        file: FileId,
        /// `fsync`, not `fdatasync`; on this disk that makes no difference.
        is_all: bool,
    },
    /// Makes durable what was written to blocks, and nothing else.
    SyncBlocks {
        file: FileId,
        blocks: Range<usize>,
    },
    FailSync {
        file: FileId,
        how: super::loss::FailedSync,
        seed: u64,
    },
    Flip {
        file: FileId,
        bit: u64,
    },
}

impl Disk {
    /// An empty one whose blocks are not.
    pub(super) fn used() -> Self {
        Self {
            old: stored(&[0xa5; BLOCK_BYTES]),
            ..Self::default()
        }
    }

    /// Does what `op` says. Returns the file that it made or worked on.
    pub(super) fn run(&mut self, op: &Op) -> io::Result<Option<FileId>> {
        self.steps += 1;
        let step = self.steps;
        match op {
            Op::CreateDir(path) => self.tree.create(step, path)?,
            Op::CreateDirs(path) => self.tree.create_all(step, path)?,
            Op::CreateFile((path, name)) => {
                let file = FileId(self.files_made + 1);
                self.tree.create_file(step, (path, name), file)?;
                self.files_made += 1;
                self.files.insert(file, Rc::default());
                return Ok(Some(file));
            }
            Op::Link { from, to } => {
                self.tree.link(step, (&from.0, &from.1), (&to.0, &to.1))?;
            }
            Op::Rename { from, to } => {
                self.tree.rename(step, (&from.0, &from.1), (&to.0, &to.1))?;
            }
            Op::Remove((path, name)) => self.tree.remove_file(step, (path, name))?,
            Op::RemoveTree(path) => self.tree.remove_tree(step, path)?,
            Op::SyncDir(path) => self.tree.sync(path)?,
            Op::Write {
                file,
                first,
                blocks,
            } => self.change(*file)?.write(step, *first, blocks),
            Op::Allocate { file, blocks, how } => {
                let old = self.old.clone();
                if old.is_some() && *how == Space::Zeroed {
                    // A step before that of the zeros: each of the two survives, or not.
                    self.steps += 1;
                    self.change(*file)?.show_old(step, blocks.clone(), &old);
                }
                let step = self.steps;
                self.change(*file)?.allocate(step, blocks.clone(), *how);
            }
            Op::SetLen { file, bytes } => self.change(*file)?.set_len(step, *bytes),
            Op::Sync { file, .. } => self.change(*file)?.sync(),
            Op::SyncBlocks { file, blocks } => self.change(*file)?.sync_blocks(blocks),
            Op::FailSync { file, how, seed } => self.change(*file)?.fail_sync(*how, *seed),
            Op::Flip { file, bit } => self.change(*file)?.flip(*bit),
        }
        Ok(None)
    }

    /// Does again what was done to an equal disk, and failed then if it fails now.
    pub(super) fn repeat(&mut self, op: &Op) {
        let _as_before = self.run(op);
    }

    /// The file `file`, which has a name or is open.
    pub(super) fn inode(&self, file: FileId) -> io::Result<&Inode> {
        let inode = self.files.get(&file).map(|inode| &**inode);
        inode.ok_or_else(|| io::Error::other("the file is gone from the disk in memory"))
    }

    /// How many blocks have space, in files for which `counts` holds.
    pub(super) fn blocks_in_use(&self, counts: impl Fn(FileId) -> bool) -> usize {
        let counted = self.files.iter().filter(|(file, _)| counts(**file));
        counted.map(|(_, inode)| inode.space().count()).sum()
    }

    /// Forgets files that no name leads to, after a power cut either, except where `is_open` holds.
    pub(super) fn sweep(&mut self, is_open: impl Fn(FileId) -> bool) {
        let named: ::std::collections::BTreeSet<_> = self.tree.files().collect();
        self.files
            .retain(|file, _| named.contains(file) || is_open(*file));
    }

    fn change(&mut self, file: FileId) -> io::Result<&mut Inode> {
        let inode = self.files.get_mut(&file).map(Rc::make_mut);
        inode.ok_or_else(|| io::Error::other("the file is gone from the disk in memory"))
    }
}

impl Disk {
    /// The files that hold something in doubt.
    pub(super) fn doubtful(&self) -> impl Iterator<Item = (FileId, &Inode)> {
        let files = self.files.iter().map(|(file, inode)| (*file, &**inode));
        files.filter(|(_, inode)| !inode.pending().is_empty())
    }

    /// The disk after a power cut, with the changes of entries for which `entries` holds (it gets
    /// their index), and of each file the effects of which `effects` gives sectors.
    pub(super) fn image(
        &self,
        entries: impl FnMut(usize) -> bool,
        mut effects: impl FnMut(FileId, usize, &super::inode::Effect) -> u8,
    ) -> Self {
        let tree = self.tree.image(entries);
        let mut files = BTreeMap::new();
        for file in tree.files() {
            let Some(inode) = self.files.get(&file) else {
                continue;
            };
            files.entry(file).or_insert_with(|| {
                if inode.is_settled() {
                    return Rc::clone(inode);
                }
                Rc::new(inode.image(|index, effect| effects(file, index, effect)))
            });
        }
        Self {
            tree,
            files,
            files_made: self.files_made,
            steps: self.steps,
            old: self.old.clone(),
        }
    }

    /// The disk after a power cut: `seed` chooses for each sector which version of it survives, for
    /// each file which length, and for each directory up to which change its entries.
    pub(super) fn power_cut(&self, seed: u64) -> Self {
        use super::inode::Effect;
        let mut random = fastrand::Rng::with_seed(seed);
        let survivors = self.tree.survivors(&mut random);
        let (mut of, mut level) = (None, 0);
        let effects = |file: FileId, _: usize, _: &Effect| {
            // Of one file more survives than of another, so that old versions have a chance, too.
            if of != Some(file) {
                (of, level) = (Some(file), random.u8(0..8));
            }
            match level {
                0 => 0,
                1 => random.u8(..) & random.u8(..),
                6 => random.u8(..) | random.u8(..),
                7 => u8::MAX,
                _ => random.u8(..),
            }
        };
        let entries = |index: usize| survivors[index];
        self.image(entries, effects)
    }

    /// A number that differs between disks that hold other names or bytes, as far as 64 bits can.
    /// Of what is in doubt it says what readers see.
    pub(super) fn hash(&self) -> u64 {
        use super::tree::{Node, ROOT};
        let mut input = Vec::new();
        let mut look = |path: &str, node: Node| {
            input.extend_from_slice(path.as_bytes());
            input.push(0);
            match node {
                Node::Dir(_) => input.push(1),
                Node::File(file) => {
                    input.push(2);
                    let hash = self.files.get(&file).map_or(0, |inode| inode.hash());
                    input.extend_from_slice(&hash.to_le_bytes());
                }
            }
        };
        self.tree.walk(ROOT, "", &mut look);
        xxhash_rust::xxh3::xxh3_64(&input)
    }
}
