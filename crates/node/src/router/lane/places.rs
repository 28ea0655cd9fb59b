//! Who may take how many of a lane's places.

use super::super::message::{Ask, What};
use super::super::searches::{Searcher, Searches};
use crate::frame_id::FrameId;

/// What a request is to the others on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// The node asks by itself, perhaps in the middle of what it does: nothing that clients send takes its last places.
    Own,
    Produce,
    /// A client asks. That may wait for a disk, or for another node: Produces do not wait behind it.
    Question,
    /// One for where a log begins or ends, which is told from memory: no search, but no more of them than of those.
    End,
    /// One that searches: other questions do not wait behind it either.
    Search(Searcher),
    /// One that tells of a copy: only the core that it goes to knows if it searches, and has a place for that. It does not wait
    /// behind those that do, nor other questions behind it.
    Hear(Searcher),
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
    /// And those that tell of a copy.
    hears: Searches,
}

impl Class {
    /// Of a request, not a Produce, for a client if it has a frame.
    pub(super) fn of(what: &What, frame: Option<FrameId>) -> Self {
        let (What::Ask(ask), Some(_)) = (what, frame) else {
            return frame.map_or(Self::Own, |_| Self::Question);
        };
        match (Searcher::of(ask, frame), &**ask) {
            (Some(by), Ask::Hear { .. }) => Self::Hear(by),
            (Some(by), _) => Self::Search(by),
            (None, Ask::Find { .. }) => Self::End,
            (None, _) => Self::Question,
        }
    }

    /// If a client asks, Produces apart.
    const fn is_question(self) -> bool {
        !matches!(self, Self::Own | Self::Produce)
    }
}

impl Places {
    /// If there is no place for one more, of so many in all.
    pub(super) fn are_full(&self, class: Class, places: usize) -> bool {
        let all_max = match class {
            Class::Own => places,
            _ => places - places / OWN_PART,
        };
        let are_full = match class {
            Class::Own | Class::Produce | Class::Question => false,
            Class::End => self.ends >= searches_max(places),
            Class::Search(by) => self.searches.are_full_for(by, searches_max(places)),
            Class::Hear(by) => self.hears.are_full_for(by, hears_max(places)),
        };
        let are_asked = class.is_question() && self.questions >= questions_max(places);
        are_full || are_asked || self.all >= all_max
    }

    pub(super) fn take(&mut self, class: Class) {
        self.all += 1;
        self.questions += usize::from(class.is_question());
        self.ends += usize::from(class == Class::End);
        if let Some((searches, by)) = self.counted_by(class) {
            searches.begin(by);
        }
    }

    pub(super) fn give_back(&mut self, class: Class) {
        self.all -= 1;
        self.questions -= usize::from(class.is_question());
        self.ends -= usize::from(class == Class::End);
        if let Some((searches, by)) = self.counted_by(class) {
            searches.end(by);
        }
    }

    /// Where it counts among others of who asks it.
    const fn counted_by(&mut self, class: Class) -> Option<(&mut Searches, Searcher)> {
        match class {
            Class::Search(by) => Some((&mut self.searches, by)),
            Class::Hear(by) => Some((&mut self.hears, by)),
            Class::Own | Class::Produce | Class::Question | Class::End => None,
        }
    }
}

/// Of how many places one is the node's own: it asks for little, and is answered soon.
const OWN_PART: usize = 32;

/// How many of so many places clients' questions may take.
const fn questions_max(places: usize) -> usize {
    places - places / 4
}

/// How many of them may be searches, and how many ask for an end of a log.
pub(super) const fn searches_max(places: usize) -> usize {
    questions_max(places).div_ceil(2)
}

/// How many of them may tell of a copy: with as many searches as there may be they leave places to the rest.
const fn hears_max(places: usize) -> usize {
    questions_max(places).div_ceil(4)
}
