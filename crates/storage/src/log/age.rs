//! What time gives a log to do: when its active segment rolls, since when its oldest one is sealed.

use corelog_record::Timestamp;

use super::Log;
use crate::disk::Dir;
use crate::segment::Segment;

/// When a segment was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealTime {
    /// Then.
    Known(Timestamp),
    /// By a clock that was ahead: it is not known before this time has come.
    Doubted(Timestamp),
}

impl<D: Dir> Log<D> {
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
