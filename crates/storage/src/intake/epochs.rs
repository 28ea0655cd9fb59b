//! Where in a segment epochs begin.

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
}

/// Whether a log can have the epochs `began`, oldest first: numbers rise, offsets do not fall.
pub(super) fn are_in_order(began: &[Began]) -> bool {
    began.is_sorted_by(|one, next| one.epoch < next.epoch && one.offset <= next.offset)
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
        };
        epochs.meet(base);
        epochs
    }

    /// Whether `batch`, which begins at `point`, carries the epoch that it has to: the one that began
    /// last by then, as recovery asks for it. An epoch that begins within a batch is none.
    pub(super) fn admit(&mut self, point: &Point, batch: &View<'_>) -> bool {
        self.meet(point);
        let is_within = |next: &Began| next.offset < batch.next_offset();
        let ruling = self.met.last().map(|met| met.epoch);
        ruling.is_some() && ruling == batch.epoch() && !self.ahead.last().is_some_and(is_within)
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
