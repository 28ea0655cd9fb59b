//! What was done to a disk, step by step.

use ::std::fmt;
use ::std::ops::Range;
use ::std::rc::Rc;

use super::super::BLOCK_BYTES;
use super::super::faulty::Operation;
use super::MemoryDir;
use super::crash::{Choices, CrashStates};
use super::disk::{Disk, Op};

/// Everything that changed a disk, or what is durable of it, since [`MemoryDir::record`].
#[derive(Debug, Clone)]
pub struct Trace {
    pub(super) base: Rc<Disk>,
    pub(super) steps: Rc<[Step]>,
    pub(super) path: Rc<[String]>,
}

/// One operation of a [`Trace`]. Those that fail without an effect are not in it.
#[derive(Debug, Clone)]
pub struct Step {
    pub(super) op: Op,
    /// The file or directory, as it was called then.
    pub(super) name: Rc<str>,
}

impl Trace {
    /// How many operations there were.
    #[must_use]
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether nothing was done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The operations, oldest first.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The trace of a disk that only says that it did the operations for which `is_lie` holds.
    #[must_use]
    pub fn without(&self, is_lie: impl Fn(&Step) -> bool) -> Self {
        let steps = self.steps.iter().filter(|step| !is_lie(step));
        Self {
            steps: steps.cloned().collect(),
            ..self.clone()
        }
    }

    /// The disks that a power cut may leave after each of the operations, and before the first.
    #[must_use]
    pub fn crash_states(&self, choices: Choices) -> CrashStates {
        CrashStates::new(self.clone(), choices)
    }

    /// The disk as it was after so many operations, with all that was in doubt then.
    ///
    /// # Panics
    /// If there were fewer.
    #[must_use]
    pub fn disk_after(&self, count: usize) -> MemoryDir {
        let mut disk = Disk::clone(&self.base);
        for step in &self.steps[..count] {
            disk.repeat(&step.op);
        }
        MemoryDir::of(disk, Rc::clone(&self.path))
    }
}

impl Step {
    /// The kind of operation.
    #[must_use]
    pub fn operation(&self) -> Operation {
        match &self.op {
            Op::CreateDir(_) | Op::CreateDirs(_) => Operation::CreateDir,
            Op::CreateFile(_) => Operation::CreateFile,
            Op::Link { .. } => Operation::Link,
            Op::Rename { .. } => Operation::Rename,
            Op::Remove(_) => Operation::Remove,
            Op::RemoveTree(_) => Operation::RemoveTree,
            Op::SyncDir(_) => Operation::SyncDir,
            Op::Write { .. } | Op::Flip { .. } => Operation::Write,
            Op::Allocate { .. } => Operation::Allocate,
            Op::SetLen { .. } => Operation::SetLen,
            Op::Sync { .. } | Op::SyncBlocks { .. } | Op::FailSync { .. } => Operation::Sync,
        }
    }

    /// The file or directory that it was done to, as it was called then; for a link or a rename the
    /// new name. Of a file the last part of its path, of a directory all of it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match &self.op {
            Op::CreateDir(_) | Op::CreateDirs(_) => write!(f, "create directory {name}"),
            Op::CreateFile(_) => write!(f, "create {name}"),
            Op::Link { from, .. } => write!(f, "link {} to {name}", from.1),
            Op::Rename { from, .. } => write!(f, "rename {} to {name}", from.1),
            Op::Remove(_) => write!(f, "remove {name}"),
            Op::RemoveTree(_) => write!(f, "remove all of {name}"),
            Op::SyncDir(_) => write!(f, "sync directory {name}"),
            Op::Write { first, blocks, .. } => {
                write!(f, "write {name} {}", span(&(*first..first + blocks.len())))
            }
            Op::Allocate { blocks, .. } => write!(f, "allocate {name} {}", span(blocks)),
            Op::SetLen { bytes, .. } => write!(f, "set length of {name} to {bytes}"),
            Op::Sync { is_all: false, .. } => write!(f, "fdatasync {name}"),
            Op::Sync { is_all: true, .. } => write!(f, "fsync {name}"),
            Op::SyncBlocks { blocks, .. } => write!(f, "sync {name} {}", span(blocks)),
            Op::FailSync { how, .. } => write!(f, "fail to sync {name} ({how:?})"),
            Op::Flip { bit, .. } => write!(f, "flip bit {bit} of {name}"),
        }
    }
}

/// The bytes of `blocks`, for the reader.
fn span(blocks: &Range<usize>) -> String {
    let [start, end] = [blocks.start, blocks.end].map(|block| block * BLOCK_BYTES);
    format!("[{start}, {end})")
}
