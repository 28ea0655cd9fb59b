//! The epochs of a log: which it has, and how another one begins.

use corelog_record::{LeaderEpoch, Lineage};

use super::chore::ChorePlan;
use super::lineage::Began;
use super::{Log, options};
use crate::Error;
use crate::disk::Dir;
use crate::format::edit::Epoch;
use crate::manifest::Manifest;

/// Which epoch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// One of this log's own: the next number, with a lineage drawn at random.
    Own,
    /// One of the source's, which a copy takes over.
    Copied(Began),
}

impl<D: Dir> Log<D> {
    /// Plans to begin an epoch at the log's end. It is durable, and what is appended is of it, when the
    /// plan is complete; meanwhile nothing is appended.
    ///
    /// # Errors
    /// [`Error::Busy`] while a chore is under way, or anything is pending or in flight;
    /// [`Error::Fenced`], [`Error::ReadOnly`], [`Error::EpochsExhausted`]; [`Error::EpochOrder`] for a
    /// copied epoch that is not above the last one, or that did not begin here.
    pub fn plan_epoch(&mut self, begin: Begin) -> Result<ChorePlan<D>, Error> {
        let _ = begin;
        Err(Error::Busy)
    }

    /// The epoch of the batches that are appended now: the last one, 0 before any.
    pub fn epoch(&self) -> LeaderEpoch {
        self.epochs
            .last()
            .map_or(LeaderEpoch::ZERO, |began| began.epoch)
    }

    /// The epochs that are durable and have a batch left to speak for, or none yet; oldest first. None
    /// without files.
    pub fn epochs(&self) -> &[Epoch] {
        &self.epochs
    }

    /// Takes the manifest back from a plan, with what was changed of the epochs.
    pub(super) fn return_manifest(&mut self, manifest: Option<Manifest<D>>) {
        if let Some(manifest) = &manifest {
            let epochs = manifest.state().epochs();
            if self.epochs != epochs {
                self.epochs = epochs.to_vec();
            }
        }
        self.manifest.give_back(manifest);
    }

    /// A fresh random lineage.
    pub(super) fn draw_lineage(&mut self) -> Lineage {
        Lineage::from_bytes(options::draw(&mut self.seed, &self.identity))
    }
}
