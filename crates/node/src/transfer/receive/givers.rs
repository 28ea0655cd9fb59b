//! Who gave what is there of a segment.

use corelog_storage::disk::Dir;
use corelog_storage::intake::Intake;

/// The sources that gave what is there of a segment.
pub(super) struct Givers {
    /// Whether an earlier order left some of it, whose sources nobody remembers.
    is_some_left: bool,
    sources: Vec<usize>,
}

impl Givers {
    /// Those of what an intake begins with.
    pub(super) fn of<D: Dir>(intake: &Intake<D>) -> Self {
        Self {
            is_some_left: 0 < intake.resumed_bytes(),
            sources: Vec::new(),
        }
    }

    pub(super) fn note(&mut self, source: usize) {
        if !self.sources.contains(&source) {
            self.sources.push(source);
        }
    }

    /// Whether nobody but `source` gave anything.
    pub(super) fn are_none_but(&self, source: usize) -> bool {
        !self.is_some_left && self.sources.iter().all(|giver| *giver == source)
    }

    /// The one that gave all of it.
    pub(super) fn only(&self) -> Option<usize> {
        match self.sources[..] {
            [only] if !self.is_some_left => Some(only),
            _ => None,
        }
    }
}
