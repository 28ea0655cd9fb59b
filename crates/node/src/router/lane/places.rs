//! Who may take how many of a lane's places.

use super::super::message::What;
use super::super::searches::{Searcher, Searches};
use crate::frame_id::FrameId;

/// What a request is to the others on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// A Produce, or the node's own.
    Other,
    /// A client asks. That may wait for a disk, or for another node: Produces do not wait behind it.
    Question,
    /// One that searches: other questions do not wait behind it either.
    Search(Searcher),
}

/// Places that are taken.
#[derive(Debug, Default)]
pub(super) struct Places {
    all: usize,
    /// Those of them that clients ask, Produces apart.
    questions: usize,
    /// And of these the searches.
    searches: Searches,
}

impl Class {
    /// Of a request that is answered to who calls, for a client if it has a frame.
    pub(super) fn of(what: &What, frame: Option<FrameId>) -> Self {
        let by = match what {
            What::Ask(ask) => Searcher::of(ask, frame),
            _ => None,
        };
        match (by, frame) {
            (Some(by), _) => Self::Search(by),
            (None, Some(_)) => Self::Question,
            (None, None) => Self::Other,
        }
    }
}

impl Places {
    /// If there is no place for one more, of so many in all.
    pub(super) fn are_full(&self, class: Class, places: usize) -> bool {
        let are_full = match class {
            Class::Other => false,
            Class::Question => self.questions >= questions_max(places),
            Class::Search(by) => {
                self.questions >= questions_max(places)
                    || self.searches.are_full_for(by, searches_max(places))
            }
        };
        are_full || self.all >= places
    }

    pub(super) fn take(&mut self, class: Class) {
        self.all += 1;
        self.questions += usize::from(class != Class::Other);
        if let Class::Search(by) = class {
            self.searches.begin(by);
        }
    }

    pub(super) fn give_back(&mut self, class: Class) {
        self.all -= 1;
        self.questions -= usize::from(class != Class::Other);
        if let Class::Search(by) = class {
            self.searches.end(by);
        }
    }
}

/// How many of so many places clients' questions may take.
const fn questions_max(places: usize) -> usize {
    places - places / 4
}

/// How many of them may be searches.
pub(super) const fn searches_max(places: usize) -> usize {
    questions_max(places).div_ceil(2)
}
