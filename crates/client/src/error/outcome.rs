//! What became of a request that failed.

use std::fmt;

/// What a failed request did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Nothing: it may be asked again.
    NotApplied,
    /// Nobody knows: asking again may do it twice. What has reached the server's machine, or is on its way, may still be
    /// applied for a moment after this was told.
    Unknown,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NotApplied => "not applied",
            Self::Unknown => "outcome unknown",
        })
    }
}
