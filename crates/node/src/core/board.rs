//! What one partition tells all who wait for its disk: up to where it is durable, and when those
//! who wait for more wait in vain. One store per flush, however many wait. What it tells never moves
//! back: a log whose end is cut gets another board.

use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::collections::binary_heap::{BinaryHeap, PeekMut};
use std::rc::Rc;

use corelog_record::Offset;

use super::calls::Caller;
use super::slowest::Flushing;

/// So many flushes are remembered: most acknowledgements leave in the turn in which theirs ends.
const FLUSHES_KEPT: usize = 4;

/// Why an acknowledgement will not come although the records were appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Void {
    /// A write or sync failed; the partition is fenced.
    Fenced,
    /// The disk is full, or no descriptor is left; the records stay in memory and go out when there is room.
    Full,
    /// The partition was closed, or went away with its topic, or the end of its log was cut.
    Closed,
}

/// What came of waiting for an offset to be durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All below the offset is on disk.
    Durable,
    /// Nobody knows.
    Unknown(Void),
}

/// One partition's board, from one opening of its log, or cut of its end, to the next.
#[derive(Debug, Default)]
pub(crate) struct Board {
    durable: Cell<Offset>,
    /// One entry per time that waiting became vain: up to where it was not, and why.
    voids: RefCell<Vec<(Offset, Void)>>,
    /// Whether anybody began to wait since the last of them.
    is_seen: Cell<bool>,
    watchers: RefCell<BinaryHeap<Watcher>>,
    /// The flush that has just ended.
    landed: Cell<Option<Flushing>>,
    /// What the last flushes made durable, up to where.
    flushes: RefCell<VecDeque<(Offset, Flushing)>>,
    /// Of what ends no further it is forgotten which flush made it durable.
    forgotten: Cell<Offset>,
}

/// What somebody waits for of a board.
#[derive(Debug)]
pub(crate) struct Watched {
    board: Rc<Board>,
    upto: Offset,
    seen: Seen,
}

/// Who waits for all below an offset.
#[derive(Debug)]
struct Watcher {
    upto: Offset,
    caller: Caller,
}

/// The lowest offset is the greatest: it leaves the heap first.
impl Ord for Watcher {
    fn cmp(&self, other: &Self) -> Ordering {
        other.upto.cmp(&self.upto)
    }
}

impl PartialOrd for Watcher {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Eq for Watcher {}

impl PartialEq for Watcher {
    fn eq(&self, other: &Self) -> bool {
        self.upto == other.upto
    }
}

/// How often waiting had become vain when somebody began to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen(usize);

impl Board {
    /// The board of a log that is durable up to there.
    pub(super) fn at(durable: Offset) -> Rc<Self> {
        let board = Self::default();
        board.durable.set(durable);
        Rc::new(board)
    }

    pub(crate) fn seen(&self) -> Seen {
        self.is_seen.set(true);
        Seen(self.voids.borrow().len())
    }

    /// What came of waiting for `end`, begun at `seen`; None while it goes on.
    pub(crate) fn outcome(&self, end: Offset, seen: Seen) -> Option<Outcome> {
        if let Some((durable, void)) = self.voids.borrow().get(seen.0) {
            let is_durable = end <= *durable;
            return Some(if is_durable {
                Outcome::Durable
            } else {
                Outcome::Unknown(*void)
            });
        }
        (end <= self.durable.get()).then_some(Outcome::Durable)
    }

    /// Why records that end at `end`, appended at `seen`, are given up, if they are. What finds no room
    /// stays in memory.
    pub(crate) fn given_up(&self, end: Offset, seen: Seen) -> Option<Void> {
        let voids = self.voids.borrow();
        let is_it = |(durable, void): &&(Offset, Void)| *durable < end && *void != Void::Full;
        voids.iter().skip(seen.0).find(is_it).map(|(_, void)| *void)
    }

    /// What came of waiting for `upto`, begun at `seen`. While it goes on, `caller` calls once it is
    /// known; `watched` keeps what was last asked for, so that asking twice does not add up.
    pub(crate) fn outcome_or_watch(
        self: &Rc<Self>,
        caller: Caller,
        (upto, seen): (Offset, Seen),
        watched: &mut Option<Watched>,
    ) -> Option<Outcome> {
        let outcome = self.outcome(upto, seen);
        let is_watched = watched.as_ref().is_some_and(|watched| {
            let last = (watched.upto, watched.seen);
            Rc::ptr_eq(&watched.board, self) && last == (upto, seen)
        });
        if outcome.is_none() && !is_watched {
            let board = Rc::clone(self);
            *watched = Some(Watched { board, upto, seen });
            self.watchers.borrow_mut().push(Watcher { upto, caller });
        }
        outcome
    }

    /// A flush has ended; what it made durable is told next, if it did.
    pub(super) fn landed(&self, flush: Flushing) {
        self.landed.set(Some(flush));
    }

    /// The flush that made what ends at `end` durable, if that was lately.
    pub(super) fn flush_of(&self, end: Offset) -> Option<Flushing> {
        let flushes = self.flushes.borrow();
        let covers = |(durable, _): &&(Offset, Flushing)| end <= *durable;
        // Of those that are remembered the first would be another's.
        let mut known = flushes.iter().filter(|_| self.forgotten.get() < end);
        known.find(covers).map(|(_, flush)| *flush)
    }

    /// All below `durable` is on disk.
    pub(super) fn advance(&self, durable: Offset) {
        assert!(
            self.durable.get() <= durable,
            "durable moved back on its board"
        );
        self.durable.set(durable);
        if let Some(flush) = self.landed.take() {
            let mut flushes = self.flushes.borrow_mut();
            if flushes.len() == FLUSHES_KEPT
                && let Some((durable, _)) = flushes.pop_front()
            {
                self.forgotten.set(durable);
            }
            flushes.push_back((durable, flush));
        }
        while let Some(watcher) = self.next_watcher(durable) {
            watcher.call();
        }
    }

    /// One who waits for no more than all below `durable`.
    fn next_watcher(&self, durable: Offset) -> Option<Caller> {
        let mut watchers = self.watchers.borrow_mut();
        let lowest = watchers.peek_mut()?;
        (lowest.upto <= durable).then(|| PeekMut::pop(lowest).caller)
    }

    /// Forgets when waiting was vain, if nobody holds the board who began to wait before: a disk that is full again and
    /// again adds to that for as long as a log is open.
    pub(super) fn forget_voids(board: &mut Rc<Self>) {
        if let Some(board) = Rc::get_mut(board) {
            board.voids.get_mut().clear();
        }
    }

    /// Waiting for more than what is durable is vain from now on.
    pub(super) fn void(&self, void: Void) {
        let last = self.voids.borrow().last().map(|(_, last)| *last);
        let gives_up = last == Some(Void::Full) && void != Void::Full;
        // Where nobody waits, nobody asks for it: a disk that stays full adds nothing.
        if self.is_seen.take() || gives_up {
            self.voids.borrow_mut().push((self.durable.get(), void));
        }
        for watcher in self.watchers.take() {
            watcher.caller.call();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, poll_once};

    use super::super::calls::Calls;
    use super::*;
    use crate::rt::Notify;

    fn offset(n: u64) -> Offset {
        Offset::ZERO.plus(n)
    }

    #[test]
    fn an_outcome_comes_with_the_sync_that_covers_it() {
        let board = Board::default();
        let seen = board.seen();
        board.advance(offset(4));
        assert_eq!(board.outcome(offset(4), seen), Some(Outcome::Durable));
        assert_eq!(board.outcome(offset(5), seen), None);
    }

    #[test]
    fn the_flush_that_covers_an_offset_is_told_while_it_is_remembered() {
        let board = Board::default();
        let begun = crate::rt::now();
        let flush = |number: u64| {
            let at = begun + std::time::Duration::from_secs(number);
            Flushing {
                began: at,
                ended: at,
            }
        };
        for number in 1..=8 {
            board.landed(flush(number));
            board.advance(offset(10 * number));
        }
        let began = |end| board.flush_of(offset(end)).map(|flush| flush.began);
        assert_eq!(began(65), Some(flush(7).began));
        assert_eq!(began(70), Some(flush(7).began));
        assert_eq!(began(81), None);
        assert_eq!(began(41), Some(flush(5).began));
        assert_eq!(began(40), None, "it is forgotten, and another's is not its");
    }

    /// A flush woke all who waited, and most of them for the next one.
    #[test]
    fn those_are_woken_whose_records_are_durable_or_lost_and_nobody_else() {
        let board = Rc::new(Board::default());
        let mut waiters = [6, 2, 4].map(|upto| {
            let notify = Notify::new();
            let notified = notify.notified();
            let (wait, mut watched) = ((offset(upto), board.seen()), None);
            let calls = Calls::new(notify);
            for _ in 0..2 {
                let outcome = board.outcome_or_watch(calls.at(0), wait, &mut watched);
                assert_eq!(outcome, None);
            }
            notified
        });
        let mut woken = || -> Vec<bool> {
            let poll = |waiter| block_on(poll_once(waiter)).is_some();
            waiters.iter_mut().map(poll).collect()
        };
        board.advance(offset(1));
        assert_eq!(woken(), [false, false, false]);
        assert_eq!(board.watchers.borrow().len(), 3, "asking twice adds up");
        board.advance(offset(4));
        assert_eq!(woken(), [false, true, true]);
        assert_eq!(board.watchers.borrow().len(), 1);
        board.void(Void::Fenced);
        assert_eq!(woken(), [true, true, true]);
    }

    #[test]
    fn what_is_asked_for_again_after_it_was_lost_is_watched_again() {
        let board = Rc::new(Board::default());
        let (notify, mut watched) = (Notify::new(), None);
        let calls = Calls::new(notify.clone());
        let mut ask = || {
            let wait = (offset(4), board.seen());
            board.outcome_or_watch(calls.at(0), wait, &mut watched)
        };
        assert_eq!(ask(), None);
        board.void(Void::Full);
        assert_eq!(ask(), None);
        let woken = notify.notified();
        board.advance(offset(4));
        assert!(block_on(poll_once(woken)).is_some());
    }

    #[test]
    fn waiting_that_is_vain_again_and_again_is_remembered_once_as_long_as_nobody_begins_to_wait() {
        let board = Board::default();
        let seen = board.seen();
        let remembered = [Void::Full, Void::Full, Void::Fenced, Void::Closed].map(|void| {
            board.void(void);
            board.voids.borrow().len()
        });
        assert_eq!(remembered, [1, 1, 2, 2], "and that all was given up then");
        let outcome = board.outcome(offset(1), seen);
        assert_eq!(outcome, Some(Outcome::Unknown(Void::Full)));
        let seen = board.seen();
        assert_eq!(board.outcome(offset(1), seen), None);
        board.void(Void::Closed);
        let outcome = board.outcome(offset(1), seen);
        assert_eq!(outcome, Some(Outcome::Unknown(Void::Closed)));
    }

    #[test]
    fn what_found_no_room_is_given_up_with_what_comes_after_unless_it_became_durable() {
        let board = Board::default();
        let seen = board.seen();
        board.void(Void::Full);
        assert_eq!(board.given_up(offset(6), seen), None);
        board.advance(offset(4));
        board.void(Void::Fenced);
        assert_eq!(board.given_up(offset(4), seen), None);
        assert_eq!(board.given_up(offset(6), seen), Some(Void::Fenced));
        assert_eq!(board.given_up(offset(6), board.seen()), None);
    }

    /// It grew by one each time, as long as the log was open.
    #[test]
    fn when_waiting_was_vain_is_forgotten_with_the_last_who_waited() {
        let mut board = Rc::new(Board::default());
        for end in 1..=1_000 {
            let (waiting, seen) = (Rc::clone(&board), board.seen());
            board.void(Void::Full);
            board.advance(offset(end));
            Board::forget_voids(&mut board);
            let outcome = waiting.outcome(offset(end), seen);
            assert_eq!(outcome, Some(Outcome::Unknown(Void::Full)));
            drop(waiting);
            assert!(board.voids.borrow().len() <= 1);
            Board::forget_voids(&mut board);
        }
        let seen = board.seen();
        assert_eq!(board.outcome(offset(1_000), seen), Some(Outcome::Durable));
        assert_eq!(board.outcome(offset(1_001), seen), None);
    }

    #[test]
    fn what_was_lost_stays_lost_when_its_offsets_are_given_out_again() {
        let board = Board::default();
        let seen = board.seen();
        board.advance(offset(4));
        board.void(Void::Fenced);
        board.advance(offset(9));
        assert_eq!(board.outcome(offset(4), seen), Some(Outcome::Durable));
        assert_eq!(
            board.outcome(offset(6), seen),
            Some(Outcome::Unknown(Void::Fenced))
        );
        assert_eq!(
            board.outcome(offset(6), board.seen()),
            Some(Outcome::Durable)
        );
    }
}
