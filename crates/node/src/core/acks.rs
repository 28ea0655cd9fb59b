//! Produce requests whose answers are due in order: one queue per producer and partition, whose
//! front leaves when its outcome is known. Both ends of a lane and every connection keep one.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::rc::Rc;

use corelog_protocol::error::{Applied, Detail, ErrorCode};
use corelog_protocol::message::produce;
use slab::Slab;

use super::aborted::{Aborted, AbortedCount};
use super::board::{Board, Outcome, Seen, Void, Watched};
use super::calls::{Caller, Calls};
use super::slowest::Timed;
use crate::failure::{Failure, failure_with};
use crate::rt::Notify;

/// What a Produce request is answered with.
pub(crate) type Produced = Result<produce::Answer, Failure>;

/// A Produce that was appended or refused, or is on its way.
#[derive(Debug)]
pub(crate) enum Due {
    /// The answer is due when the board says so.
    Flushed {
        board: Rc<Board>,
        seen: Seen,
        answer: produce::Answer,
        timed: Timed,
    },
    /// The answer is due, unless the records are given up before it leaves: behind others it may wait.
    Accepted {
        board: Rc<Board>,
        seen: Seen,
        answer: produce::Answer,
    },
    /// The answer is known.
    Now(Produced),
    /// The answer comes from another core under this number.
    Away(u64),
}

/// Queues of answers by `K`, each answer told apart by a `T`.
#[derive(Debug)]
pub(crate) struct Acks<K, T> {
    /// In places that are called when their front may be due: a wake-up costs as much as it is about.
    queues: Slab<Queue<K, T>>,
    places: HashMap<K, usize>,
    calls: Calls,
    aborted: Aborted<K>,
    due_count: usize,
}

#[derive(Debug)]
struct Queue<K, T> {
    key: K,
    entries: VecDeque<(T, Due)>,
    /// What the watcher waits for of its front's board.
    watched: Option<Watched>,
}

impl<K: Copy + Eq + Hash, T> Acks<K, T> {
    /// No queues; `watcher` is notified when it may be worth to `collect`. Aborted runs that are remembered count
    /// in `aborted`.
    pub(crate) fn new(watcher: Notify, aborted: AbortedCount) -> Self {
        Self {
            queues: Slab::with_capacity(1),
            places: HashMap::new(),
            calls: Calls::new(watcher),
            aborted: Aborted::new(aborted),
            due_count: 0,
        }
    }

    /// Answers that are not collected yet.
    #[cfg(test)]
    fn due_count(&self) -> usize {
        self.due_count
    }

    /// If more aborted runs are remembered than may be.
    pub(crate) fn remembers_too_much(&self) -> bool {
        self.aborted.are_too_many()
    }

    /// Why a request of this run must not be done, if an earlier one of the run was not.
    pub(crate) fn aborted(&self, key: K, run: u32) -> Option<Failure> {
        let cause = self.aborted.cause(key, run)?;
        Some(aborted_by(run, cause))
    }

    /// Aborts the run of a request that was not applied.
    fn abort_unapplied(&mut self, key: K, run: u32, produced: &Produced) {
        if let Err(error) = produced
            && error.applied() == Applied::No
        {
            self.aborted.add(key, run, error.code);
        }
    }

    /// Takes the aborted runs of queues whose answers have all left.
    pub(crate) fn take_settled(&mut self, take: impl FnMut(K, u32, u16)) {
        let places = &self.places;
        self.aborted.take(|key| !places.contains_key(key), take);
    }

    /// Puts the answer to a request of a run in line.
    pub(crate) fn push(&mut self, key: K, run: u32, tag: T, due: Due) {
        if let Due::Now(produced) = &due {
            self.abort_unapplied(key, run, produced);
        }
        let queues = &mut self.queues;
        let new = || queues.insert(Queue::new(key));
        let place = *self.places.entry(key).or_insert_with(new);
        let queue = &mut self.queues[place];
        queue.entries.push_back((tag, due));
        self.due_count += 1;
        if queue.entries.len() == 1 {
            let caller = self.calls.at(place);
            if !queue.watch(caller.clone()) {
                caller.call();
            }
        }
    }

    /// An answer to a request of a run came from another core.
    pub(crate) fn fill(&mut self, key: K, run: u32, away: u64, produced: Produced) {
        self.abort_unapplied(key, run, &produced);
        let Some(place) = self.places.get(&key).copied() else {
            return;
        };
        let is_it = |due: &Due| matches!(due, Due::Away(number) if *number == away);
        let mut entries = self.queues[place].entries.iter_mut();
        if let Some((_, due)) = entries.find(|(_, due)| is_it(due)) {
            *due = Due::Now(produced);
            self.calls.at(place).call();
        }
    }

    /// Takes every answer that is due, in order within each queue.
    pub(crate) fn collect(&mut self, mut take: impl FnMut(K, T, Produced)) {
        while let Some(place) = self.calls.take() {
            // Called twice, it may be gone, or another's.
            let Some(queue) = self.queues.get_mut(place) else {
                continue;
            };
            while let Some((tag, produced)) = queue.pop() {
                self.due_count -= 1;
                take(queue.key, tag, produced);
            }
            queue.watch(self.calls.at(place));
            if queue.entries.is_empty() {
                let queue = self.queues.remove(place);
                self.places.remove(&queue.key);
            }
        }
    }

    /// Forgets all, with the waiting.
    pub(crate) fn clear(&mut self) {
        self.queues.clear();
        self.places.clear();
        self.calls.clear();
        self.aborted.clear();
        self.due_count = 0;
    }
}

impl<K, T> Queue<K, T> {
    /// With room for one: of most producers no more are under way.
    fn new(key: K) -> Self {
        Self {
            key,
            entries: VecDeque::with_capacity(1),
            watched: None,
        }
    }

    /// Has the caller call when the front is due; false if it is already.
    fn watch(&mut self, caller: Caller) -> bool {
        match self.entries.front() {
            None | Some((_, Due::Away(_))) => true,
            Some((_, Due::Now(_) | Due::Accepted { .. })) => false,
            Some((
                _,
                Due::Flushed {
                    board,
                    seen,
                    answer,
                    ..
                },
            )) => {
                let wait = (answer.end, *seen);
                board
                    .outcome_or_watch(caller, wait, &mut self.watched)
                    .is_none()
            }
        }
    }

    fn pop(&mut self) -> Option<(T, Produced)> {
        let produced = match &self.entries.front()?.1 {
            Due::Away(_) => return None,
            Due::Now(_) => None,
            Due::Accepted {
                board,
                seen,
                answer,
            } => Some(match board.given_up(answer.end, *seen) {
                Some(void) => told(Outcome::Unknown(void), answer),
                None => Ok(answer.clone()),
            }),
            Due::Flushed {
                board,
                seen,
                answer,
                timed,
            } => {
                let outcome = board.outcome(answer.end, *seen)?;
                if outcome == Outcome::Durable {
                    timed.answered(board, answer);
                }
                Some(told(outcome, answer))
            }
        };
        match (self.entries.pop_front()?, produced) {
            ((tag, _), Some(produced)) | ((tag, Due::Now(produced)), None) => Some((tag, produced)),
            ((_, _), None) => unreachable!("only a known answer leaves the line"),
        }
    }
}

fn told(outcome: Outcome, answer: &produce::Answer) -> Produced {
    let why = match outcome {
        Outcome::Durable => return Ok(answer.clone()),
        Outcome::Unknown(Void::Fenced) => "a write or sync failed; reopen the partition",
        Outcome::Unknown(Void::Full) => {
            "no space or no descriptor is left; the records go out when there is one"
        }
        Outcome::Unknown(Void::Closed) => "the partition was closed before the sync returned",
    };
    let detail = Detail {
        offset: Some(answer.base),
        ..Detail::default()
    };
    Err(failure_with(ErrorCode::OutcomeUnknown, why, detail))
}

/// The answer to a request of an aborted run.
pub(crate) fn aborted_by(run: u32, cause: u16) -> Failure {
    let message = "an earlier request of this run was not applied: send all of it again, in order, \
                   under a higher run";
    failure_with(
        ErrorCode::Aborted,
        message,
        Detail {
            run: Some(run),
            cause: Some(cause),
            ..Detail::default()
        },
    )
}

#[cfg(test)]
mod tests {
    use corelog_protocol::message::ack::Level;
    use corelog_record::{LeaderEpoch, Offset};
    use futures_lite::future::{block_on, poll_once};

    use super::super::tests::key;
    use super::*;
    use crate::rt;

    /// What grows by itself begins with four, and thousands have one.
    #[test]
    fn one_queue_with_one_answer_due_has_no_room_for_more() {
        let board = Rc::new(Board::default());
        let mut acks = Acks::new(Notify::new(), Rc::default());
        acks.push(key(1, 0), 0, (), flushed(&board, 1));
        assert_eq!(acks.queues.capacity(), 1);
        assert!(
            acks.queues
                .iter()
                .all(|(_, queue)| queue.entries.capacity() == 1)
        );
    }

    fn answer(end: u64) -> produce::Answer {
        produce::Answer {
            base: Offset::ZERO,
            end: Offset::ZERO.plus(end),
            epoch: LeaderEpoch::ZERO,
            level: Level::Durable,
        }
    }

    fn flushed(board: &Rc<Board>, end: u64) -> Due {
        Due::Flushed {
            board: Rc::clone(board),
            seen: board.seen(),
            answer: answer(end),
            timed: timed(),
        }
    }

    fn accepted(board: &Rc<Board>, end: u64) -> Due {
        Due::Accepted {
            board: Rc::clone(board),
            seen: board.seen(),
            answer: answer(end),
        }
    }

    fn timed() -> Timed {
        let (taken, appended) = (rt::now(), rt::now());
        Timed {
            slowest: Rc::default(),
            key: key(1, 0),
            taken,
            appended,
        }
    }

    fn busy() -> Produced {
        Err(failure_with(ErrorCode::Busy, "no", Detail::default()))
    }

    fn collected(acks: &mut Acks<u8, u32>) -> Vec<(u32, bool)> {
        let mut collected = Vec::new();
        acks.collect(|_, tag, produced| collected.push((tag, produced.is_ok())));
        collected
    }

    /// The same, each with the code that it was refused with.
    fn codes(acks: &mut Acks<u8, u32>) -> Vec<(u32, Option<u16>)> {
        let mut codes = Vec::new();
        acks.collect(|_, tag, produced| codes.push((tag, produced.err().map(|it| it.code))));
        codes
    }

    /// Answers 10 and 11 wait for the same board, which has what the first one waits for.
    fn first_of_two_is_durable() -> (Rc<Board>, Acks<u8, u32>) {
        let (board, mut acks) = (
            Rc::new(Board::default()),
            Acks::new(Notify::new(), Rc::default()),
        );
        acks.push(1, 0, 10, flushed(&board, 1));
        acks.push(1, 0, 11, flushed(&board, 5));
        board.advance(Offset::ZERO.plus(1));
        (board, acks)
    }

    fn is_ready(woken: impl Future) -> bool {
        block_on(poll_once(woken)).is_some()
    }

    #[test]
    fn answers_of_one_partition_keep_their_order_and_others_overtake() {
        let (slow, fast) = (Rc::new(Board::default()), Rc::new(Board::default()));
        let mut acks = Acks::new(Notify::new(), Rc::default());
        acks.push(1, 0, 10, flushed(&slow, 1));
        acks.push(1, 0, 11, Due::Now(busy()));
        acks.push(2, 0, 20, flushed(&fast, 1));
        fast.advance(Offset::ZERO.plus(1));
        assert_eq!(collected(&mut acks), vec![(20, true)]);
        slow.advance(Offset::ZERO.plus(1));
        assert_eq!(collected(&mut acks), vec![(10, true), (11, false)]);
        assert_eq!(acks.due_count(), 0);
        assert!(acks.queues.is_empty());
    }

    #[test]
    fn of_many_partitions_those_are_looked_at_whose_answers_are_due() {
        let mut acks = Acks::new(Notify::new(), Rc::default());
        let boards: Vec<Rc<Board>> = (0..1_000).map(|_| Rc::default()).collect();
        for (key, board) in (0_u32..).zip(&boards) {
            acks.push(key, 0, key, flushed(board, 1));
        }
        for key in [700, 3] {
            boards[key].advance(Offset::ZERO.plus(1));
        }
        let calls = acks.calls.clone();
        let called: Vec<usize> = std::iter::from_fn(|| calls.take()).collect();
        assert_eq!(called, [700, 3]);
        called.iter().for_each(|place| calls.at(*place).call());
        let mut collected = Vec::new();
        acks.collect(|_, tag, _| collected.push(tag));
        assert_eq!(collected, [700, 3]);
        assert_eq!(acks.due_count(), 998);
    }

    #[test]
    fn an_answer_from_another_core_takes_its_place_in_line() {
        let mut acks = Acks::new(Notify::new(), Rc::default());
        acks.push(1, 0, 10, Due::Away(7));
        acks.push(1, 0, 11, Due::Away(8));
        acks.fill(1, 0, 8, Ok(answer(2)));
        assert_eq!(collected(&mut acks), vec![]);
        acks.fill(1, 0, 7, busy());
        assert_eq!(collected(&mut acks), vec![(10, false), (11, true)]);
    }

    /// What was sent behind it went into the log without it.
    #[test]
    fn what_another_core_has_refused_aborts_its_run() {
        let mut acks = Acks::<u8, u32>::new(Notify::new(), Rc::default());
        acks.push(1, 2, 10, Due::Away(7));
        acks.fill(1, 2, 7, busy());
        assert!(acks.aborted(1, 2).is_some());
        assert!(acks.aborted(1, 3).is_none());
    }

    #[test]
    fn a_run_is_aborted_until_a_higher_one_begins() {
        let mut acks: Acks<u8, u32> = Acks::new(Notify::new(), Rc::default());
        acks.push(1, 3, 10, Due::Now(busy()));
        assert!(acks.aborted(1, 2).is_some());
        assert!(
            acks.aborted(1, 3)
                .is_some_and(|error| error.is(ErrorCode::Aborted))
        );
        assert!(acks.aborted(1, 4).is_none());
        assert!(acks.aborted(2, 3).is_none());
    }

    #[test]
    fn a_fence_tells_what_waits_that_nobody_knows() {
        let (board, mut acks) = first_of_two_is_durable();
        board.void(Void::Fenced);
        let unknown = Some(ErrorCode::OutcomeUnknown.number());
        assert_eq!(codes(&mut acks), [(10, None), (11, unknown)]);
    }

    /// The server had counted them as lost by then.
    #[test]
    fn accepted_records_that_are_given_up_before_their_answer_leaves_are_told_as_unknown() {
        let cases: [(&[Void], bool); 4] = [
            (&[Void::Fenced], false),
            (&[Void::Closed], false),
            (&[Void::Full], true),
            (&[Void::Full, Void::Fenced], false),
        ];
        for (voids, is_kept) in cases {
            let (board, mut acks) = (
                Rc::new(Board::default()),
                Acks::new(Notify::new(), Rc::default()),
            );
            acks.push(1, 0, 10, flushed(&board, 1));
            acks.push(1, 0, 11, accepted(&board, 2));
            assert_eq!(collected(&mut acks), vec![]);
            voids.iter().for_each(|void| board.void(*void));
            let unknown = Some(ErrorCode::OutcomeUnknown.number());
            let kept = unknown.filter(|_| !is_kept);
            assert_eq!(codes(&mut acks), [(10, unknown), (11, kept)]);
        }
    }

    #[test]
    fn accepted_records_are_answered_at_once_with_nothing_in_front() {
        let (board, mut acks) = (
            Rc::new(Board::default()),
            Acks::new(Notify::new(), Rc::default()),
        );
        let woken = acks.calls.woken().notified();
        acks.push(1, 0, 10, accepted(&board, 1));
        assert!(is_ready(woken));
        assert_eq!(collected(&mut acks), vec![(10, true)]);
    }

    #[test]
    fn an_aborted_run_is_settled_when_its_answers_have_left() {
        let mut acks: Acks<u8, u32> = Acks::new(Notify::new(), Rc::default());
        let board = Rc::new(Board::default());
        acks.push(1, 0, 10, flushed(&board, 1));
        acks.push(1, 3, 11, Due::Now(busy()));
        let mut settled = Vec::new();
        acks.take_settled(|key, run, _| settled.push((key, run)));
        assert!(settled.is_empty(), "its answers wait behind a flush");
        board.advance(Offset::ZERO.plus(1));
        assert_eq!(collected(&mut acks).len(), 2);
        acks.take_settled(|key, run, _| settled.push((key, run)));
        assert_eq!(settled, vec![(1, 3)]);
        assert!(acks.queues.is_empty());
    }

    #[test]
    fn the_next_front_is_watched_once_the_one_before_has_left() {
        let (board, mut acks) = first_of_two_is_durable();
        assert_eq!(collected(&mut acks), vec![(10, true)]);
        let woken = acks.calls.woken().notified();
        board.advance(Offset::ZERO.plus(5));
        assert!(is_ready(woken));
        assert_eq!(collected(&mut acks), vec![(11, true)]);
    }

    /// A partition that is reopened gets a board of its own.
    #[test]
    fn a_board_that_takes_the_place_of_another_is_watched() {
        let (old, new) = (Rc::new(Board::default()), Rc::new(Board::default()));
        let mut acks = Acks::new(Notify::new(), Rc::default());
        acks.push(1, 0, 10, flushed(&old, 1));
        old.void(Void::Fenced);
        acks.push(1, 0, 11, flushed(&new, 1));
        assert_eq!(collected(&mut acks), vec![(10, false)]);
        let woken = acks.calls.woken().notified();
        new.advance(Offset::ZERO.plus(1));
        assert!(is_ready(woken), "nobody watches the new board");
        assert_eq!(collected(&mut acks), vec![(11, true)]);
    }
}
