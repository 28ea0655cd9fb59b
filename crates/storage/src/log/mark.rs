//! What the mark on disk says, and what it should say.

use corelog_record::{LeaderEpoch, Ordinal, Timestamp};

use super::Log;
use super::work::MarkWork;
use crate::Error;
use crate::disk::Dir;
use crate::format::mark::Slot;
use crate::manifest::Manifest;
use crate::mark::Mark;
use crate::planted::{self, Bug};

/// What the last mark said.
#[derive(Debug, Clone, Copy)]
pub(super) struct Marked {
    /// The durable ordinal in it.
    pub(super) ordinal: Ordinal,
    /// The durable bytes since opening that it covers.
    pub(super) total: u64,
    /// When it was written.
    pub(super) time: Timestamp,
    /// When one was made durable by itself.
    pub(super) synced_at: Timestamp,
    /// Whether it is durable itself.
    pub(super) is_synced: bool,
    /// Whether it says that the log was closed in order. As long as it does, no store is written to, nor the manifest.
    pub(super) is_clean: bool,
    /// The highest epoch of another copy that was heard of since opening, which it is to say as well.
    pub(super) heard: Option<LeaderEpoch>,
    /// Before this it is not written again: the last time it found no space or no descriptor, which others make.
    pub(super) retry_at: Timestamp,
}

impl Marked {
    /// Notes a mark that was written.
    pub(super) fn note<D: Dir>(&mut self, work: &MarkWork<D>, now: Timestamp) {
        self.ordinal = work.slot.ordinal;
        self.is_clean &= work.slot.is_clean;
        self.total = work.total;
        self.time = now;
        self.is_synced = work.is_synced;
        if work.is_synced {
            self.synced_at = now;
        }
    }

    /// Notes a mark that a change of the log's end made durable: it tells of all that is.
    pub(super) fn note_durable(&mut self, ordinal: Ordinal, total: u64) {
        (self.ordinal, self.total) = (ordinal, total);
        (self.is_clean, self.is_synced) = (false, true);
    }
}

/// The mark, as a plan takes it along that changes other files; none if it needs none.
pub(crate) struct TakenMark<D: Dir> {
    pub(crate) mark: Option<Mark<D>>,
    /// What it is to say before anything is changed, if it says something else: a clean one would vouch for an edit whose
    /// sync failed.
    pub(crate) first: Option<Slot>,
}

impl<D: Dir> TakenMark<D> {
    /// Has it say that.
    ///
    /// # Errors
    /// As for [`Mark::write`].
    pub(crate) async fn say_first(&mut self) -> Result<(), Error> {
        match (&mut self.mark, self.first) {
            (Some(mark), Some(slot)) => mark.write_durably(slot).await,
            _ => Ok(()),
        }
    }
}

impl<D: Dir> Log<D> {
    /// What a clean mark is to say before anything is changed; `None` if it is not clean.
    pub(super) fn unset_slot(&self) -> Option<Slot> {
        // The present slot says that it is not clean.
        let is_clean = self.marked.is_clean && !planted::is(Bug::StaleCleanMark);
        is_clean.then(|| self.slot())
    }

    /// What the mark is to say before the manifest forgets epochs: that they were used, if it does not; `None` if it does.
    pub(super) fn used_slot(&self) -> Option<Slot> {
        let last = *self.mark.get().and_then(Mark::last)?;
        (last.epoch < self.epoch_used).then_some(Slot {
            epoch: self.epoch_used,
            is_clean: false,
            ..last
        })
    }

    /// Takes along what an edit of the manifest needs; `None` while another plan has something of it. A clean mark is unset
    /// before: as long as there is one, no store and no manifest is written to, so who finds it need not wait for what a
    /// killed process may have left on its way.
    pub(super) fn take_for_edit(&mut self) -> Option<(Manifest<D>, TakenMark<D>)> {
        let first = self.unset_slot();
        let is_here = self.manifest.is_here() && (first.is_none() || self.mark.is_here());
        if !is_here {
            return None;
        }
        let mark = first.and_then(|_| self.mark.take());
        Some((self.manifest.take()?, TakenMark { mark, first }))
    }

    /// Takes both back from a plan that may have unset a clean mark, or had it say less before a change that did not come.
    pub(super) fn give_back(&mut self, manifest: Option<Manifest<D>>, mark: Option<Mark<D>>) {
        self.return_manifest(manifest);
        if let Some(last) = mark.as_ref().and_then(Mark::last) {
            self.marked.is_clean &= last.is_clean;
            self.marked.ordinal = self.marked.ordinal.min(last.ordinal);
        }
        self.mark.give_back(mark);
    }

    /// Whether the mark says what epochs were heard of, or is to stay as it is.
    pub(super) fn is_heard_marked(&self) -> bool {
        let last = self.mark.get().and_then(Mark::last);
        self.read_only_from.is_some() || last.is_none_or(|slot| self.marked.heard <= slot.epoch)
    }

    /// Whether the mark says how old the active segment is, or is to stay as it is.
    pub(super) fn is_age_marked(&self) -> bool {
        let last = self.mark.get().and_then(Mark::last);
        let is_ageless = self.read_only_from.is_some() || self.active().is_empty();
        is_ageless || last.is_none_or(|slot| slot.born == self.slot().born)
    }

    /// Whether the disk did not give all of the store in which the log ends: what an opening stepped over of it was not written
    /// again, and the mark vouches for no more of it than before.
    pub(super) fn is_end_unread(&self) -> bool {
        let mut unread = self.unread.iter();
        unread.any(|unread| unread.segment == self.durable_segment)
    }

    /// What a mark written now says; as long as the disk did not give all of the store in which the log ends, what the last
    /// one did.
    pub(super) fn slot(&self) -> Slot {
        let is_unread = self.is_end_unread();
        let last = self.mark.get().and_then(Mark::last);
        if let Some(last) = last.filter(|_| is_unread) {
            return Slot {
                is_clean: false,
                epoch: self.epoch_used,
                ..*last
            };
        }
        let segment = self.segment_of(self.durable_segment);
        let durable = if is_unread {
            segment.base
        } else {
            self.durable
        };
        let segment = Some(segment).filter(|segment| segment.base.offset == self.durable_segment);
        let header = self.header(self.identity.history);
        let generation = segment.map_or(0, |segment| segment.generation);
        Slot {
            epoch: self.epoch_used,
            born: segment.and_then(|segment| segment.born),
            ..durable.slot(&header, (self.durable_segment, generation))
        }
    }
}
