//! Whether a log has anything left to do, and when time will give it something.

use corelog_record::Timestamp;

use super::Log;
use crate::disk::Dir;
use crate::segment::{Segment, Stage};

/// When a segment was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealTime {
    /// Then.
    Known(Timestamp),
    /// By a clock that was ahead: it is not known before this time has come.
    Doubted(Timestamp),
}

impl<D: Dir> Log<D> {
    /// Whether nothing is left to do but what is asked for or falls due: nothing pending, in flight or
    /// under way, every rolled segment sealed, none left below the log start, the mark written and synced
    /// as far as it may tell, the manifest told of what was found. Nothing is ever left to do for a fenced log.
    pub fn is_settled(&self) -> bool {
        if self.is_fenced() {
            return true;
        }
        let is_busy = self.in_flight_bytes > 0 || self.chore.is_some() || self.is_full();
        let is_marked = self.is_mark_held()
            || (self.marked.is_synced && self.durable.ordinal == self.marked.ordinal);
        let is_marked = is_marked && self.is_heard_marked();
        let before = self.segments.len().saturating_sub(2);
        // Segments are sealed in order: the one before the active one is the last to be.
        let is_sealed = self.segments.get(before).is_none_or(|segment| {
            matches!(
                segment.stage,
                Stage::Sealed(_) | Stage::Active | Stage::Damaged
            )
        });
        let is_told = self.unwritten.is_empty() && self.scrub.unwritten.is_none();
        let is_idle = !is_busy && is_told && self.pending_bytes() == 0;
        let is_sealed = is_sealed && !self.is_any_left_below();
        is_idle && is_marked && is_sealed && self.garbage.is_empty() && self.index_checks.get() == 0
    }

    /// Rolls the active segment if it is older than the options allow, or damaged. Returns whether it
    /// did. A follower rolls where its source did, and never by itself.
    pub fn roll_if_due(&mut self, now: Timestamp) -> bool {
        let is_due = self.roll_at().is_some_and(|roll_at| roll_at <= now);
        let is_due = is_due && !self.is_end_held() && !self.is_sealing_behind();
        if is_due {
            self.roll();
        }
        is_due
    }

    /// When the active segment is to be rolled because of its age, if it will be. One that is damaged is
    /// due at once: sealed, it says what it held, and a peer's can take its place.
    pub fn roll_at(&self) -> Option<Timestamp> {
        let active = self.active();
        let born = active.born.filter(|_| !active.is_empty())?;
        // Rolling ends in a cut to the length, and damage is never cut.
        let is_held = self.is_fenced() || self.read_only_from.is_some() || self.is_follower();
        if is_held {
            return None;
        }
        if !self.damage.of(active.base.offset).is_empty() {
            return Some(born);
        }
        let age_max = self.options.segment_age_max_ms?;
        Some(born.saturating_add_millis(age_max))
    }

    /// When the oldest segment was sealed; it is the first to expire. [`SealTime::Doubted`] if all were in the
    /// future.
    pub fn oldest_seal(&self) -> Option<SealTime> {
        if let Some(sealed) = self.seal_time_at(0) {
            return Some(SealTime::Known(sealed));
        }
        let sealed = self.segments.iter().filter_map(Segment::seal_time);
        sealed.min().map(SealTime::Doubted)
    }
}
