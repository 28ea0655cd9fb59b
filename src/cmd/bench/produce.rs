//! `corelog bench produce`: a closed loop of producers.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use corelog_client::{Client, NewTopic, ProduceError, Producer, ProducerConfig};
use corelog_protocol::message::ack::Level;
use corelog_record::batch::Codec;
use corelog_record::{ByteSize, PartitionId, Record, TopicName};
use hdrhistogram::Histogram;
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinSet, LocalSet};

use super::rates::Rates;
use crate::cmd::topic::policy::Ack;
use crate::exit::{Exit, stop};
use crate::output::{Format, Out};
use crate::{cli, quantity, session};

/// Measure producing: MiB/s, records/s and the latency of acknowledgements.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Measure producing: MiB/s, records/s and the latency of acknowledgements.\n\n\
        A closed loop: each partition keeps --window batches in flight and sends the next when \
        one is acknowledged. A latency is the time from sending a batch to its acknowledgement. \
        The first tenth of the run warms up and is not counted. The topic is created if it is \
        not there.",
    after_long_help = "EXAMPLES\n  \
        corelog bench produce\n  \
        corelog bench produce --record-bytes 1KiB --total 2GiB --partitions 4\n  \
        corelog bench produce --batch-bytes 1 --window 1      # latency of a lone record\n  \
        corelog bench produce --ack accepted --output json"
)]
pub(crate) struct Args {
    /// The topic to produce to.
    #[arg(long, value_name = "NAME", value_parser = quantity::topic_name, default_value = "bench")]
    topic: TopicName,
    /// How many partitions the topic is created with.
    #[arg(long, value_name = "N", default_value_t = 1)]
    partitions: u32,
    /// The size of a record's value.
    #[arg(long, value_name = "SIZE", default_value = "100B")]
    record_bytes: ByteSize,
    /// How many values to send in all.
    #[arg(long, value_name = "SIZE", default_value = "512MiB")]
    total: ByteSize,
    /// The size at which a batch is full.
    #[arg(long, value_name = "SIZE", default_value = "256KiB")]
    batch_bytes: ByteSize,
    /// How many batches each partition keeps in flight.
    #[arg(long, value_name = "N", default_value_t = 8)]
    window: usize,
    /// When a record counts as acknowledged [default: what the topic says]
    #[arg(long, value_name = "LEVEL", value_enum)]
    ack: Option<Ack>,
    /// How batches are compressed: none, gzip, snappy, lz4 or zstd.
    #[arg(long, value_name = "CODEC", default_value = "none")]
    compression: Codec,
    #[command(flatten)]
    client: cli::Client,
}

/// Runs the load and prints what it measured.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    if args.record_bytes.bytes() == 0 || args.total < args.record_bytes || args.window == 0 {
        let message = "a run needs records: --record-bytes, --window above 0, --total above both";
        return Err(stop(Exit::Usage, message));
    }
    session::run(&args.client, |client| bench(args, client))
}

async fn bench(args: &Args, client: Client) -> anyhow::Result<Exit> {
    let mut topic = NewTopic::new(args.topic.clone(), args.partitions);
    topic.if_not_exists = true;
    let partitions = client.admin().create_topic(topic).await?.partitions;
    let plan = Plan::of(args, partitions);
    let producer = Rc::new(client.producer(ProducerConfig {
        linger: Duration::ZERO,
        batch_bytes_max: plan.batch_bytes_max,
        in_flight_max: args.window,
        codec: args.compression,
        level: args.ack.map(Level::from),
        delivery_timeout: args.client.timeout(),
        ..ProducerConfig::default()
    }));
    let values = Rc::new(values(plan.record_bytes));
    let (acks, mut receiver) = mpsc::unbounded_channel();
    let mut loops = JoinSet::new();
    let local = LocalSet::new();
    for partition in (0..partitions).map(PartitionId::new) {
        let (producer, values, acks) = (Rc::clone(&producer), Rc::clone(&values), acks.clone());
        let topic = args.topic.clone();
        loops.spawn_local_on(
            async move { drive(&producer, &topic, partition, plan, &values, acks).await },
            &local,
        );
    }
    drop(acks);
    let measured = local
        .run_until(async {
            let mut measure = Measure::new(plan.batches)?;
            while let Some(ack) = receiver.recv().await {
                measure.add(&ack?, plan);
            }
            while let Some(ended) = loops.join_next().await {
                ended??;
            }
            Ok::<_, anyhow::Error>(measure)
        })
        .await?;
    print(args, partitions, plan, &measured)?;
    Ok(Exit::Done)
}

/// What is sent, in numbers.
#[derive(Clone, Copy, Debug)]
struct Plan {
    record_bytes: usize,
    batch_records: u64,
    batch_bytes_max: usize,
    /// Batches in all, and of each partition.
    batches: u64,
    partition_batches: u64,
    window: usize,
}

impl Plan {
    fn of(args: &Args, partitions: u32) -> Self {
        let record_bytes = args.record_bytes.bytes();
        let batch_records = (args.batch_bytes.bytes() / record_bytes).max(1);
        let records = args.total.bytes() / record_bytes;
        let partition_batches = records
            .div_ceil(batch_records)
            .div_ceil(u64::from(partitions));
        // Room for what a record needs beside its value.
        const OVERHEAD_BYTES: u64 = 32;
        let batch_bytes_max = batch_records * (record_bytes + OVERHEAD_BYTES) + 1024;
        let memory = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Self {
            record_bytes: memory(record_bytes),
            batch_records,
            batch_bytes_max: memory(batch_bytes_max),
            batches: partition_batches * u64::from(partitions),
            partition_batches,
            window: args.window,
        }
    }
}

/// A batch that was acknowledged.
struct Acked {
    sent: Instant,
    at: Instant,
}

type Acks = mpsc::UnboundedSender<Result<Acked, ProduceError>>;

/// Keeps a window of batches in flight until all of a partition are sent.
async fn drive(
    producer: &Producer,
    topic: &TopicName,
    partition: PartitionId,
    plan: Plan,
    values: &[Vec<u8>],
    acks: Acks,
) -> anyhow::Result<()> {
    let window = Arc::new(Semaphore::new(plan.window));
    let mut values = values.iter().cycle();
    for _ in 0..plan.partition_batches {
        let turn = Arc::clone(&window).acquire_owned().await?;
        let sent = Instant::now();
        let timestamp = quantity::now();
        let mut last = None;
        for _ in 0..plan.batch_records {
            let value = values.next().cloned();
            let record = Record {
                timestamp,
                value,
                ..Record::default()
            };
            last = Some(producer.send(topic, Some(partition), record).await?);
        }
        let acks = acks.clone();
        tokio::task::spawn_local(async move {
            if let Some(last) = last {
                let acked = last.await.map(|_| Acked {
                    sent,
                    at: Instant::now(),
                });
                // Nobody listens any more once a batch has failed.
                let _ = acks.send(acked);
            }
            drop(turn);
        });
    }
    Ok(())
}

/// Values that do not compress to nothing, the same in every run.
fn values(bytes: usize) -> Vec<Vec<u8>> {
    const SEED: u64 = 7;
    const VALUES_BYTES: usize = 1 << 20;
    let mut random = fastrand::Rng::with_seed(SEED);
    let count = (VALUES_BYTES / bytes).clamp(1, 1_000);
    let mut value = || (0..bytes).map(|_| random.u8(b' '..=b'~')).collect();
    (0..count).map(|_| value()).collect()
}

/// Latencies and counts behind the warm-up.
struct Measure {
    warm_up: u64,
    seen: u64,
    started: Option<Instant>,
    ended: Option<Instant>,
    records: u64,
    bytes: u64,
    latency_us: Histogram<u64>,
}

impl Measure {
    fn new(batches: u64) -> anyhow::Result<Self> {
        const LATENCY_US_MAX: u64 = 60_000_000;
        const DIGITS: u8 = 3;
        Ok(Self {
            warm_up: batches / 10,
            seen: 0,
            started: None,
            ended: None,
            records: 0,
            bytes: 0,
            latency_us: Histogram::new_with_bounds(1, LATENCY_US_MAX, DIGITS)?,
        })
    }

    fn add(&mut self, acked: &Acked, plan: Plan) {
        self.seen += 1;
        if self.seen <= self.warm_up {
            self.started = Some(acked.at);
            return;
        }
        self.started.get_or_insert(acked.sent);
        self.ended = Some(acked.at);
        self.records += plan.batch_records;
        self.bytes += plan.batch_records * plan.record_bytes as u64;
        let us = u64::try_from((acked.at - acked.sent).as_micros()).unwrap_or(u64::MAX);
        self.latency_us.saturating_record(us);
    }

    fn took(&self) -> Duration {
        self.started
            .zip(self.ended)
            .map_or(Duration::ZERO, |(started, ended)| ended - started)
    }
}

fn print(args: &Args, partitions: u32, plan: Plan, measure: &Measure) -> anyhow::Result<()> {
    let rates = Rates::of(measure.records, measure.bytes, measure.took());
    let latency = |quantile| measure.latency_us.value_at_quantile(quantile);
    let (p50, p99, p999) = (latency(0.5), latency(0.99), latency(0.999));
    let mut out = Out::new();
    match args.client.output {
        Format::Table => {
            let row = |name: &str, value: String| vec![name.to_owned(), value];
            let mut rows = vec![row(
                "batches",
                format!("{} records each", plan.batch_records),
            )];
            rows.extend(rates.rows());
            for (name, us) in [("ack p50", p50), ("ack p99", p99), ("ack p99.9", p999)] {
                rows.push(row(name, format!("{us} us")));
            }
            rows.push(row("ack max", format!("{} us", measure.latency_us.max())));
            out.table(&[], rows)?;
        }
        Format::Json => out.json(&json!({
            "partitions": partitions,
            "record_bytes": plan.record_bytes,
            "batch_records": plan.batch_records,
            "window": plan.window,
            "compression": args.compression.to_string(),
            "records": measure.records,
            "bytes": measure.bytes,
            "seconds": rates.seconds,
            "records_per_s": rates.records_per_s,
            "mib_per_s": rates.mib_per_s,
            "ack_us": {
                "p50": p50, "p99": p99, "p99.9": p999, "max": measure.latency_us.max(),
            },
        }))?,
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn a_plan_sends_at_least_what_was_asked_for() {
        let line = [
            "bench",
            "--record-bytes",
            "100B",
            "--total",
            "1MiB",
            "--batch-bytes",
            "1KiB",
        ];
        let plan = Plan::of(&Line::parse_from(line).args, 3);
        assert_eq!(plan.batch_records, 10);
        assert!(plan.batches * plan.batch_records * 100 >= 1 << 20);
        assert!(plan.batch_bytes_max >= 1000);
    }
}
