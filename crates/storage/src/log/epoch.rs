//! The epochs of a log: which it has, and how another one begins.

use corelog_record::{LeaderEpoch, Lineage};

use super::{Log, options};
use crate::disk::Dir;
use crate::format::edit::Epoch;
use crate::manifest::Manifest;

impl<D: Dir> Log<D> {
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
