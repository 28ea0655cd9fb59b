//! The window against a model of the server's run rule.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::{Settled, Verdict, Window};

type Settlement = Settled<u32, u32, &'static str>;

/// A server by the rule: after a not-applied answer the rest of the run is aborted.
#[derive(Default)]
struct Server {
    log: Vec<u32>,
    aborted_run: Option<u32>,
    /// What it will never take.
    refused: BTreeSet<u32>,
}

/// What becomes of the next request that the server takes in.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Applied,
    Busy,
    Refused,
    /// Its head cannot be read, and so names no run.
    Unread,
    UnknownApplied,
    UnknownLost,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The caller has another batch.
    Arrive,
    /// The client sends its next batch.
    Send,
    /// The server takes in a request.
    Serve(Fate),
    /// An answer reaches the client.
    Answer,
    /// The client gives up waiting for the oldest batch; the server goes on.
    TimeOut,
    /// Time runs out for the oldest batch before it left the client; those behind it still leave.
    Withdraw,
    /// The connection ends. Of what the server has not taken in, so many requests had left the
    /// client, and of these the server still takes in as many as it gets to.
    Cut { sent: usize, served: usize },
}

type Answered = Verdict<u32, &'static str>;

impl Server {
    fn serve(&mut self, batch: u32, run: u32, fate: Fate) -> Answered {
        let said = |error, is_final| Verdict::NotApplied {
            error,
            aborts_run: true,
            is_final,
        };
        if self.aborted_run.is_some_and(|aborted| run <= aborted) {
            return said("aborted", false);
        }
        assert!(!self.refused.contains(&batch), "it has said so of {batch}");
        match fate {
            Fate::Applied => {
                self.log.push(batch);
                Verdict::Applied(batch)
            }
            Fate::UnknownApplied => {
                self.log.push(batch);
                Verdict::Unknown("unknown")
            }
            Fate::UnknownLost => Verdict::Unknown("unknown"),
            Fate::Unread => {
                self.refused.insert(batch);
                Verdict::NotApplied {
                    error: "not applied",
                    aborts_run: false,
                    is_final: true,
                }
            }
            Fate::Busy | Fate::Refused => {
                self.aborted_run = Some(run);
                let is_final = matches!(fate, Fate::Refused);
                if is_final {
                    self.refused.insert(batch);
                }
                said("not applied", is_final)
            }
        }
    }
}

/// A client, a wire, a server.
struct World {
    window: Window<u32, &'static str>,
    queue: VecDeque<u32>,
    batch_count: u32,
    /// Left the client, not taken in yet.
    requests: VecDeque<(u32, u32)>,
    /// Left the server, not arrived yet; `None` for those the client no longer waits for.
    answers: VecDeque<Answered>,
    /// Answers that will come for batches that timed out: to be thrown away on arrival.
    abandoned: usize,
    server: Server,
    outcomes: BTreeMap<u32, &'static str>,
    /// What the client was told never to send again.
    refused: BTreeSet<u32>,
    /// What waited in the queue when an outcome became unknown.
    behind: VecDeque<u32>,
    /// What was told last.
    last: Option<u32>,
}

impl World {
    fn new(batch_count: u32, in_flight_max: usize) -> Self {
        Self {
            window: Window::new(1, in_flight_max),
            queue: (0..batch_count).collect(),
            batch_count,
            requests: VecDeque::new(),
            answers: VecDeque::new(),
            abandoned: 0,
            server: Server::default(),
            outcomes: BTreeMap::new(),
            refused: BTreeSet::new(),
            behind: VecDeque::new(),
            last: None,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Arrive => {
                self.queue.push_back(self.batch_count);
                self.batch_count += 1;
            }
            Step::Send => self.send(),
            Step::Serve(fate) => {
                if let Some((batch, run)) = self.requests.pop_front() {
                    self.answers.push_back(self.server.serve(batch, run, fate));
                }
            }
            Step::Answer => self.answer(),
            Step::TimeOut => {
                if !self.window.is_idle() {
                    self.abandoned += 1;
                    self.settle(Verdict::Unanswered("timed out"));
                }
            }
            Step::Withdraw => self.withdraw(),
            Step::Cut { sent, served } => self.cut(sent, served),
        }
    }

    fn send(&mut self) {
        if let Some(refused) = self.refused_next() {
            // As the lane does: it is told behind all that is in front of it, and what is behind it waits for that.
            if self.window.is_idle() {
                self.window.pop_resend();
                self.tell(refused, "not applied");
            }
        } else if self.window.has_room()
            && let Some(batch) = self.window.pop_resend().or_else(|| self.queue.pop_front())
        {
            self.requests.push_back((batch, self.window.run()));
            self.window.push(batch);
        }
    }

    fn refused_next(&mut self) -> Option<u32> {
        let next = self.window.next_mut().copied();
        next.filter(|batch| self.refused.contains(batch))
    }

    fn answer(&mut self) {
        let Some(answer) = self.answers.pop_front() else {
            return;
        };
        if self.abandoned > 0 {
            self.abandoned -= 1;
        } else {
            self.settle(answer);
        }
    }

    fn withdraw(&mut self) {
        let Some(&front) = self.window.front() else {
            return;
        };
        // By run too: the same batch of an earlier run may still be on its way to be aborted.
        let request = (front, self.window.run());
        if let Some(index) = self.requests.iter().position(|one| *one == request) {
            self.requests.remove(index);
            self.settle(Verdict::NotApplied {
                error: "late",
                aborts_run: false,
                is_final: false,
            });
        }
    }

    fn cut(&mut self, sent: usize, served: usize) {
        let sent = sent.min(self.requests.len());
        let unsent = self.requests.split_off(sent);
        for (batch, run) in self.requests.drain(..).take(served.min(sent)) {
            self.server.serve(batch, run, Fate::Applied);
        }
        self.answers.clear();
        self.abandoned = 0;
        let (mut waiting, run) = (Vec::new(), self.window.run());
        while let Some(&batch) = self.window.front() {
            let is_unsent = unsent.contains(&(batch, run));
            waiting.push(is_unsent);
            let error = "lost";
            self.settle(if is_unsent {
                Verdict::NotApplied {
                    error,
                    aborts_run: false,
                    is_final: false,
                }
            } else {
                Verdict::Unanswered(error)
            });
        }
        assert!(waiting.is_sorted(), "what was not sent came last");
        // A new connection knows of no run.
        self.server.aborted_run = None;
    }

    fn settle(&mut self, verdict: Answered) {
        if let Verdict::NotApplied { is_final: true, .. } = verdict {
            self.refused.extend(self.window.front());
        }
        let mut settled: Vec<Settlement> = Vec::new();
        self.window.settle(verdict, &mut settled);
        let is_unknown = settled
            .iter()
            .any(|one| matches!(one, Settled::Unknown(..)));
        for one in settled {
            match one {
                Settled::Applied(batch, ack) => {
                    assert_eq!(batch, ack, "an answer belongs to its own batch");
                    self.tell(batch, "applied");
                }
                Settled::Unknown(batch, _) => self.tell(batch, "unknown"),
                Settled::Failed(batch, _) | Settled::Behind(batch) => {
                    self.tell(batch, "not applied");
                }
            }
        }
        if is_unknown {
            // As the lane does: what waits behind an unknown outcome fails, once all in front of it is told.
            self.behind.append(&mut self.queue);
        }
        if self.window.is_idle() {
            for batch in std::mem::take(&mut self.behind) {
                self.tell(batch, "not applied");
            }
        }
    }

    fn tell(&mut self, batch: u32, outcome: &'static str) {
        let before = self.last.replace(batch);
        assert!(before < Some(batch), "told in order: {before:?}, {batch}");
        let told = self.outcomes.insert(batch, outcome);
        assert_eq!(told, None, "settled once: {batch}");
    }

    /// Lets everything still open come to its end.
    fn finish(&mut self) {
        for _ in 0..100_000 {
            let is_over =
                self.queue.is_empty() && self.window.is_idle() && !self.window.has_resend();
            if is_over {
                return;
            }
            self.send();
            self.step(Step::Serve(Fate::Applied));
            self.answer();
        }
        panic!("does not come to an end");
    }
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Applied),
        2 => Just(Fate::Busy),
        1 => Just(Fate::Refused),
        1 => Just(Fate::Unread),
        1 => prop_oneof![Just(Fate::UnknownApplied), Just(Fate::UnknownLost)],
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Arrive),
        8 => Just(Step::Send),
        6 => fate().prop_map(Step::Serve),
        6 => Just(Step::Answer),
        1 => Just(Step::TimeOut),
        1 => Just(Step::Withdraw),
        1 => (0usize..6, 0usize..6).prop_map(|(sent, served)| Step::Cut { sent, served }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn order_holds_and_nothing_is_twice_under_any_answers_and_cuts(
        batch_count in 1u32..20,
        in_flight_max in 1usize..9,
        steps in proptest::collection::vec(step(), 0..400),
    ) {
        let mut world = World::new(batch_count, in_flight_max);
        for step in steps {
            world.step(step);
        }
        world.finish();
        let log = &world.server.log;
        prop_assert!(log.is_sorted_by(|a, b| a < b), "{log:?}");
        prop_assert_eq!(world.outcomes.len(), world.batch_count as usize);
        for (batch, outcome) in &world.outcomes {
            let is_in_log = log.contains(batch);
            match *outcome {
                "applied" => prop_assert!(is_in_log, "{} was acknowledged", batch),
                "not applied" => prop_assert!(!is_in_log, "{} was called not applied", batch),
                _ => {}
            }
        }
    }

    /// Without unknown outcomes nothing is lost either: all but the refused arrive.
    #[test]
    fn everything_not_refused_arrives_under_busy_answers(
        batch_count in 1u32..60,
        in_flight_max in 1usize..9,
        busy in proptest::collection::vec(any::<bool>(), 0..400),
    ) {
        let mut world = World::new(batch_count, in_flight_max);
        for is_busy in busy {
            world.send();
            world.send();
            world.step(Step::Serve(if is_busy { Fate::Busy } else { Fate::Applied }));
            world.answer();
        }
        world.finish();
        prop_assert_eq!(&world.server.log, &(0..batch_count).collect::<Vec<_>>());
    }
}

#[test]
fn what_is_sent_behind_a_not_applied_answer_is_not_unknown_when_the_connection_goes() {
    let mut window = Window::new(1, 4);
    for batch in 0..3 {
        window.push(batch);
    }
    let mut settled: Vec<Settlement> = Vec::new();
    let busy = Verdict::NotApplied {
        error: "busy",
        aborts_run: true,
        is_final: false,
    };
    window.settle(busy, &mut settled);
    window.settle(Verdict::Unanswered("lost"), &mut settled);
    window.settle(Verdict::Unanswered("lost"), &mut settled);
    assert_eq!(settled, []);
    assert_eq!(window.run(), 2);
    let resent: Vec<u32> = std::iter::from_fn(|| window.pop_resend()).collect();
    assert_eq!(resent, [0, 1, 2]);
}

/// Withdrawn batches were settled with the first unknown outcome, before what was still in flight
/// ahead of them: an observer was told batches out of order.
#[test]
fn what_waits_to_be_sent_again_is_settled_behind_what_is_in_flight() {
    let mut window = Window::new(1, 4);
    window.push(0);
    window.push(1);
    window.push_resend(2);
    let mut settled: Vec<Settlement> = Vec::new();
    window.settle(Verdict::Unanswered("lost"), &mut settled);
    assert_eq!(settled, [Settled::Unknown(0, "lost")]);
    window.settle(Verdict::Unanswered("lost"), &mut settled);
    assert_eq!(
        settled[1..],
        [Settled::Unknown(1, "lost"), Settled::Behind(2)]
    );
}

/// They were told to be behind an unknown outcome, of which there was none, or only behind them.
#[test]
fn what_is_overtaken_fails_with_what_kept_it_out_of_the_log() {
    let withdrawn = || Verdict::NotApplied {
        error: "not sent in time",
        aborts_run: false,
        is_final: false,
    };
    for (answer, settlement) in [
        (Verdict::Applied(7), Settled::Applied(1, 7)),
        (Verdict::Unknown("unknown"), Settled::Unknown(1, "unknown")),
    ] {
        let mut window = Window::new(1, 4);
        window.push(0);
        window.push(1);
        let mut settled: Vec<Settlement> = Vec::new();
        window.settle(withdrawn(), &mut settled);
        assert_eq!(settled, []);
        window.settle(answer, &mut settled);
        assert_eq!(
            settled,
            [Settled::Failed(0, "not sent in time"), settlement]
        );
    }
}

/// Its refusal was told at once, before what became of the one in front of it.
#[test]
fn what_is_refused_behind_what_is_to_be_sent_again_stays_in_line() {
    let mut window = Window::new(1, 4);
    window.push(0);
    window.push(1);
    let mut settled: Vec<Settlement> = Vec::new();
    for (error, is_final) in [("not sent in time", false), ("refused", true)] {
        let verdict = Verdict::NotApplied {
            error,
            aborts_run: is_final,
            is_final,
        };
        window.settle(verdict, &mut settled);
    }
    assert_eq!(settled, []);
    let in_line: Vec<u32> = std::iter::from_fn(|| window.pop_resend()).collect();
    assert_eq!(in_line, [0, 1]);
}

#[test]
fn a_run_ends_only_when_all_in_flight_is_answered() {
    let mut window = Window::new(1, 4);
    window.push(0);
    window.push(1);
    let mut settled: Vec<Settlement> = Vec::new();
    let busy = Verdict::NotApplied {
        error: "busy",
        aborts_run: true,
        is_final: false,
    };
    window.settle(busy, &mut settled);
    assert!(!window.has_room());
    assert!(!window.has_resend());
    let aborted = Verdict::NotApplied {
        error: "aborted",
        aborts_run: true,
        is_final: false,
    };
    window.settle(aborted, &mut settled);
    assert!(window.has_room());
    assert!(window.has_resend());
}
