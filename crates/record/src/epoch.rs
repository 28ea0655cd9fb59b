//! The leader epoch: which ownership of a partition wrote a batch.

use serde::{Deserialize, Serialize};

/// Counts the ownerships of a partition; stamped into every batch on append. Never negative.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "i32", into = "i32")]
pub struct LeaderEpoch(i32);

/// A negative leader epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("leader epoch {found} is negative")]
pub struct LeaderEpochError {
    /// The number found.
    pub found: i32,
}

impl LeaderEpoch {
    /// The epoch of a partition's first owner.
    pub const ZERO: Self = Self(0);

    /// The epoch of this number, or `None` if it is negative.
    pub const fn new(value: i32) -> Option<Self> {
        if value >= 0 { Some(Self(value)) } else { None }
    }

    /// The epoch as a number, zero or more.
    pub const fn get(self) -> i32 {
        self.0
    }

    /// The epoch after this one, or `None` after the last.
    pub const fn checked_next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// The epoch after this one.
    ///
    /// # Panics
    /// After `i32::MAX` ownerships; use [`checked_next`](Self::checked_next) for an epoch that came
    /// from outside.
    #[must_use]
    pub const fn next(self) -> Self {
        match self.checked_next() {
            Some(next) => next,
            None => panic!("leader epoch overflows"),
        }
    }
}

impl std::fmt::Display for LeaderEpoch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<i32> for LeaderEpoch {
    type Error = LeaderEpochError;

    fn try_from(value: i32) -> Result<Self, Self::Error> {
        Self::new(value).ok_or(LeaderEpochError { found: value })
    }
}

impl From<LeaderEpoch> for i32 {
    fn from(epoch: LeaderEpoch) -> i32 {
        epoch.0
    }
}

#[cfg(test)]
mod tests {
    use super::LeaderEpoch;

    #[test]
    fn an_epoch_is_never_negative_and_counts_up() {
        assert_eq!(LeaderEpoch::new(-1), None);
        assert_eq!(LeaderEpoch::ZERO.next().get(), 1);
        assert_eq!(LeaderEpoch(i32::MAX).checked_next(), None);
    }
}
