//! Those who behave: of each partition a producer that waits for each acknowledgement, and a follower of all that comes.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use corelog_protocol::error::{Applied, ErrorCode};
use corelog_record::Offset;
use corelog_record::batch::{Codec, View, split_first};

use crate::support::deadline;
use crate::support::wire::{Target, Wire, batch};

/// Between two records of a producer.
const PAUSE: Duration = Duration::from_millis(5);
const PARTITIONS: u32 = 2;

/// What was acknowledged, and what was waited for that.
#[derive(Default)]
pub(crate) struct Ledger {
    acked: Mutex<[Vec<u64>; PARTITIONS as usize]>,
    /// When each record was sent.
    sent: Mutex<[Vec<Instant>; PARTITIONS as usize]>,
    /// How many came to the follower of each partition.
    delivered: Mutex<[usize; PARTITIONS as usize]>,
    waited: Mutex<Waited>,
}

/// What was waited, from the sending of each record on, and how many were acknowledged and delivered of each partition.
#[derive(Default)]
pub(crate) struct Waited {
    for_ack: Vec<Duration>,
    for_delivery: Vec<Duration>,
    acked: [u64; PARTITIONS as usize],
    delivered: [u64; PARTITIONS as usize],
    busy: u64,
}

/// All of them, at work.
pub(crate) struct Good {
    producers: Vec<JoinHandle<()>>,
    followers: Vec<JoinHandle<()>>,
    ledger: Arc<Ledger>,
    is_produced: Arc<AtomicBool>,
    is_followed: Arc<AtomicBool>,
}

impl Good {
    /// Begins a producer and a follower for each partition.
    pub(crate) fn begin(server: SocketAddr, topic: &Target, ledger: &Arc<Ledger>) -> Self {
        let (is_produced, is_followed) = (Arc::default(), Arc::default());
        let each = |is_over: &Arc<AtomicBool>, work: fn(&Work)| {
            let each = (0..PARTITIONS).map(|partition| {
                let work_of_one = Work {
                    server,
                    topic: topic.clone(),
                    partition,
                    ledger: Arc::clone(ledger),
                    is_over: Arc::clone(is_over),
                };
                thread::spawn(move || work(&work_of_one))
            });
            each.collect()
        };
        Self {
            producers: each(&is_produced, produce),
            followers: each(&is_followed, follow),
            ledger: Arc::clone(ledger),
            is_produced,
            is_followed,
        }
    }

    /// Ends the producers, and the followers when each has all that was acknowledged.
    pub(crate) fn end(self) {
        self.is_produced.store(true, Ordering::Relaxed);
        let join = |threads: Vec<JoinHandle<()>>| {
            threads
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
        };
        join(self.producers);
        deadline::until("each follower has all that was acknowledged", || {
            self.ledger.is_all_delivered()
        });
        self.is_followed.store(true, Ordering::Relaxed);
        join(self.followers);
    }
}

/// What one of them has to do.
struct Work {
    server: SocketAddr,
    topic: Target,
    partition: u32,
    ledger: Arc<Ledger>,
    is_over: Arc<AtomicBool>,
}

fn produce(work: &Work) {
    let (partition, ledger) = (work.partition, &work.ledger);
    let mut wire = Wire::open(work.server).unwrap();
    let (mut number, mut request) = (0_u64, work.topic.produce(partition));
    while !work.is_over.load(Ordering::Relaxed) {
        let body = batch(Codec::None, [number.to_string()]);
        let begun = ledger.begin(partition, number);
        // Whoever behaves is never cut.
        match wire.call(&request, &body).unwrap() {
            Ok(_) => {
                ledger.acked.lock().unwrap()[partition as usize].push(number);
                let mut waited = ledger.waited.lock().unwrap();
                waited.for_ack.push(begun.elapsed());
                waited.acked[partition as usize] += 1;
                number += 1;
            }
            Err(error) => {
                assert!(error.is(ErrorCode::Busy), "{error}");
                assert_eq!(error.applied(), Applied::No, "{error}");
                request.run += 1;
                ledger.waited.lock().unwrap().busy += 1;
            }
        }
        thread::park_timeout(PAUSE);
    }
}

fn follow(work: &Work) {
    let (partition, ledger) = (work.partition, &work.ledger);
    let mut wire = Wire::open(work.server).unwrap();
    let (mut next, mut expected) = (Offset::ZERO, 0);
    while !work.is_over.load(Ordering::Relaxed) {
        let mut request = work.topic.fetch(partition, next);
        request.max_wait_ms = 500;
        match wire.call(&request, &[]).unwrap() {
            Ok((answer, body)) => {
                for number in numbers(&body) {
                    assert_eq!(number, expected, "partition {partition}");
                    ledger.deliver(partition, number);
                    expected += 1;
                }
                next = answer.next;
            }
            Err(error) => {
                assert!(error.is(ErrorCode::Busy), "{error}");
                ledger.waited.lock().unwrap().busy += 1;
            }
        }
    }
}

fn numbers(mut batches: &[u8]) -> Vec<u64> {
    let mut numbers = Vec::new();
    while let Some((batch, rest)) = split_first(batches).unwrap() {
        for record in View::verify(batch).unwrap().records().unwrap() {
            let value = record.unwrap().value.unwrap();
            numbers.push(std::str::from_utf8(value).unwrap().parse().unwrap());
        }
        batches = rest;
    }
    numbers
}

impl Ledger {
    /// A record is sent, for the first time or again.
    fn begin(&self, partition: u32, number: u64) -> Instant {
        let begun = Instant::now();
        let sent = &mut self.sent.lock().unwrap()[partition as usize];
        sent.truncate(usize::try_from(number).unwrap());
        sent.push(begun);
        begun
    }

    fn deliver(&self, partition: u32, number: u64) {
        let (number, partition) = (usize::try_from(number).unwrap(), partition as usize);
        let took = self.sent.lock().unwrap()[partition][number].elapsed();
        self.delivered.lock().unwrap()[partition] += 1;
        let mut waited = self.waited.lock().unwrap();
        waited.for_delivery.push(took);
        waited.delivered[partition] += 1;
    }

    fn is_all_delivered(&self) -> bool {
        let acked = self.acked.lock().unwrap();
        let delivered = self.delivered.lock().unwrap();
        let mut each = acked.iter().zip(*delivered);
        each.all(|(acked, delivered)| acked.len() == delivered)
    }

    /// Waits until so many records are acknowledged.
    pub(crate) fn wait_for_acks(&self, count: usize) {
        deadline::until("records are acknowledged", || {
            let acked = self.acked.lock().unwrap();
            count <= acked.iter().map(Vec::len).sum()
        });
    }

    /// What was waited since the last time.
    pub(crate) fn take_waited(&self) -> Waited {
        let mut waited = std::mem::take(&mut *self.waited.lock().unwrap());
        waited.for_ack.sort_unstable();
        waited.for_delivery.sort_unstable();
        waited
    }

    /// Holds all that is in the topic against what was acknowledged; how many that was.
    pub(crate) fn audit(&self, wire: &mut Wire, topic: &Target) -> usize {
        let acked = self.acked.lock().unwrap();
        for (partition, acked) in (0..).zip(acked.iter()) {
            let found = numbers(&wire.read_all(topic, partition, Offset::ZERO));
            assert!(found.is_sorted(), "partition {partition} is out of order");
            let once: BTreeSet<_> = found.iter().collect();
            assert_eq!(once.len(), found.len(), "partition {partition}: twice");
            let lost = acked.iter().find(|number| !once.contains(number));
            assert_eq!(lost, None, "partition {partition}: acknowledged and gone");
        }
        acked.iter().map(Vec::len).sum()
    }
}

impl Waited {
    /// The 99th of a hundred acknowledgements, as a multiple of another's.
    pub(crate) fn ratio_of_p99(&self, other: &Self) -> f64 {
        at(&self.for_ack, 0.99).as_secs_f64() / at(&other.for_ack, 0.99).as_secs_f64()
    }

    /// The least that was acknowledged, or delivered, of any partition.
    pub(crate) fn least(&self) -> u64 {
        let counts = self.acked.iter().chain(&self.delivered);
        counts.copied().min().unwrap_or_default()
    }
}

impl fmt::Display for Waited {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, sorted) in [
            ("acknowledgements", &self.for_ack),
            ("deliveries", &self.for_delivery),
        ] {
            let [p50, p99, max] = [0.5, 0.99, 1.0].map(|share| at(sorted, share));
            let count = sorted.len();
            write!(
                out,
                "{count} {what}, p50 {p50:?}, p99 {p99:?}, max {max:?}; "
            )?;
        }
        write!(out, "{} times Busy", self.busy)
    }
}

fn at(sorted: &[Duration], share: f64) -> Duration {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rank among some thousands"
    )]
    let rank = (sorted.len() as f64 * share) as usize;
    let last = sorted.len().saturating_sub(1);
    sorted.get(rank.min(last)).copied().unwrap_or_default()
}
