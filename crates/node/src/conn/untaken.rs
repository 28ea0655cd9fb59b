//! Answers that clients have not taken yet. What they come to on a core is bounded: while much of it is
//! used up, a large answer is `Busy` instead, and who takes next to nothing, or little of much, is cut.

use std::io;
use std::time::Duration;

use corelog_protocol::answer;
use corelog_protocol::frame::CorrelationId;
use corelog_protocol::kind::Kind;
use corelog_protocol::message::Call;

use super::intake::LOOK_EVERY;
use crate::core::Core;
use crate::failure::{self, Failure, MEMORY_RETRY_MS, busy};
use crate::router::Room;
use crate::rt::{self, Permit, Semaphore, Written};

/// An answer of at most this is always given: a connection has a bounded number of requests under way.
const SMALL_BYTES: usize = 1 << 10;
/// How long a large answer waits for room to be put together in, as one with batches does: who holds room is done with it once
/// all cores have told, and the others of its connection are answered meanwhile but for what comes behind a list of many topics.
const ASKING_WAIT_MAX: Duration = Duration::from_secs(2);
/// Who takes less in the time between two looks is cut, unless that is all that it holds of what others need,
const TAKEN_MIN: u64 = 128 << 10;
/// and so is who takes less than this part of the room that it holds: all of it within a minute. What clients take in all may be
/// what the network carries, and who does its part of that is not slow.
const TAKEN_PART: u64 = 32;

impl Core {
    /// If one more answer of so many bytes may wait to be taken.
    pub(super) fn has_room_to_answer(&self, bytes: usize) -> bool {
        let untaken = self.answer_bytes.get();
        bytes <= SMALL_BYTES || untaken + bytes <= self.shared.budget.answers
    }

    /// So many bytes of answers wait to be taken.
    pub(super) fn hold_answer(&self, bytes: usize) {
        self.answer_bytes.set(self.answer_bytes.get() + bytes);
    }

    /// So many bytes of them were taken, or never will be.
    pub(super) fn release_answer(&self, bytes: usize) {
        assert!(
            bytes <= self.answer_bytes.get(),
            "more is taken than waited"
        );
        self.answer_bytes.set(self.answer_bytes.get() - bytes);
    }

    /// How much of the room that others wait for, or soon will, a client has that holds so much.
    fn missed(&self, held: Held) -> usize {
        let budget = &self.shared.budget;
        let is_short = |room: &Semaphore, all| room.available() < all / 4;
        let rooms = [
            (
                self.answer_bytes.get() > budget.answers / 4 * 3,
                held.answers,
            ),
            (is_short(&self.send_budget, budget.send), held.batches),
            (
                is_short(&self.send_small_budget, budget.send_small),
                held.small,
            ),
        ];
        let missed = rooms.into_iter().filter(|(is_short, _)| *is_short);
        missed.map(|(_, bytes)| bytes).sum()
    }

    /// If others need the room that a client holds, which has taken too little of it between two looks. Next to nothing is
    /// not missed.
    fn is_stalled_by(&self, taken: u64, held: Held) -> bool {
        let missed = self.missed(held);
        let wanted = TAKEN_MIN.max(missed as u64 / TAKEN_PART);
        SMALL_BYTES < missed && taken < wanted.min(missed as u64)
    }
}

/// What a client holds of each of a core's rooms to be answered in, in bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    /// Answers but for their batches.
    pub(super) answers: usize,
    /// Batches, but for small ones that have room of their own.
    pub(super) batches: usize,
    pub(super) small: usize,
}

impl Held {
    /// The same with the room of an answer's batches.
    pub(super) fn with(mut self, room: &Room) -> Self {
        match room.is_small() {
            true => self.small += room.bytes(),
            false => self.batches += room.bytes(),
        }
        self
    }
}

/// Ready with an error once a client takes too little while others need what it has `held` by then.
pub(super) async fn stalled<T>(
    core: &Core,
    written: &Written,
    held: impl Fn() -> Held,
) -> io::Result<T> {
    loop {
        let before = written.bytes();
        rt::sleep(LOOK_EVERY).await;
        if core.is_stalled_by(written.bytes() - before, held()) {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
}

/// If a request of this kind only asks, so that its answer may be left out.
pub(super) fn only_asks(kind: u16) -> bool {
    use Kind::{
        DescribeTopic, ListOffsets, ListSnapshots, Metadata, ReplicaStatus, RestoreStatus, Segments,
    };
    let asking = [
        Metadata,
        DescribeTopic,
        ListOffsets,
        Segments,
        ListSnapshots,
        RestoreStatus,
        ReplicaStatus,
    ];
    asking.iter().any(|asks| asks.number() == kind)
}

/// An answer to a request that only asks although others of its kind do something, if there is room for it.
/// Few are asked, so that it may be encoded once more than it is sent.
///
/// # Errors
/// `Busy` if there is no room.
pub(super) fn if_room<R: Call>(core: &Core, answer: R::Answer) -> Result<R::Answer, Failure> {
    let mut bytes = Vec::new();
    // One that cannot be encoded is told of where it is to be sent.
    let encoded = answer::encode_ok::<R>(CorrelationId::new(0), &answer, 0, &mut bytes);
    match encoded.is_err() || core.has_room_to_answer(bytes.len()) {
        true => Ok(answer),
        false => Err(failure::untaken()),
    }
}

/// Room for an answer of so many bytes that cannot be left out, since it tells what was done: taken before
/// that, given back when this is dropped.
pub(super) struct AnswerRoom<'a> {
    core: &'a Core,
    bytes: usize,
}

impl<'a> AnswerRoom<'a> {
    /// Room for so many bytes.
    ///
    /// # Errors
    /// `Busy` if there is none.
    pub(super) fn take(core: &'a Core, bytes: usize) -> Result<Self, Failure> {
        if !core.has_room_to_answer(bytes) {
            return Err(failure::untaken());
        }
        core.hold_answer(bytes);
        Ok(Self { core, bytes })
    }
}

impl Drop for AnswerRoom<'_> {
    fn drop(&mut self) {
        self.core.release_answer(self.bytes);
    }
}

/// Waits for room for an answer of so many bytes of memory that is told by and by, until it is encoded;
/// first come first served. None needs none.
///
/// # Errors
/// `Busy` if there is none for a while.
pub(super) async fn room_to_ask(core: &Core, bytes: usize) -> Result<Option<Permit>, Failure> {
    if bytes == 0 {
        return Ok(None);
    }
    // The largest has all of it.
    let room = core
        .asked_budget
        .acquire(core.shared.budget.asked.min(bytes as u64));
    match rt::timeout(ASKING_WAIT_MAX, room).await {
        Some(room) => Ok(Some(room)),
        None => {
            let message = "too many large answers are being put together";
            Err(busy(message, MEMORY_RETRY_MS))
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::poll_once;

    use corelog_protocol::error::ErrorCode;

    use super::*;
    use crate::core::tests::with_core;

    /// What had come of a restore was told whoever took it, a line for each of its partitions.
    #[test]
    fn who_asks_how_far_a_restore_is_may_be_told_to_come_again() {
        assert!(only_asks(Kind::RestoreStatus.number()));
        assert!(!only_asks(Kind::RestoreTopic.number()));
    }

    /// Ten readers that took 70 KiB/s kept all fetches from the disk waiting for minutes: each held two answers of 8 MiB.
    #[test]
    fn who_holds_much_room_that_others_need_takes_a_part_of_it_or_is_cut() {
        with_core(|core| async move {
            let batches = |batches| Held {
                batches,
                ..Held::default()
            };
            let much = batches(16 << 20);
            assert!(!core.is_stalled_by(0, much), "nobody needs it");
            let all = core.send_budget.available();
            let _others = core.send_budget.try_acquire(all).unwrap();
            assert!(core.is_stalled_by((512 << 10) - 1, much));
            assert!(!core.is_stalled_by(512 << 10, much));
            let little = batches(128 << 10);
            assert!(core.is_stalled_by(TAKEN_MIN - 1, little));
            assert!(!core.is_stalled_by(TAKEN_MIN, little));
        });
    }

    /// A client that held 2 KiB of what was short was cut, which took fifty times as much between any two looks.
    #[test]
    fn who_takes_as_much_as_it_holds_of_what_others_need_is_not_cut() {
        with_core(|core| async move {
            core.hold_answer(core.shared.budget.answers);
            let held = Held {
                answers: 2 << 10,
                batches: 16 << 20,
                ..Held::default()
            };
            assert!(!core.is_stalled_by(100 << 10, held));
            assert!(!core.is_stalled_by(2 << 10, held));
            assert!(core.is_stalled_by((2 << 10) - 1, held));
            core.release_answer(core.shared.budget.answers);
        });
    }

    /// A reader of batches was cut, which waited for its own network, while others left their Metadata untaken.
    #[test]
    fn who_holds_much_of_one_room_is_not_cut_where_another_one_is_short() {
        with_core(|core| async move {
            let (much, next_to_nothing) = (16 << 20, SMALL_BYTES);
            let held = |[answers, batches, small]: [usize; 3]| Held {
                answers,
                batches,
                small,
            };
            let is_cut = |holds| core.is_stalled_by(0, held(holds));
            core.hold_answer(core.shared.budget.answers);
            assert!(is_cut([much, 0, 0]));
            assert!(!is_cut([next_to_nothing, much, much]));
            core.release_answer(core.shared.budget.answers);
            for (room, is_small) in [(&core.send_budget, false), (&core.send_small_budget, true)] {
                let _others = room.try_acquire(room.available()).unwrap();
                assert_eq!(is_cut([much, much, 0]), !is_small);
                assert_eq!(is_cut([much, 0, much]), is_small);
            }
        });
    }

    #[test]
    fn large_answers_are_put_together_in_the_order_in_which_they_were_asked_for_or_not_at_all() {
        with_core(|core| async move {
            let all = core.asked_budget.available();
            let room = |bytes: u64| room_to_ask(&core, usize::try_from(bytes).unwrap());
            assert!(room(0).await.unwrap().is_none(), "it needs none");
            let first = room(2 * all).await.unwrap();
            assert!(first.is_some() && core.asked_budget.available() == 0);
            let (mut second, mut third) = (Box::pin(room(all)), Box::pin(room(1)));
            assert!(poll_once(&mut second).await.is_none());
            assert!(poll_once(&mut third).await.is_none());
            drop(first);
            let second = second.await.unwrap();
            assert!(poll_once(&mut third).await.is_none(), "one is before it");
            assert!(third.await.unwrap_err().is(ErrorCode::Busy));
            drop(second);
            assert_eq!(core.asked_budget.available(), all);
        });
    }
}
