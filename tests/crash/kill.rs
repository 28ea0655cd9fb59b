//! SIGKILL, and now and then SIGTERM, in the middle of producing, round after round on the same
//! data directory.

use std::path::Path;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use corelog_protocol::message::ack::Level;

use crate::follower::{self, Seen};
use crate::ledger::{Ledger, Round};
use crate::producer::{self, Acked, Task};
use crate::support::chance;
use crate::support::deadline::DEADLINE;
use crate::support::folder::Folder;
use crate::support::server::{Server, Start};
use crate::support::wire::{Target, Wire};

/// A round may be over before anything is promised, but not so many in a row.
const ROUNDS_MORE: usize = 20;
/// What a start takes at the least.
const A_START: Duration = Duration::from_millis(20);

/// Every record acknowledged as durable is there exactly once, unaltered and at its offset;
/// offsets are dense; no reader saw a record that later vanished. `CORELOG_CRASH_ROUNDS` sets the
/// number of rounds; a few more follow until something was promised in each topic, and something seen.
#[test]
fn what_was_promised_outlives_every_kill() {
    let mut random = chance::random("kill");
    let rounds = chance::number("CORELOG_CRASH_ROUNDS", 20);
    let folder = Folder::new();
    let mut server = start(folder.path());
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let mut subjects = [
        Subject::create(&mut wire, "one", 1, 1 << 20),
        Subject::create(&mut wire, "four", 4, 4 << 20),
    ];
    let (mut producer, mut starts, mut seen, mut kills) = (0, Vec::new(), 0, Vec::new());
    let has_all = |subjects: &[Subject], seen| {
        seen > 0 && subjects.iter().all(|subject| subject.promised() > 0)
    };
    for round in 0..rounds + ROUNDS_MORE {
        if rounds <= round && has_all(&subjects, seen) {
            break;
        }
        let subject = &mut subjects[round % 2];
        let (tasks, next) = subject.tasks(&server, producer, &mut random);
        producer = next;
        let (ended, books) = subject.produce_until_ended(server, tasks, &mut random);
        if random.u32(..4) == 0 {
            let takes = starts.last().copied().unwrap_or(A_START);
            kills.push(kill_while_starting(folder.path(), takes, &mut random));
        }
        let begun = Instant::now();
        server = start(folder.path());
        let start = begun.elapsed();
        starts.push(start);
        seen += books.iter().map(|round| round.seen.len()).sum::<usize>();
        let promised = subject.settle(&server, &books);
        println!(
            "round {round}: ended after {ended:?}, {} partitions, {promised} records promised, \
             ready again after {start:?}",
            subject.ledgers.len(),
        );
    }
    for subject in &subjects {
        subject.audit(&server);
    }
    starts.sort();
    println!(
        "{} rounds, {} records promised, {seen} seen; ready after: median {:?}, most {:?}",
        starts.len(),
        subjects.iter().map(Subject::promised).sum::<u64>(),
        starts[starts.len() / 2],
        starts[starts.len() - 1]
    );
    for subject in &subjects {
        assert!(subject.promised() > 0, "{} had nothing", subject.topic.name);
    }
    assert!(seen > 0, "no reader ever saw a record");
    let is_any = kills.iter().any(|is_amid| *is_amid);
    assert!(is_any || kills.len() < 4, "no start was ever killed");
    let ended = server.stop();
    assert!(ended.status.success(), "{}", ended.log);
    let server = start(folder.path());
    for subject in &subjects {
        subject.audit(&server);
    }
}

/// A topic that is produced to, and the books on its partitions.
struct Subject {
    topic: Target,
    ledgers: Vec<Ledger>,
}

impl Subject {
    fn create(wire: &mut Wire, name: &str, partitions: u32, segment_bytes: u64) -> Self {
        let ledgers = (0..partitions).map(|_| Ledger::default()).collect();
        let topic = wire.topic(name, partitions, segment_bytes);
        Self { topic, ledgers }
    }

    /// Producers for a round: on the shared port and on ports of cores, with wide and narrow
    /// windows, one in four of them content with less than a promise.
    fn tasks(&self, server: &Server, first: u32, random: &mut fastrand::Rng) -> (Vec<Task>, u32) {
        let partitions = u32::try_from(self.ledgers.len()).unwrap();
        let next = first + 3.max(2 * partitions);
        let task = |producer| Task {
            address: if producer % 2 == 0 {
                server.ready.listen
            } else {
                server.ready.cores[random.usize(..server.ready.cores.len())]
            },
            topic: self.topic.clone(),
            partition: producer % partitions,
            producer,
            seed: random.u64(..),
            level: if random.u32(..4) == 0 {
                Level::Accepted
            } else {
                Level::Durable
            },
            window: random.usize(1..=8),
        };
        ((first..next).map(task).collect(), next)
    }

    /// Runs the producers and a follower per partition, and ends the server at a random moment.
    fn produce_until_ended(
        &self,
        server: Server,
        tasks: Vec<Task>,
        random: &mut fastrand::Rng,
    ) -> (Duration, Vec<Round>) {
        let followers: Vec<JoinHandle<Vec<Seen>>> = (0..)
            .zip(&self.ledgers)
            .map(|(partition, ledger)| {
                let (address, topic) = (server.ready.listen, self.topic.clone());
                let from = ledger.end();
                thread::spawn(move || follower::run(address, &topic, partition, from))
            })
            .collect();
        let (begun, is_begun) = mpsc::channel();
        let producers: Vec<(u32, JoinHandle<Vec<Acked>>)> = tasks
            .into_iter()
            .map(|task| {
                let begun = begun.clone();
                let partition = task.partition;
                (
                    partition,
                    thread::spawn(move || producer::run(&task, &begun)),
                )
            })
            .collect();
        let started = Instant::now();
        // One kill in eight comes before anything was answered, perhaps before it was asked.
        if random.u32(..8) == 0 {
            pause(random.u64(..20_000));
        } else {
            is_begun
                .recv_timeout(DEADLINE)
                .expect("a first answer in time");
            pause(random.u64(..900_000));
        }
        // One end in six is an ordered one, under the same load.
        let ended = if random.u32(..6) == 0 {
            let ended = server.stop();
            assert!(ended.status.success(), "{}", ended.log);
            ended
        } else {
            server.kill()
        };
        assert!(!ended.log.contains("panicked"), "{}", ended.log);
        let mut books: Vec<Round> = self.ledgers.iter().map(|_| Round::default()).collect();
        for (partition, producer) in producers {
            let acked = producer.join().unwrap();
            books[partition as usize].acked.extend(acked);
        }
        for (round, follower) in books.iter_mut().zip(followers) {
            round.seen = follower.join().unwrap();
        }
        (started.elapsed(), books)
    }

    /// Holds the books against the restarted server; gives the records promised in the round.
    fn settle(&mut self, server: &Server, books: &[Round]) -> u64 {
        let before = self.promised();
        let mut wire = Wire::open(server.ready.listen).unwrap();
        for (partition, (ledger, round)) in (0..).zip(self.ledgers.iter_mut().zip(books)) {
            ledger.settle(&mut wire, &self.topic, partition, round);
        }
        self.promised() - before
    }

    fn audit(&self, server: &Server) {
        let mut wire = Wire::open(server.ready.listen).unwrap();
        for (partition, ledger) in (0..).zip(&self.ledgers) {
            ledger.audit(&mut wire, &self.topic, partition);
        }
    }

    fn promised(&self) -> u64 {
        self.ledgers.iter().map(|ledger| ledger.promised).sum()
    }
}

fn start(data_dir: &Path) -> Server {
    Start::on(data_dir).cores(2).start()
}

/// Recovery itself may be killed, and has to begin again from what it left. Whether it was not through, of one that takes
/// about so long.
fn kill_while_starting(data_dir: &Path, takes: Duration, random: &mut fastrand::Rng) -> bool {
    let mut child = Start::on(data_dir).cores(2).command().spawn().unwrap();
    let takes = u64::try_from(takes.as_micros()).unwrap();
    pause(random.u64(..takes.max(1)));
    child.kill().unwrap();
    child.wait_with_output().unwrap().stdout.is_empty()
}

/// A moment is not a condition: nothing is waited for but the time.
fn pause(microseconds: u64) {
    let until = Instant::now() + Duration::from_micros(microseconds);
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        thread::park_timeout(left);
    }
}
