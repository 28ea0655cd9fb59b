//! Those who behave: a producer that waits for each acknowledgement, and a consumer that follows.

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
    waited: Mutex<Waited>,
}

/// What was waited, from the sending of each record on.
#[derive(Default)]
pub(crate) struct Waited {
    for_ack: Vec<Duration>,
    for_delivery: Vec<Duration>,
    busy: u64,
}

/// Begins a producer and a consumer for each partition; they end when it is over.
pub(crate) fn begin(
    server: SocketAddr,
    topic: &Target,
    ledger: &Arc<Ledger>,
    is_over: &Arc<AtomicBool>,
) -> Vec<JoinHandle<()>> {
    let mut threads = Vec::new();
    for partition in 0..PARTITIONS {
        let (topic, ledger, is_over) = (topic.clone(), Arc::clone(ledger), Arc::clone(is_over));
        let consumer = (topic.clone(), Arc::clone(&ledger), Arc::clone(&is_over));
        let wire = Wire::open(server).unwrap();
        threads.push(thread::spawn(move || {
            produce(wire, &topic, partition, &ledger, &is_over);
        }));
        let wire = Wire::open(server).unwrap();
        let (topic, ledger, is_over) = consumer;
        threads.push(thread::spawn(move || {
            follow(wire, &topic, partition, &ledger, &is_over);
        }));
    }
    threads
}

fn produce(mut wire: Wire, topic: &Target, partition: u32, ledger: &Ledger, is_over: &AtomicBool) {
    let (mut number, mut request) = (0_u64, topic.produce(partition));
    while !is_over.load(Ordering::Relaxed) {
        let body = batch(Codec::None, [number.to_string()]);
        let begun = ledger.begin(partition, number);
        // Whoever behaves is never cut.
        match wire.call(&request, &body).unwrap() {
            Ok(_) => {
                ledger.acked.lock().unwrap()[partition as usize].push(number);
                let waited = begun.elapsed();
                ledger.waited.lock().unwrap().for_ack.push(waited);
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

fn follow(mut wire: Wire, topic: &Target, partition: u32, ledger: &Ledger, is_over: &AtomicBool) {
    let (mut next, mut expected) = (Offset::ZERO, 0);
    while !is_over.load(Ordering::Relaxed) {
        let mut request = topic.fetch(partition, next);
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
            Err(error) => assert!(error.is(ErrorCode::Busy), "{error}"),
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
        let number = usize::try_from(number).unwrap();
        let waited = self.sent.lock().unwrap()[partition as usize][number].elapsed();
        self.waited.lock().unwrap().for_delivery.push(waited);
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
