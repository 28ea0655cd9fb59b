//! Who may take how many of a lane's places.

use super::super::message::{Ask, What};
use crate::frame_id::FrameId;

/// What a request is to the others on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// A Produce, or the node's own.
    Other,
    /// A client asks. That may wait for a disk, or for another node: Produces do not wait behind it.
    Question,
    /// One that looks for something in a log, for as long as that takes, of which nothing else bounds how many
    /// there are: what has room for its answer, or is kept, does not wait behind it either.
    Search,
}

/// Places that are taken.
#[derive(Debug, Default)]
pub(super) struct Places {
    all: usize,
    /// Those of them that clients ask, Produces apart.
    questions: usize,
    /// And of these the searches.
    searches: usize,
}

impl Class {
    /// Of a request that is answered to who calls, for a client if it has a frame.
    pub(super) fn of(what: &What, frame: Option<FrameId>) -> Self {
        match (frame, what) {
            (None, _) => Self::Other,
            (Some(_), What::Ask(ask)) => match **ask {
                Ask::Find { .. } | Ask::ChainAt { .. } => Self::Search,
                _ => Self::Question,
            },
            (Some(_), _) => Self::Question,
        }
    }
}

impl Places {
    /// If there is no place for one more, of so many in all.
    pub(super) fn is_full(&self, class: Class, places: usize) -> bool {
        let questions = places - places / 4;
        let searches = questions.div_ceil(2);
        self.all >= places
            || (class != Class::Other && self.questions >= questions)
            || (class == Class::Search && self.searches >= searches)
    }

    pub(super) fn take(&mut self, class: Class) {
        self.all += 1;
        self.questions += usize::from(class != Class::Other);
        self.searches += usize::from(class == Class::Search);
    }

    pub(super) fn give_back(&mut self, class: Class) {
        self.all -= 1;
        self.questions -= usize::from(class != Class::Other);
        self.searches -= usize::from(class == Class::Search);
    }
}
