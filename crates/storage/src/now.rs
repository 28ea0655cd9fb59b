//! The time that a log is told.

use corelog_record::Timestamp;

/// The time by two clocks.
///
/// Retention removes what was sealed long ago, for good. A clock that leaps ahead has to be doubted until
/// the leap has proved to be meant; what is sealed meanwhile would be old as soon as it has, if it was
/// written down by the clock that doubts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// What is due goes by this.
    pub time: Timestamp,
    /// Seals are written down with this, which is `time` or later: too late keeps them too long, too early
    /// loses them.
    pub stamp: Timestamp,
}

impl From<Timestamp> for Now {
    /// Of a clock that nobody doubts.
    fn from(time: Timestamp) -> Self {
        Self { time, stamp: time }
    }
}
