//! What can go wrong, and with what.

use ::std::io;

use super::super::memory::FailedSync;

/// A kind of operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    missing_docs,
    reason = "named after the operations of directories and files"
)]
pub enum Operation {
    Exists,
    CreateDir,
    List,
    Open,
    CreateFile,
    Rename,
    Link,
    Remove,
    Reuse,
    RemoveTree,
    SyncDir,
    Map,
    Read,
    Write,
    /// `fdatasync` or `fsync` of a file.
    Sync,
    Allocate,
    SetLen,
    Len,
    Close,
}

/// How an operation fails, or lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails with an error of this kind, and without any effect. A sync of a file fails as
    /// [`Faults::set_failed_sync`](super::Faults::set_failed_sync) says.
    Fail(io::ErrorKind),
    /// It has its effect, and fails with an error of this kind.
    FailAfter(io::ErrorKind),
    /// It fails without any effect, for want of a descriptor.
    OutOfFiles,
    /// A write puts only so many bytes in place, and fails. Other operations just fail.
    Short {
        /// How many, fewer than the write has.
        bytes: usize,
    },
    /// A write puts a random half of its sectors of 512 bytes in place, and fails. Other operations
    /// just fail.
    Torn {
        /// Chooses the half.
        seed: u64,
    },
    /// A write puts a random half of its blocks of 4096 bytes in place, and fails. Other operations
    /// just fail.
    TornBlocks {
        /// Chooses the half.
        seed: u64,
    },
    /// A sync of a file fails and leaves this. Other operations just fail.
    FailSync(FailedSync),
    /// It succeeds, and nothing is done: a sync, a write or any other that returns no bytes. Others
    /// just fail.
    Lost,
    /// A sync succeeds, and is done only before the operation that comes so many later. Others are
    /// not affected.
    Delayed {
        /// How many, at least 1.
        operations: u64,
    },
    /// A write succeeds, but the bytes land in another block of the file, or in another file that is
    /// open for writing; nowhere if there is none. A read returns the bytes of another place. Others
    /// are not affected.
    Misdirected {
        /// Chooses where.
        seed: u64,
    },
    /// A bit of what is written turns over, or one of what is read or mapped. Others are not
    /// affected.
    Flip {
        /// Chooses the bit.
        seed: u64,
    },
    /// It fails, and so do others from now on until [`Faults::clear`](super::Faults::clear).
    Halt(Halt),
}

/// What a file system does when its own metadata cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halt {
    /// ext4 and Btrfs: what would change anything fails, syncs too; reads go on.
    ReadOnly,
    /// XFS: everything fails.
    Shutdown,
}

/// Which operations are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// Of this kind; `None` means of any.
    pub operation: Option<Operation>,
    /// On files whose name ends so; empty means on any, directories (`.`) included.
    pub suffix: &'static str,
}

/// When a gate holds an operation back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Before it has any effect.
    Before,
    /// When it has its effect, but its caller does not know yet.
    After,
}

impl Operation {
    /// Whether it changes anything, or makes it durable.
    #[must_use]
    pub fn is_change(self) -> bool {
        match self {
            Self::Exists
            | Self::List
            | Self::Open
            | Self::Map
            | Self::Read
            | Self::Len
            | Self::Close => false,
            Self::CreateDir
            | Self::CreateFile
            | Self::Rename
            | Self::Link
            | Self::Remove
            | Self::Reuse
            | Self::RemoveTree
            | Self::SyncDir
            | Self::Write
            | Self::Sync
            | Self::Allocate
            | Self::SetLen => true,
        }
    }
}

impl Halt {
    /// The error of this operation, if it fails.
    pub(super) fn error(self, operation: Operation) -> Option<io::Error> {
        match self {
            Self::ReadOnly if operation.is_change() => {
                Some(io::ErrorKind::ReadOnlyFilesystem.into())
            }
            Self::Shutdown if operation != Operation::Close => Some(nix::Error::EIO.into()),
            Self::ReadOnly | Self::Shutdown => None,
        }
    }
}

impl From<Operation> for Match {
    fn from(operation: Operation) -> Self {
        Self {
            operation: Some(operation),
            suffix: "",
        }
    }
}

impl Match {
    /// Operations of any kind on any file.
    pub const ANY: Self = Self {
        operation: None,
        suffix: "",
    };

    /// Operations of this kind on files whose name ends in `suffix`.
    #[must_use]
    pub fn on(operation: Operation, suffix: &'static str) -> Self {
        Self {
            operation: Some(operation),
            suffix,
        }
    }

    pub(super) fn holds(&self, operation: Operation, file: &str) -> bool {
        self.operation.is_none_or(|wanted| wanted == operation) && file.ends_with(self.suffix)
    }
}
