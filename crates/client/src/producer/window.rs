//! The order of one partition's batches: which are in flight, which must be sent again.
//!
//! The server's rule: produce answers of a partition keep their order, and after one that was
//! *not applied*, every later Produce of the same connection, partition and run answers
//! *aborted*. So the first failure of a run stops sending; the answers of what is already in
//! flight are taken in; then all of it is sent again, in order, under the next run.
//!
//! An *unknown* outcome is never sent again, and nothing that came after it may slip in front of
//! it or pretend it happened: what waits behind it fails as *not applied*, for the caller to
//! decide. Nor is a batch sent again behind one that came after it: overtaken, it fails with the
//! error that kept it out of the log. One refinement follows from the rule itself: what was sent
//! behind a not-applied answer of its own run cannot have been applied, even if the connection is
//! lost before its answer.
//!
//! No I/O, no clock: a decision per answer.

use std::collections::VecDeque;

/// What an answer says about the batch at the front of the window.
#[derive(Debug)]
pub(super) enum Verdict<A, E> {
    /// It is in the log.
    Applied(A),
    /// It is not in the log.
    NotApplied {
        error: E,
        /// The server aborts the rest of the run. Otherwise what is behind it may be in the log.
        aborts_run: bool,
        /// It shall not be sent again. Behind one that is, it stays in line for whoever sends to give it up in its turn.
        is_final: bool,
    },
    /// The server says that nobody knows.
    Unknown(E),
    /// It was sent and no answer came: the connection was lost, or time ran out.
    Unanswered(E),
}

/// A batch whose outcome is settled.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Settled<B, A, E> {
    /// Acknowledged.
    Applied(B, A),
    /// Not applied, and why. It shall not be sent again, or a later batch is, or may be, in the log.
    Failed(B, E),
    /// Unknown; whatever is queued behind it must fail too.
    Unknown(B, E),
    /// Not applied, and not sent again because it would be behind an unknown outcome.
    Behind(B),
}

/// Batches of one partition between the queue and their outcome.
#[derive(Debug)]
pub(super) struct Window<B, E> {
    run: u32,
    in_flight_max: usize,
    in_flight: VecDeque<B>,
    /// Not applied in this run, and why; in order, and before everything in `resend`.
    again: VecDeque<(B, E)>,
    /// To be sent, in order, before anything from the queue: again, or what was taken from that last.
    resend: VecDeque<B>,
    /// A batch of this run failed: nothing is sent until all in flight are answered.
    is_halted: bool,
    /// The server aborts all that follows in this run.
    is_aborted: bool,
    /// An outcome of this run is unknown: nothing is sent again behind it.
    is_unknown: bool,
}

impl<B, E> Window<B, E> {
    /// An empty window at `run` that lets `in_flight_max` batches be in flight.
    ///
    /// # Panics
    /// If `in_flight_max` is 0.
    pub(super) fn new(run: u32, in_flight_max: usize) -> Self {
        assert!(
            in_flight_max > 0,
            "a window lets at least one batch through"
        );
        Self {
            run,
            in_flight_max,
            in_flight: VecDeque::new(),
            again: VecDeque::new(),
            resend: VecDeque::new(),
            is_halted: false,
            is_aborted: false,
            is_unknown: false,
        }
    }

    /// The run under which the next batch goes out.
    pub(super) const fn run(&self) -> u32 {
        self.run
    }

    /// The oldest batch in flight.
    pub(super) fn front(&self) -> Option<&B> {
        self.in_flight.front()
    }

    /// The same, to note something with it.
    pub(super) fn front_mut(&mut self) -> Option<&mut B> {
        self.in_flight.front_mut()
    }

    /// True while nothing is in flight.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// True once a batch of this run failed: nothing more is sent in it.
    pub(super) const fn is_halted(&self) -> bool {
        self.is_halted
    }

    /// Takes out all that is not settled, in order. Nothing is sent any more.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = B> {
        let again = self.again.drain(..).map(|(batch, _)| batch);
        again
            .chain(self.in_flight.drain(..))
            .chain(self.resend.drain(..))
    }

    /// What is not in the log and to be sent again.
    pub(super) fn withdrawn(&mut self) -> impl Iterator<Item = &mut B> {
        let again = self.again.iter_mut().map(|(batch, _)| batch);
        again.chain(&mut self.resend)
    }

    /// True if a batch may be sent now.
    pub(super) fn has_room(&self) -> bool {
        !self.is_halted && self.in_flight.len() < self.in_flight_max
    }

    /// True if batches wait here to be sent.
    pub(super) fn has_resend(&self) -> bool {
        !self.resend.is_empty()
    }

    /// The next batch to send, if it is here already.
    pub(super) fn next_mut(&mut self) -> Option<&mut B> {
        self.resend.front_mut()
    }

    /// Takes out the next batch to send; these come before any new one.
    pub(super) fn pop_resend(&mut self) -> Option<B> {
        self.resend.pop_front()
    }

    /// Takes in a batch that is the next to be sent.
    pub(super) fn push_resend(&mut self, batch: B) {
        self.resend.push_front(batch);
    }

    /// Notes that a batch was sent under [`Self::run`].
    ///
    /// # Panics
    /// If the window has no room.
    pub(super) fn push(&mut self, batch: B) {
        assert!(self.has_room(), "a batch is sent only while there is room");
        self.in_flight.push_back(batch);
    }

    /// Takes the answer of the batch in front; appends to `settled` what became final by it, in
    /// order.
    ///
    /// # Panics
    /// If nothing is in flight.
    pub(super) fn settle<A>(
        &mut self,
        verdict: Verdict<A, E>,
        settled: &mut Vec<Settled<B, A, E>>,
    ) {
        #[expect(
            clippy::expect_used,
            reason = "answers are taken only for batches in flight"
        )]
        let batch = self
            .in_flight
            .pop_front()
            .expect("an answer belongs to a batch in flight");
        match verdict {
            Verdict::Applied(ack) => {
                self.give_up_overtaken(settled);
                settled.push(Settled::Applied(batch, ack));
            }
            Verdict::NotApplied {
                error,
                aborts_run,
                is_final,
            } => {
                self.is_halted = true;
                self.is_aborted |= aborts_run;
                // Behind one that is sent again it waits: outcomes are told in order.
                if is_final && self.again.is_empty() {
                    settled.push(Settled::Failed(batch, error));
                } else {
                    self.again_or_behind(batch, error, settled);
                }
            }
            // Behind a not-applied answer of its own run: aborted, whether we hear it or not.
            Verdict::Unanswered(error) if self.is_aborted => {
                self.again_or_behind(batch, error, settled);
            }
            Verdict::Unknown(error) | Verdict::Unanswered(error) => {
                self.is_halted = true;
                self.is_unknown = true;
                self.give_up_overtaken(settled);
                settled.push(Settled::Unknown(batch, error));
            }
        }
        if self.in_flight.is_empty() && self.is_halted {
            if self.is_unknown {
                // Only now: what is in flight comes before what was to be sent.
                settled.extend(self.resend.drain(..).map(Settled::Behind));
            }
            self.begin_run();
        }
    }

    fn again_or_behind<A>(&mut self, batch: B, error: E, settled: &mut Vec<Settled<B, A, E>>) {
        if self.is_unknown {
            settled.push(Settled::Behind(batch));
        } else {
            self.again.push_back((batch, error));
        }
    }

    /// A later batch that is in the log, or may be, shuts the door on earlier ones that are not: sending them now
    /// would turn the order around.
    fn give_up_overtaken<A>(&mut self, settled: &mut Vec<Settled<B, A, E>>) {
        let overtaken = self.again.drain(..);
        settled.extend(overtaken.map(|(batch, error)| Settled::Failed(batch, error)));
    }

    fn begin_run(&mut self) {
        while let Some((batch, _)) = self.again.pop_back() {
            self.resend.push_front(batch);
        }
        // The server takes every run up to one that is aborted for aborted, as long as the connection lasts.
        self.run = self.run.wrapping_add(1);
        self.is_halted = false;
        self.is_aborted = false;
        self.is_unknown = false;
    }
}

#[cfg(test)]
mod tests;
