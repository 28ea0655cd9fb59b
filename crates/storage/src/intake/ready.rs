//! A segment that is all there, and not yet part of a log.

use corelog_record::Offset;

use crate::format::edit::{Epoch, Seal};
use crate::segment::name;

/// A segment of which every byte is verified and synced, in the directory of its log; give it to
/// [`Log::plan_install`](crate::Log::plan_install) or
/// [`Log::plan_replace`](crate::Log::plan_replace) there. It is plain data: the thread that received
/// it is not the one that owns the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    pub(crate) seal: Seal,
    pub(crate) generation: u32,
    /// The epochs that began at or below its end, oldest first, as far as the source told of them.
    pub(crate) epochs: Vec<Epoch>,
    /// The name of its store's file, until it is installed.
    pub(crate) partial: String,
}

impl Ready {
    /// The base offset of the segment.
    #[must_use]
    pub fn base(&self) -> Offset {
        self.seal.digest.base
    }

    /// The name that its store's file gets.
    pub(crate) fn store(&self) -> String {
        name::store(self.base(), self.generation)
    }
}
