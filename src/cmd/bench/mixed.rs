//! `corelog bench mixed`: producers at a steady rate and consumers that follow them.

use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use corelog_client::{Client, ConsumerConfig, End, Start};
use corelog_record::PartitionId;
use serde_json::json;
use tokio::task::LocalSet;

use super::latencies::{Latencies, micros};
use super::open_loop::{Acked, Load, Schedule};
use super::payload::Check;
use super::rates::Rates;
use crate::exit::Exit;
use crate::output::{Format, Out};
use crate::{cli, session};

/// Measure acknowledgements and delivery to consumers that follow.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Measure acknowledgements and delivery to consumers that follow.\n\n\
        An open loop as `corelog bench latency` is one, and a consumer of all partitions that waits \
        for what comes. Delivery is the time from when a batch was due until its last record is in \
        the consumer's hand, decoded and checked against what was sent. The first second warms up \
        and is not counted.",
    after_long_help = "EXAMPLES\n  \
        corelog bench mixed --rate 500\n  \
        corelog bench mixed --rate 200000 --batch-records 200 --partitions 8 --duration 60m"
)]
pub(crate) struct Args {
    #[command(flatten)]
    load: Load,
    #[command(flatten)]
    client: cli::Client,
}

/// Runs the load and prints what it measured.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    args.load.check()?;
    session::run(&args.client, |client| bench(args, client))
}

/// What is measured.
struct Measured {
    acks: Latencies,
    deliveries: Latencies,
    slowest: BinaryHeap<Slow>,
    records: u64,
    bytes: u64,
    took: Duration,
}

/// An acknowledgement that took long; the fastest is the greatest, so that it goes first.
struct Slow(Acked);

async fn bench(args: &Args, client: Client) -> anyhow::Result<Exit> {
    args.load.create(&client).await?;
    let local = LocalSet::new();
    let measured = local.run_until(measure(args, &client)).await?;
    print(args, measured)?;
    Ok(Exit::Done)
}

async fn measure(args: &Args, client: &Client) -> anyhow::Result<Measured> {
    let load = &args.load;
    let mut consumer = client.consumer(ConsumerConfig {
        unreachable_timeout: Some(args.client.timeout()),
        ..ConsumerConfig::default()
    });
    for partition in (0..load.partitions).map(PartitionId::new) {
        consumer.assign(&load.topic, partition, Start::Latest, End::Follow);
    }
    // A follower that has not begun would begin behind the first records.
    while (0..load.partitions).any(|partition| {
        consumer
            .progress(&load.topic, PartitionId::new(partition))
            .is_none()
    }) {
        let begun = tokio::time::timeout(POLL, consumer.next_batch()).await;
        if let Ok(Some(batch)) = begun {
            drop(batch?);
        }
    }
    let (schedule, mut acks) = load.start(client, args.client.timeout());
    let mut measured = Measured {
        acks: Latencies::new()?,
        deliveries: Latencies::new()?,
        slowest: BinaryHeap::new(),
        records: 0,
        bytes: 0,
        took: Duration::ZERO,
    };
    let begun = Instant::now();
    let mut checks: Vec<_> = (0..load.partitions).map(|_| Check::default()).collect();
    let (mut left, mut is_acked) = (load.batch_count() * u64::from(load.batch_records), false);
    while left > 0 || !is_acked {
        tokio::select! {
            acked = acks.recv(), if !is_acked => match acked {
                Some(acked) => measured.acked(acked?, &schedule),
                None => is_acked = true,
            },
            batch = consumer.next_batch(), if left > 0 => {
                let Some(batch) = batch else { break };
                let batch = batch?;
                let check = &mut checks[batch.partition.get() as usize];
                let mut last = 0;
                for record in batch.records() {
                    let record = record?;
                    let value = record.value.unwrap_or_default();
                    last = check.look(batch.partition, record.offset, value)?;
                    measured.records += 1;
                    measured.bytes += value.len() as u64;
                    left = left.saturating_sub(1);
                }
                measured.delivered(load, &schedule, batch.partition, last);
            }
        }
    }
    measured.took = begun.elapsed();
    Ok(measured)
}

impl Measured {
    fn acked(&mut self, acked: Acked, schedule: &Schedule) {
        if Instant::now() - acked.took < schedule.due(0) + WARM_UP {
            return;
        }
        self.acks.add(acked.took);
        self.slowest.push(Slow(acked));
        if self.slowest.len() > SLOWEST_COUNT {
            self.slowest.pop();
        }
    }

    /// A batch was delivered to its last value, the one of that number in its partition.
    fn delivered(&mut self, load: &Load, schedule: &Schedule, partition: PartitionId, last: u64) {
        let turns = last / u64::from(load.batch_records);
        let batch = turns * u64::from(load.partitions) + u64::from(partition.get());
        let due = schedule.due(batch);
        if schedule.due(0) + WARM_UP <= due {
            self.deliveries.add(due.elapsed());
        }
    }
}

fn print(args: &Args, measured: Measured) -> anyhow::Result<()> {
    let rates = Rates::of(measured.records, measured.bytes, measured.took);
    let slowest = measured.slowest.into_sorted_vec();
    let mut out = Out::new();
    match args.client.output {
        Format::Table => {
            let mut rows = rates.rows();
            rows.extend(measured.acks.rows("ack"));
            rows.extend(measured.deliveries.rows("delivery"));
            out.table(&[], rows)?;
            out.line("")?;
            let rows = slowest.iter().map(|Slow(acked)| {
                vec![
                    micros(acked.took).to_string(),
                    acked.partition.to_string(),
                    acked.offset.to_string(),
                    acked.due_us.to_string(),
                ]
            });
            out.table(&["SLOWEST US", "PARTITION", "OFFSET", "DUE US"], rows)?;
        }
        Format::Json => {
            let slow = |Slow(acked): &Slow| {
                json!({
                    "us": micros(acked.took),
                    "partition": acked.partition.get(),
                    "offset": acked.offset.get(),
                    "due_us": acked.due_us,
                })
            };
            out.json(&json!({
                "partitions": args.load.partitions,
                "record_bytes": args.load.record_bytes.bytes(),
                "batch_records": args.load.batch_records,
                "rate": args.load.rate,
                "records": measured.records,
                "bytes": measured.bytes,
                "seconds": rates.seconds,
                "records_per_s": rates.records_per_s,
                "mib_per_s": rates.mib_per_s,
                "ack_us": measured.acks.json(),
                "delivery_us": measured.deliveries.json(),
                "slowest": slowest.iter().map(slow).collect::<Vec<_>>(),
            }))?;
        }
    }
    out.flush()
}

impl Ord for Slow {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.0.took.cmp(&self.0.took)
    }
}

impl PartialOrd for Slow {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Slow {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Slow {}

/// What is due before is not counted.
const WARM_UP: Duration = Duration::from_secs(1);

/// How many of the slowest acknowledgements are told.
const SLOWEST_COUNT: usize = 20;

/// How often is looked whether the followers have begun.
const POLL: Duration = Duration::from_millis(10);
