//! Where in a segment epochs begin.

use corelog_record::LeaderEpoch;
use corelog_record::batch::View;

use crate::format::edit::Epoch;
use crate::log::lineage::Began;
use crate::segment::Point;

/// The epochs of a source, on a walk over one segment's batches.
#[derive(Debug)]
pub(super) struct Epochs {
    /// Those that begin behind the batches so far, newest first.
    ahead: Vec<Began>,
    /// The others, oldest first.
    met: Vec<Epoch>,
    /// That of the last batch.
    last: Option<LeaderEpoch>,
}

impl Epochs {
    /// The epochs `began`, oldest first, for a walk that starts at `base`. Of those that began before
    /// it, only the offset is known: they count as if their first batch were that at `base`.
    pub(super) fn new(began: &[Began], base: &Point) -> Self {
        let mut ahead: Vec<_> = began.to_vec();
        ahead.reverse();
        let mut epochs = Self {
            ahead,
            met: Vec::new(),
            last: None,
        };
        epochs.meet(base);
        epochs
    }

    /// Whether `batch`, which begins at `point`, may carry the epoch it does: one that began by then,
    /// and none before that of the batch ahead of it. An epoch that begins within a batch is none.
    pub(super) fn admit(&mut self, point: &Point, batch: &View<'_>) -> bool {
        self.meet(point);
        let is_within = |next: &Began| next.offset < batch.next_offset();
        let epoch = batch.epoch();
        let is_known = self.met.iter().any(|met| Some(met.epoch) == epoch);
        let is_admitted =
            is_known && self.last <= epoch && !self.ahead.last().is_some_and(is_within);
        if is_admitted {
            self.last = epoch;
        }
        is_admitted
    }

    /// The epochs that began at or before the end of the walk, but for those that begin right there:
    /// they own what comes next.
    pub(super) fn into_met(self) -> Vec<Epoch> {
        self.met
    }

    fn meet(&mut self, point: &Point) {
        while let Some(next) = self.ahead.pop_if(|next| next.offset <= point.offset) {
            self.met.push(Epoch {
                epoch: next.epoch,
                lineage: next.lineage,
                offset: next.offset,
                ordinal: point.ordinal,
            });
        }
    }
}
