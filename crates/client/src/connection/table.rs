//! The requests of one connection that wait for their answers.
//!
//! The law: every request gets exactly one ending, and the ending says whether the server may have
//! taken the request. It may from the moment the first byte is handed to the socket, unless the server says that it
//! did not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use corelog_protocol::frame::{self, CorrelationId, Frame};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use super::Claim;
use crate::error::Fault;

/// An answer frame as it arrived: checked, not yet understood.
#[derive(Clone, Debug)]
pub(crate) struct RawAnswer {
    pub(super) header: frame::Header,
    pub(super) bytes: Bytes,
}

impl RawAnswer {
    pub(super) fn frame(&self) -> Frame<'_> {
        Frame::of(self.header, &self.bytes)
    }

    /// The bytes behind the head, a slice of the receive buffer.
    pub(super) fn body(&self) -> Bytes {
        self.bytes.slice(self.header.head_end()..)
    }
}

/// How a request ended without an answer.
#[derive(Clone, Debug)]
pub(crate) struct Ending {
    /// False only if not one byte of it left this process, or the server said that it did not take it.
    pub(crate) may_be_taken: bool,
    pub(crate) fault: Arc<Fault>,
}

pub(super) type Answered = Result<RawAnswer, Ending>;

/// Room that a request holds until it is answered, or the queue is rid of it unsent.
#[derive(Debug)]
pub(crate) struct Permits {
    pub(super) _slot: OwnedSemaphorePermit,
    pub(super) bytes: OwnedSemaphorePermit,
    /// Given back last, when the room that it stands for is free.
    pub(super) _claim: Option<Claim>,
}

impl Permits {
    /// The same, which holds a claim as well.
    pub(crate) fn held_by(self, claim: &Claim) -> Self {
        let claim = Some(Arc::clone(claim));
        Self {
            _claim: claim,
            ..self
        }
    }
}

/// For how long an answer is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) entered: Instant,
    pub(super) timeout: Duration,
}

impl Patience {
    /// When it ends.
    pub(super) fn end(self) -> Instant {
        self.entered + self.timeout
    }
}

/// How far a connection is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Came {
    /// How many bytes were heard.
    pub(super) bytes: u64,
    /// The newest request that was answered.
    pub(super) answered: CorrelationId,
    /// The newest one.
    pub(super) entered: CorrelationId,
}

#[derive(Debug)]
pub(super) struct Table {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    next: u32,
    pending: BTreeMap<u32, Pending>,
    /// Whether nothing else was in flight when the last request was entered.
    was_alone: bool,
    last_heard: Instant,
    came: Came,
    /// When the first request was entered that was given up since something was heard.
    silent_since: Option<Instant>,
    /// Why no request is entered any more.
    fault: Option<Arc<Fault>>,
    /// Nor is one that was answered any more.
    is_ended: bool,
}

#[derive(Debug)]
struct Pending {
    /// `None` if it was withdrawn, and the queue is not rid of it yet.
    answer: Option<oneshot::Sender<Answered>>,
    is_sent: bool,
    patience: Patience,
    permits: Permits,
}

impl Table {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                next: 1,
                pending: BTreeMap::new(),
                was_alone: false,
                last_heard: Instant::now(),
                came: Came {
                    bytes: 0,
                    answered: CorrelationId::new(0),
                    entered: CorrelationId::new(0),
                },
                silent_since: None,
                fault: None,
                is_ended: false,
            }),
        }
    }

    /// Enters a request; `hand_over` takes its number, and whether it is alone, while the table is held, so that
    /// numbers and frames keep one order, and tells if it has left.
    ///
    /// A request is alone if no other is in flight, nor was when the one before came: who had others beside it has others
    /// coming, and what comes together is to leave together, or a server that flushes at once flushes twice.
    pub(super) fn enter<E: From<Ending>>(
        &self,
        permits: Permits,
        patience: Patience,
        hand_over: impl FnOnce(u32, bool) -> Result<bool, E>,
    ) -> Result<(u32, oneshot::Receiver<Answered>), E> {
        let mut state = self.lock();
        if let Some(fault) = &state.fault {
            return Err(Ending {
                may_be_taken: false,
                fault: Arc::clone(fault),
            }
            .into());
        }
        let mut correlation = state.next;
        // An abandoned request may stay for as long as its connection: step over it.
        while state.pending.contains_key(&correlation) {
            correlation = correlation.wrapping_add(1);
        }
        let is_alone = state.pending.is_empty();
        let is_sent = hand_over(correlation, is_alone && state.was_alone)?;
        state.was_alone = is_alone;
        state.next = correlation.wrapping_add(1);
        state.came.entered = CorrelationId::new(correlation);
        let (answer, receiver) = oneshot::channel();
        state.pending.insert(
            correlation,
            Pending {
                answer: Some(answer),
                is_sent,
                patience,
                permits,
            },
        );
        Ok((correlation, receiver))
    }

    /// Notes that the first byte is about to leave; false if the request was withdrawn.
    pub(super) fn begin_sending(&self, correlation: u32) -> bool {
        let mut state = self.lock();
        match state.pending.get_mut(&correlation) {
            Some(pending) if pending.answer.is_some() => {
                pending.is_sent = true;
                true
            }
            _ => {
                state.pending.remove(&correlation);
                false
            }
        }
    }

    /// Gives a request up. Unsent, it is withdrawn and false is returned; it keeps its room until it would be
    /// sent, or, sent, until its answer comes.
    pub(super) fn abandon(&self, correlation: u32) -> bool {
        let mut state = self.lock();
        let pending = state.pending.get_mut(&correlation);
        let Some(unsent) = pending.filter(|pending| !pending.is_sent) else {
            return true;
        };
        unsent.answer = None;
        false
    }

    /// Hands an answer to whoever waits for it; false if nobody asked.
    pub(super) fn complete(&self, answer: RawAnswer) -> bool {
        let correlation = answer.header.correlation;
        let mut state = self.lock();
        let pending = state.pending.remove(&correlation.get());
        if correlation.is_behind(state.came.answered) {
            state.came.answered = correlation;
        }
        drop(state);
        match pending {
            Some(Pending {
                answer: Some(asker),
                is_sent: true,
                permits: room,
                ..
            }) => {
                // Free for whoever asked when that goes on.
                drop(room);
                // Whoever asked may have given up: the answer is then nobody's.
                drop(asker.send(Ok(answer)));
                true
            }
            _ => false,
        }
    }

    pub(super) fn heard(&self, bytes: usize, now: Instant) {
        let mut state = self.lock();
        state.last_heard = now;
        state.came.bytes += bytes as u64;
        state.silent_since = None;
    }

    /// How many requests that were sent keep their room though nobody waits for them any more, and how many bytes of it;
    /// none where others are not entered any more.
    pub(super) fn given_up(&self) -> (usize, usize) {
        let state = self.lock();
        let is_given_up = |one: &&Pending| {
            let answer = one.answer.as_ref();
            let is_left = one.is_sent && answer.is_some_and(oneshot::Sender::is_closed);
            state.fault.is_none() && is_left
        };
        let given_up = state.pending.values().filter(is_given_up);
        given_up.fold((0, 0), |(count, bytes), one| {
            (count + 1, bytes + one.permits.bytes.num_permits())
        })
    }

    /// When anything was heard last.
    pub(super) fn last_heard(&self) -> Instant {
        self.lock().last_heard
    }

    pub(super) fn came(&self) -> Came {
        self.lock().came
    }

    /// For how long nothing was heard, now that a request is given up that was entered at `since`: from it on, or from
    /// the first one that was given up like it. `None` if something was heard.
    pub(super) fn silence(&self, since: Instant) -> Option<Duration> {
        let mut state = self.lock();
        let is_silent = state.last_heard <= since;
        is_silent.then(|| state.silent_since.get_or_insert(since).elapsed())
    }

    /// For how long nothing was heard, if a request should have been answered meanwhile, whoever still waits for it.
    pub(super) fn overdue(&self, now: Instant) -> Option<Duration> {
        let state = self.lock();
        let unheard = state.pending.values().filter(|pending| {
            let Patience { entered, .. } = pending.patience;
            pending.is_sent && state.last_heard <= entered && pending.patience.end() <= now
        });
        let silences = unheard.map(|pending| now - pending.patience.entered);
        silences.max()
    }

    /// If no request is entered any more.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().fault.is_some()
    }

    /// If every request has ended, and each that comes.
    pub(super) fn is_ended(&self) -> bool {
        self.lock().is_ended
    }

    /// If no request waits for its answer.
    pub(super) fn is_empty(&self) -> bool {
        let state = self.lock();
        state.pending.values().all(|one| one.answer.is_none())
    }

    /// Enters no more requests, and withdraws what was not sent, and what was sent behind the request `taken`, the last
    /// that the server took if it said which; what else was sent may still be answered, and is waited for until the time that
    /// is returned. The first fault stays, but for what the server says, which is why.
    pub(super) fn refuse(&self, fault: Fault, taken: Option<CorrelationId>) -> Option<Instant> {
        let mut state = self.lock();
        let is_said = |fault: &Fault| matches!(fault, Fault::Refused { .. });
        if is_said(&fault) && state.fault.as_deref().is_some_and(|first| !is_said(first)) {
            state.fault = None;
        }
        let fault = Arc::clone(state.fault.get_or_insert_with(|| Arc::new(fault)));
        let may_be_taken = |number: u32, request: &Pending| {
            let number = CorrelationId::new(number);
            request.is_sent && taken.is_none_or(|taken| !number.is_behind(taken))
        };
        let (kept, withdrawn) = std::mem::take(&mut state.pending)
            .into_iter()
            .partition(|(number, request)| may_be_taken(*number, request));
        state.pending = kept;
        let ends = state.pending.values().map(|request| request.patience.end());
        let last = ends.max();
        drop(state);
        end(withdrawn, &fault, |_| false);
        last
    }

    /// Ends every request; the first fault stays. True if this call ended them.
    pub(super) fn close(&self, fault: Fault) -> bool {
        let mut state = self.lock();
        if state.is_ended {
            return false;
        }
        state.is_ended = true;
        let fault = Arc::clone(state.fault.get_or_insert_with(|| Arc::new(fault)));
        let pending = std::mem::take(&mut state.pending);
        drop(state);
        end(pending, &fault, |request| request.is_sent);
        true
    }

    /// The fault that closed the table.
    pub(super) fn fault(&self) -> Option<Arc<Fault>> {
        self.lock().fault.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every update above is complete before anything that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn end(
    requests: BTreeMap<u32, Pending>,
    fault: &Arc<Fault>,
    may_be_taken: impl Fn(&Pending) -> bool,
) {
    for mut request in requests.into_values() {
        let ending = Ending {
            may_be_taken: may_be_taken(&request),
            fault: Arc::clone(fault),
        };
        if let Some(answer) = request.answer.take() {
            drop(answer.send(Err(ending)));
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::pin::Pin;
    use std::task::{Context, Wake, Waker};

    use corelog_protocol::error::{ErrorBody, ErrorCode};
    use tokio::sync::Semaphore;

    use super::*;

    pub(in crate::connection) fn permits(room: &Arc<Semaphore>) -> Permits {
        let permit = || Arc::clone(room).try_acquire_owned().unwrap();
        Permits {
            _slot: permit(),
            bytes: permit(),
            _claim: None,
        }
    }

    pub(in crate::connection) fn patience() -> Patience {
        Patience {
            entered: Instant::now(),
            timeout: Duration::ZERO,
        }
    }

    fn answer(correlation: u32) -> RawAnswer {
        let header = frame::Header {
            is_answer: true,
            kind: 0,
            correlation: CorrelationId::new(correlation),
            head_bytes: 0,
            frame_bytes: 0,
        };
        RawAnswer {
            header,
            bytes: Bytes::new(),
        }
    }

    /// What the server said that it took waits on, and what it did not take is known at once not to be applied, also where
    /// the numbers go around.
    #[test]
    fn requests_behind_the_last_that_was_taken_are_withdrawn() {
        for first in [1, u32::MAX - 1] {
            let (table, room) = (Table::new(), Arc::new(Semaphore::new(8)));
            table.lock().next = first;
            let mut entered = [(); 4].map(|()| {
                let entered = table.enter(permits(&room), patience(), |_, _| Ok::<_, Ending>(true));
                entered.unwrap()
            });
            let taken = CorrelationId::new(entered[1].0);
            let last = table.refuse(Fault::Closed, Some(taken));
            assert!(last.is_some(), "the first two are waited for");
            for (_, receiver) in &mut entered[2..] {
                let ending = receiver.try_recv().unwrap().unwrap_err();
                assert!(!ending.may_be_taken, "{first}");
            }
            assert!(table.complete(answer(entered[0].0)));
            assert!(entered[1].1.try_recv().is_err(), "it waits");
            table.close(Fault::Closed);
            let ending = entered[1].1.try_recv().unwrap().unwrap_err();
            assert!(ending.may_be_taken, "{first}");
        }
    }

    /// Who looks as it is told would find that it has something unanswered, and could not leave.
    #[test]
    fn room_and_claim_are_given_back_before_whoever_asked_is_told() {
        struct Told {
            claim: Claim,
            room: Arc<Semaphore>,
            saw: Mutex<Option<(usize, usize)>>,
        }
        impl Wake for Told {
            fn wake(self: Arc<Self>) {
                let saw = (
                    Arc::strong_count(&self.claim),
                    self.room.available_permits(),
                );
                *self.saw.lock().unwrap() = Some(saw);
            }
        }
        let (table, room) = (Table::new(), Arc::new(Semaphore::new(2)));
        let told = Arc::new(Told {
            claim: Claim::default(),
            room: Arc::clone(&room),
            saw: Mutex::default(),
        });
        let permits = permits(&room).held_by(&told.claim);
        let entered = table.enter(permits, patience(), |_, _| Ok::<_, Ending>(true));
        let (number, mut receiver) = entered.unwrap();
        let waker = Waker::from(Arc::clone(&told));
        let asked = Pin::new(&mut receiver).poll(&mut Context::from_waker(&waker));
        assert!(asked.is_pending());
        assert!(table.complete(answer(number)));
        assert_eq!(*told.saw.lock().unwrap(), Some((1, 2)));
    }

    #[test]
    fn what_was_sent_and_given_up_counts_until_it_is_answered_or_nothing_more_is_entered() {
        let (table, room) = (Table::new(), Arc::new(Semaphore::new(6)));
        let enter = |is_sent| {
            let permits = permits(&room);
            let entered = table.enter(permits, patience(), |_, _| Ok::<_, Ending>(is_sent));
            entered.unwrap()
        };
        let [(sent, asker), (unsent, other), (waits, last)] = [true, false, true].map(enter);
        assert_eq!(table.given_up(), (0, 0));
        assert!(table.abandon(sent) && !table.abandon(unsent));
        drop((asker, other));
        assert_eq!(table.given_up(), (1, 1));
        assert!(table.complete(answer(sent)));
        assert_eq!(table.given_up(), (0, 0));
        assert!(table.abandon(waits));
        drop(last);
        assert_eq!(table.given_up(), (1, 1));
        assert!(table.refuse(Fault::Closed, None).is_some(), "it is kept");
        assert_eq!(table.given_up(), (0, 0));
    }

    #[test]
    fn what_the_server_says_is_why_also_where_writing_failed_before() {
        let (table, room) = (Table::new(), Arc::new(Semaphore::new(8)));
        let entered = table.enter(permits(&room), patience(), |_, _| Ok::<_, Ending>(true));
        let (number, mut receiver) = entered.unwrap();
        let source = std::io::ErrorKind::BrokenPipe.into();
        assert!(table.refuse(Fault::Io { source }, None).is_some());
        let body = Box::new(ErrorBody::new(ErrorCode::Stopping, ""));
        table.refuse(
            Fault::Refused { body },
            Some(CorrelationId::new(number - 1)),
        );
        let ending = receiver.try_recv().unwrap().unwrap_err();
        assert!(matches!(*ending.fault, Fault::Refused { .. }));
        assert!(table.is_empty());
    }

    #[test]
    fn a_request_is_alone_where_no_other_is_in_flight_nor_was_when_the_one_before_came() {
        let (table, room) = (Table::new(), Arc::new(Semaphore::new(8)));
        let (mut alone, mut in_flight) = (Vec::new(), Vec::new());
        for answered in [1, 1, 0, 2, 0, 2, 1, 1] {
            let entered = table.enter(permits(&room), patience(), |_, is_alone| {
                alone.push(is_alone);
                Ok::<_, Ending>(true)
            });
            in_flight.push(entered.unwrap().0);
            for correlation in in_flight.drain(..answered) {
                assert!(table.complete(answer(correlation)));
            }
        }
        let by_ones_by_twos_by_ones = [false, true, true, false, false, false, false, true];
        assert_eq!(alone, by_ones_by_twos_by_ones);
    }
}
