//! Who may take how many of a lane's places.

use std::collections::BTreeMap;
use std::net::SocketAddr;

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
    /// there are: what has room for its answer, or is kept, does not wait behind it either. Of the connection from there.
    Search(SocketAddr),
}

/// Places that are taken.
#[derive(Debug, Default)]
pub(super) struct Places {
    all: usize,
    /// Those of them that clients ask, Produces apart.
    questions: usize,
    /// And of these the searches, by connection.
    searches: BTreeMap<SocketAddr, usize>,
}

impl Class {
    /// Of a request that is answered to who calls, for a client if it has a frame.
    pub(super) fn of(what: &What, frame: Option<FrameId>) -> Self {
        match (frame, what) {
            (None, _) => Self::Other,
            (Some(frame), What::Ask(ask)) => match **ask {
                Ask::Find { .. } | Ask::ChainAt { .. } => Self::Search(frame.peer),
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
        self.all >= places
            || (class != Class::Other && self.questions >= questions)
            || matches!(class, Class::Search(from) if self.is_full_for(from, questions.div_ceil(2)))
    }

    /// If a connection may have no more searches under way, of so many in all: it leaves as many places free as it has. Alone
    /// it gets half of them, and who comes behind any number of others finds one ("Dynamic Queue Length Thresholds", Choudhury
    /// and Hahne, 1998).
    fn is_full_for(&self, from: SocketAddr, searches: usize) -> bool {
        let free = searches.saturating_sub(self.searches.values().sum());
        let held = self.searches.get(&from).copied().unwrap_or(0);
        free <= held
    }

    pub(super) fn take(&mut self, class: Class) {
        self.all += 1;
        self.questions += usize::from(class != Class::Other);
        if let Class::Search(from) = class {
            *self.searches.entry(from).or_default() += 1;
        }
    }

    pub(super) fn give_back(&mut self, class: Class) {
        self.all -= 1;
        self.questions -= usize::from(class != Class::Other);
        if let Class::Search(from) = class
            && let Some(held) = self.searches.get_mut(&from)
        {
            *held -= 1;
            if *held == 0 {
                self.searches.remove(&from);
            }
        }
    }
}
