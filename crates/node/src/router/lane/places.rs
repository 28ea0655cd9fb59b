//! Who may take how many of a lane's places.

use super::super::message::{Ask, What};
use super::super::searches::{Searcher, Searches};
use crate::frame_id::FrameId;

/// What a request is to the others on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// A Produce, or the node's own.
    Other,
    /// A client asks. That may wait for a disk, or for another node: Produces do not wait behind it.
    Question,
    /// One for where a log begins or ends, which is told from memory: no search, but no more of them than of those.
    End,
    /// One that searches: other questions do not wait behind it either.
    Search(Searcher),
}

/// Places that are taken.
#[derive(Debug, Default)]
pub(super) struct Places {
    all: usize,
    /// Those of them that clients ask, Produces apart.
    questions: usize,
    /// Of these those for an end of a log.
    ends: usize,
    /// And of these the searches.
    searches: Searches,
}

impl Class {
    /// Of a request that is answered to who calls, for a client if it has a frame.
    pub(super) fn of(what: &What, frame: Option<FrameId>) -> Self {
        let (What::Ask(ask), Some(_)) = (what, frame) else {
            return frame.map_or(Self::Other, |_| Self::Question);
        };
        match (Searcher::of(ask, frame), &**ask) {
            (Some(by), _) => Self::Search(by),
            (None, Ask::Find { .. }) => Self::End,
            (None, _) => Self::Question,
        }
    }
}

impl Places {
    /// If there is no place for one more, of so many in all.
    pub(super) fn are_full(&self, class: Class, places: usize) -> bool {
        let is_question = class != Class::Other;
        let are_full = match class {
            Class::Other | Class::Question => false,
            Class::End => self.ends >= searches_max(places),
            Class::Search(by) => self.searches.are_full_for(by, searches_max(places)),
        };
        are_full || (is_question && self.questions >= questions_max(places)) || self.all >= places
    }

    pub(super) fn take(&mut self, class: Class) {
        self.all += 1;
        self.questions += usize::from(class != Class::Other);
        self.ends += usize::from(class == Class::End);
        if let Class::Search(by) = class {
            self.searches.begin(by);
        }
    }

    pub(super) fn give_back(&mut self, class: Class) {
        self.all -= 1;
        self.questions -= usize::from(class != Class::Other);
        self.ends -= usize::from(class == Class::End);
        if let Class::Search(by) = class {
            self.searches.end(by);
        }
    }
}

/// How many of so many places clients' questions may take.
const fn questions_max(places: usize) -> usize {
    places - places / 4
}

/// How many of them may be searches, and how many ask for an end of a log.
pub(super) const fn searches_max(places: usize) -> usize {
    questions_max(places).div_ceil(2)
}
