//! A program that produces as fast as it may, and keeps books.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use corelog_client::record::{PartitionId, Record, TopicName};
use corelog_client::{
    Backoff, BatchReport, Client, ClientConfig, Delivery, Observer, Producer, ProducerConfig,
};

use super::books::{Books, Id};
use super::deadline::{DEADLINE, until};

/// What to produce, and how.
#[derive(Clone)]
pub(crate) struct Task {
    pub(crate) server: String,
    pub(crate) topic: TopicName,
    pub(crate) partitions: u32,
    pub(crate) producer: ProducerConfig,
    /// How long a request may take, retries included.
    pub(crate) timeout: Duration,
}

/// Producing until it is told to stop.
pub(crate) struct Load {
    thread: JoinHandle<Report>,
    meter: Arc<Meter>,
}

/// What came of it.
pub(crate) struct Report {
    pub(crate) books: Books,
    /// The most bytes of records that were sent and not settled.
    pub(crate) unsettled_most: usize,
    pub(crate) settled_batches: u64,
}

/// What the producer's thread and its observer tell as they go.
#[derive(Default)]
struct Meter {
    is_over: AtomicBool,
    acked: AtomicUsize,
    failed: AtomicUsize,
    unsettled: AtomicUsize,
    unsettled_most: AtomicUsize,
    disordered: AtomicUsize,
    /// The sequence of the next batch to be settled, by partition.
    next: Mutex<BTreeMap<PartitionId, u64>>,
}

impl Load {
    pub(crate) fn begin(task: Task) -> Self {
        let meter = Arc::<Meter>::default();
        let thread = thread::spawn({
            let meter = Arc::clone(&meter);
            move || run(&task, &meter)
        });
        Self { thread, meter }
    }

    /// Waits until `count` more records are acknowledged.
    pub(crate) fn wait_for_acks(&self, count: usize) {
        let enough = self.meter.acked.load(Ordering::Relaxed) + count;
        until(&format!("{count} more acknowledgements"), || {
            self.meter.acked.load(Ordering::Relaxed) >= enough || self.thread.is_finished()
        });
    }

    /// How many records failed so far, whatever their outcome.
    pub(crate) fn failed(&self) -> usize {
        self.meter.failed.load(Ordering::Relaxed)
    }

    /// Stops sending, waits until all is settled, and gives the books.
    pub(crate) fn end(self) -> Report {
        self.meter.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

impl Meter {
    fn sent(&self, bytes: usize) {
        let unsettled = self.unsettled.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.unsettled_most.fetch_max(unsettled, Ordering::Relaxed);
    }

    fn settled(&self, report: &BatchReport) {
        let bytes = usize::try_from(report.record_bytes).unwrap();
        self.unsettled.fetch_sub(bytes, Ordering::Relaxed);
        let count = match report.result {
            Ok(_) => &self.acked,
            Err(_) => &self.failed,
        };
        count.fetch_add(report.record_count as usize, Ordering::Relaxed);
        let mut next = self.next.lock().unwrap();
        let next = next.entry(report.partition).or_default();
        // Not an assertion: a panic in the producer's task would hide what it says.
        if report.sequence != *next {
            self.disordered.fetch_add(1, Ordering::Relaxed);
        }
        *next = report.sequence + 1;
    }
}

/// What leads to the server may cut the very first connection, too.
pub(crate) async fn connect(config: &ClientConfig) -> Client {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match Client::connect(config.clone()).await {
            Ok(client) => return client,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(BACKOFF.max).await;
    }
}

/// On one thread: what is measured between two awaits is exact.
fn run(task: &Task, meter: &Arc<Meter>) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let books = runtime.block_on(async {
        let config = ClientConfig {
            timeout: task.timeout,
            backoff: BACKOFF,
            ..ClientConfig::new([task.server.clone()])
        };
        let client = connect(&config).await;
        let observer: Observer = Arc::new({
            let meter = Arc::clone(meter);
            move |report: &BatchReport| meter.settled(report)
        });
        let memory_bytes_max = task.producer.memory_bytes_max;
        let producer = client.producer(ProducerConfig {
            observer: Some(observer),
            ..task.producer.clone()
        });
        let senders: Vec<_> = (0..task.partitions)
            .map(|partition| {
                let sending = send(
                    producer.clone(),
                    task.topic.clone(),
                    partition,
                    Arc::clone(meter),
                );
                tokio::spawn(sending)
            })
            .collect();
        let mut books = Books::default();
        for sender in senders {
            let sent = sender.await.unwrap();
            let settled = tokio::time::timeout(DEADLINE, producer.flush()).await;
            assert!(settled.is_ok(), "not everything is settled in time");
            for (id, delivery) in sent {
                books.note(id, delivery.await);
            }
        }
        assert_eq!(producer.memory_bytes(), 0, "settled records hold no memory");
        let most = meter.unsettled_most.load(Ordering::Relaxed);
        assert!(most <= memory_bytes_max, "{most} bytes were not settled");
        books
    });
    assert_eq!(meter.unsettled.load(Ordering::Relaxed), 0);
    let disordered = meter.disordered.load(Ordering::Relaxed);
    assert_eq!(disordered, 0, "batches are settled in order");
    Report {
        books,
        unsettled_most: meter.unsettled_most.load(Ordering::Relaxed),
        settled_batches: meter.next.lock().unwrap().values().sum(),
    }
}

/// Sends a partition's records in order until told to stop.
async fn send(
    producer: Producer,
    topic: TopicName,
    partition: u32,
    meter: Arc<Meter>,
) -> Vec<(Id, Delivery)> {
    let mut sent = Vec::new();
    for number in 0.. {
        if meter.is_over.load(Ordering::Relaxed) {
            break;
        }
        let id = Id { partition, number };
        let value = id.value();
        let bytes = value.len();
        let record = Record {
            value: Some(value),
            ..Record::default()
        };
        let place = Some(PartitionId::new(partition));
        match producer.send(&topic, place, record).await {
            Ok(delivery) => {
                meter.sent(bytes);
                sent.push((id, delivery));
            }
            // It was not accepted, so the audit shall not find it.
            Err(error) => panic!("a known topic takes records: {error}"),
        }
        tokio::task::yield_now().await;
    }
    sent
}

/// Quick, so that a test does not wait for a client that waits.
const BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(2),
    max: Duration::from_millis(50),
};
