//! How far a follower is, and what it last heard of its source.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Instant;

use corelog_protocol::message::replica_status::{Dropped, State};
use corelog_record::Offset;
use corelog_storage::format::edit::Seal;

use crate::failure::Failure;
use crate::rt;
use crate::transfer::{self, Done};

/// Sources that failed that are told of.
const DROPPED_MAX: usize = 8;

/// What is known of one follower's way.
#[derive(Debug)]
pub(crate) struct Progress {
    pub(super) state: Cell<State>,
    /// The source that is asked now, or was last.
    pub(super) source: RefCell<Option<String>>,
    /// Why it stopped, or waits.
    pub(super) trouble: RefCell<Option<Failure>>,
    pub(super) heard: Cell<Option<Heard>>,
    /// When the owner last gave a sign of life, by way of the source if that is a copy, or was first asked for one.
    alive_at: Cell<Instant>,
    /// The source is the owner.
    is_by_owner: Cell<bool>,
    /// Segments that are received just now.
    pub(super) copying: RefCell<Option<Arc<transfer::Progress>>>,
    /// What was taken in before, since it began.
    copied: Cell<Copied>,
    /// Sources that failed, the last one first.
    pub(super) dropped: RefCell<Vec<Dropped>>,
    /// When it last had all that its source had.
    level_at: Cell<Option<Instant>>,
    /// When segments were last taken in, or it began.
    came_at: Cell<Instant>,
    /// It had nothing when it first heard its source.
    is_first: Cell<Option<bool>>,
}

/// Segments that are in the log.
#[derive(Debug, Clone, Copy, Default)]
struct Copied {
    bytes: u64,
    segments: u64,
}

/// What a source said last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heard {
    pub(super) at: Instant,
    /// Its high watermark.
    pub(super) end: Offset,
    /// Bytes between the follower's end and that.
    pub(super) lag_bytes: u64,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            state: Cell::new(State::Waiting),
            source: RefCell::default(),
            trouble: RefCell::default(),
            heard: Cell::new(None),
            alive_at: Cell::new(rt::now()),
            is_by_owner: Cell::new(false),
            copying: RefCell::default(),
            copied: Cell::default(),
            dropped: RefCell::default(),
            level_at: Cell::new(None),
            came_at: Cell::new(rt::now()),
            is_first: Cell::new(None),
        }
    }

    /// Whether the log has anything, before it takes from its source.
    pub(super) fn begin(&self, has_files: bool) {
        if self.is_first.get().is_none() {
            self.is_first.set(Some(!has_files));
        }
    }

    /// Since when it has not had all that its source has. `None` while a first copy comes as files: how long that takes says
    /// how much there is, not that it falls behind.
    pub(super) fn behind_since(&self) -> Option<Instant> {
        let is_coming = self.state.get() == State::Copying && self.is_first.get() == Some(true);
        match self.level_at.get() {
            None if is_coming => None,
            at => at.or(Some(self.came_at.get())),
        }
    }

    /// The source's end when it was last heard, and how many milliseconds ago that was.
    pub(super) fn heard(&self) -> Option<(Offset, u64)> {
        let heard = self.heard.get()?;
        let ago = rt::now().saturating_duration_since(heard.at);
        Some((heard.end, rt::millis(ago)))
    }

    /// Since when nothing was heard of a source that is to be heard, also where the copy has stopped: if it was level then, nothing
    /// else tells of that. `None` once all is here that was
    /// asked for, and while segments come as files: a source that gives nothing ends that.
    pub(super) fn silent_since(&self) -> Option<Instant> {
        match self.state.get() {
            State::Done | State::Copying => None,
            _ => Some(self.alive_at.get()),
        }
    }

    /// The source answered.
    pub(super) fn hear(&self, end: Offset, lag_bytes: u64) {
        self.live();
        let at = rt::now();
        self.heard.set(Some(Heard { at, end, lag_bytes }));
        *self.trouble.borrow_mut() = None;
    }

    /// When the owner was last heard by way of the source, if that is a copy: two that follow each other hear each other alone.
    pub(super) fn owner_heard(&self) -> Option<Instant> {
        (!self.is_by_owner.get()).then(|| self.alive_at.get())
    }

    /// The source told when it last heard of the owner, or that it is that itself.
    pub(super) fn hear_owner(&self, at: Option<Instant>, is_source: bool) {
        self.is_by_owner.set(is_source);
        let latest = at.map_or(self.alive_at.get(), |at| self.alive_at.get().max(at));
        self.alive_at.set(latest);
    }

    /// The source gives a sign of life, and so does the owner if it is that.
    fn live(&self) {
        if self.is_by_owner.get() {
            self.alive_at.set(rt::now());
        }
    }

    /// No segments are received any more, and of those that were these are in the log.
    pub(super) fn arrived(&self, installed: &[Seal]) {
        let before = self.copied.get();
        let bytes: u64 = installed.iter().map(|seal| seal.digest.bytes).sum();
        self.copied.set(Copied {
            bytes: before.bytes + bytes,
            segments: before.segments + installed.len() as u64,
        });
        if !installed.is_empty() {
            self.came_at.set(rt::now());
        }
        if let Some(heard) = self.heard.get() {
            let lag_bytes = heard.lag_bytes.saturating_sub(bytes);
            self.heard.set(Some(Heard { lag_bytes, ..heard }));
        }
        *self.copying.borrow_mut() = None;
        self.live();
    }

    /// How many bytes and segments were received, and how many there are to receive.
    pub(super) fn received(&self) -> Done {
        let Copied { bytes, segments } = self.copied.get();
        let copying = self.copying.borrow();
        let now = copying.as_ref().map_or(Done::default(), |now| now.done());
        Done {
            bytes: bytes + now.bytes,
            bytes_total: bytes + now.bytes_total,
            segments: segments + now.segments,
            segments_total: segments + now.segments_total,
        }
    }

    /// All below `durable` is here, durably.
    pub(super) fn reach(&self, durable: Offset) {
        if self.heard.get().is_some_and(|heard| heard.end <= durable) {
            self.level_at.set(Some(rt::now()));
        }
    }

    /// A source failed in a way that another one may not.
    pub(super) fn drop_source(&self, source: &str, why: Failure) {
        let mut dropped = self.dropped.borrow_mut();
        dropped.retain(|known| known.from != source);
        let (from, error) = (source.to_owned(), *why);
        dropped.insert(0, Dropped { from, error });
        dropped.truncate(DROPPED_MAX);
    }

    /// Nothing goes on for now, or for good.
    pub(super) fn fail(&self, state: State, why: Failure) {
        self.state.set(state);
        *self.trouble.borrow_mut() = Some(why);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::files::seal_of;
    use super::super::samples::sealed;
    use super::*;

    #[test]
    fn a_source_is_silent_only_while_it_is_to_be_heard() {
        let progress = Progress::new();
        let begun = progress.silent_since().unwrap();
        progress.hear_owner(None, true);
        progress.hear(Offset::ZERO, 0);
        let heard = progress.silent_since().unwrap();
        assert!(begun <= heard);
        progress.state.set(State::Copying);
        assert_eq!(progress.silent_since(), None, "segments take their time");
        progress.state.set(State::Stopped);
        assert_eq!(progress.silent_since(), Some(heard), "it hears no more");
        progress.state.set(State::Done);
        assert_eq!(progress.silent_since(), None);
    }

    /// Each clone of more than a few minutes was told as a replica that does not keep up.
    #[test]
    fn a_first_copy_is_not_behind_while_it_comes_as_files() {
        let first = Progress::new();
        let begun = first.behind_since();
        assert!(
            begun.is_some(),
            "nothing has come, from whomever it is asked"
        );
        first.begin(false);
        first.state.set(State::Copying);
        assert_eq!(first.behind_since(), None);
        first.arrived(&[seal_of(&sealed(0, 9, 100)).unwrap()]);
        first.begin(true);
        assert_eq!(first.behind_since(), None);
        first.state.set(State::Following);
        let came = first.behind_since();
        assert!(begun <= came, "it counts from the last that came: {came:?}");
        first.hear(Offset::ZERO, 0);
        first.reach(Offset::ZERO);
        first.state.set(State::Copying);
        assert!(came <= first.behind_since(), "it was level, and is behind");
        // One that has some, and does not come level, is behind whichever way the rest comes.
        let later = Progress::new();
        later.begin(true);
        later.state.set(State::Copying);
        assert!(later.behind_since().is_some());
    }

    /// Two copies that named each other as their second source followed each other, and were level, while the owner went
    /// on without them.
    #[test]
    fn who_hears_copies_alone_hears_the_owner_when_they_did() {
        let progress = Progress::new();
        let begun = progress.silent_since().unwrap();
        progress.hear_owner(None, false);
        progress.hear(Offset::ZERO, 0);
        assert_eq!(progress.silent_since(), Some(begun));
        let later = begun + Duration::from_secs(1);
        progress.hear_owner(Some(later), false);
        progress.hear_owner(Some(begun), false);
        progress.hear(Offset::ZERO, 0);
        assert_eq!(progress.silent_since(), Some(later));
        assert_eq!(progress.owner_heard(), Some(later));
        progress.hear_owner(Some(later), true);
        assert_eq!(progress.owner_heard(), None);
    }
}
