//! `corelog bench produce`: a closed loop of producers.

use std::collections::VecDeque;
use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use corelog_client::{BatchDelivery, Client, Producer, ProducerConfig};
use corelog_protocol::message::ack::Level;
use corelog_record::batch::Codec;
use corelog_record::{ByteSize, PartitionId, TopicName};
use indicatif::ProgressBar;
use serde_json::json;
use tokio::task::JoinSet;

use super::latencies::Latencies;
use super::payload::{self, Place, Values};
use super::rates::Rates;
use super::shares::share;
use super::target;
use crate::cmd::topic::policy::Ack;
use crate::exit::{Exit, say, stop};
use crate::output::{Format, Out};
use crate::{cli, progress, quantity, session};

/// Measure producing: MiB/s, records/s and the latency of acknowledgements.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Measure producing: MiB/s, records/s and the latency of acknowledgements.\n\n\
        A closed loop: each producer, on a connection of its own, keeps --window batches in flight in \
        each of its partitions and sends the next when one is acknowledged. A latency is the time \
        from sending a batch to its acknowledgement. Batches are really built, of values that do not \
        compress and that `corelog bench consume` checks. The first tenth of the run warms up and is \
        not counted. The topic is created if it is not there.",
    after_long_help = "EXAMPLES\n  \
        corelog bench produce\n  \
        corelog bench produce --record-bytes 1KiB --batch-bytes 1000KiB --producers 4 --partitions 4\n  \
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
    /// How many producers share the partitions; more than there are partitions share one.
    #[arg(long, value_name = "N", default_value_t = 1)]
    producers: u16,
    /// The size of a record's value, at least 16 bytes.
    #[arg(long, value_name = "SIZE", default_value = "100B")]
    record_bytes: ByteSize,
    /// How many values to send in all.
    #[arg(long, value_name = "SIZE", default_value = "512MiB")]
    total: ByteSize,
    /// The size of the values at which a batch is full.
    #[arg(long, value_name = "SIZE", default_value = "256KiB")]
    batch_bytes: ByteSize,
    /// How many batches a producer keeps in flight in each partition.
    #[arg(long, value_name = "N", default_value_t = 8)]
    window: usize,
    /// When a record counts as acknowledged [default: what the topic says]
    #[arg(long, value_name = "LEVEL", value_enum)]
    ack: Option<Ack>,
    /// How batches are compressed: none, gzip, snappy, lz4 or zstd.
    #[arg(long, value_name = "CODEC", default_value = "none")]
    compression: Codec,
    #[command(flatten)]
    consent: target::Consent,
    #[command(flatten)]
    client: cli::Client,
}

/// Runs the load and prints what it measured.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    payload::check_bytes(args.record_bytes)?;
    let is_some = args.producers > 0 && args.total >= args.record_bytes;
    if !is_some || !(1..=WINDOW_MAX).contains(&args.window) {
        let message = "a run needs records: --total of a record's bytes or more (--record-bytes), \
                       --producers above 0, --window between 1 and 10000";
        return Err(stop(Exit::Usage, message));
    }
    session::run(&args.client, |client| bench(args, client))
}

async fn bench(args: &Args, client: Client) -> anyhow::Result<Exit> {
    let partitions = target::create(&client, &args.topic, args.partitions, args.consent).await?;
    if partitions < args.partitions {
        say(&format!(
            "topic {} is there already, with {partitions} of the {} partitions asked for; name another with --topic",
            args.topic, args.partitions
        ));
    }
    let plan = Plan::of(args, partitions);
    let measure = Arc::new(Mutex::new(Measure::new(plan.batches)?));
    let bar = progress::bytes(Some(plan.batches * plan.batch_bytes()));
    // Tasks: what the runtime itself waits for is woken by a system call each time.
    let mut streams = JoinSet::new();
    for number in 0..args.producers {
        let producer = Arc::new(client.producer(ProducerConfig {
            linger: Duration::ZERO,
            in_flight_max: args.window,
            memory_bytes_max: usize::MAX >> 3,
            level: args.ack.map(Level::from),
            delivery_timeout: args.client.timeout(),
            ..ProducerConfig::default()
        }));
        for partition in share(number.into(), plan.producers.into(), partitions) {
            let stream = Stream {
                producer: Arc::clone(&producer),
                topic: args.topic.clone(),
                partition,
                values: Values::new(
                    Place {
                        topic: &args.topic,
                        partition,
                    },
                    number,
                    plan.record_bytes,
                    plan.batch_records,
                ),
                in_flight: VecDeque::new(),
                measure: Arc::clone(&measure),
                bar: (!bar.is_hidden()).then(|| bar.clone()),
            };
            streams.spawn(stream.drive(plan));
        }
    }
    while let Some(ended) = streams.join_next().await {
        ended??;
    }
    bar.finish_and_clear();
    let measure = measure.lock().unwrap_or_else(PoisonError::into_inner);
    print(args, partitions, plan, &measure)?;
    Ok(Exit::Done)
}

/// What is sent, in numbers.
#[derive(Clone, Copy, Debug)]
struct Plan {
    record_bytes: usize,
    batch_records: u32,
    /// Batches in all, and of each producer in each of its partitions.
    batches: u64,
    stream_batches: u64,
    producers: u16,
    window: usize,
    codec: Codec,
}

impl Plan {
    fn of(args: &Args, partitions: u32) -> Self {
        let record_bytes = args.record_bytes.bytes();
        let batch_records = (args.batch_bytes.bytes() / record_bytes).max(1);
        let records = args.total.bytes() / record_bytes;
        let streams = u64::from(partitions.max(args.producers.into()));
        let stream_batches = records.div_ceil(batch_records).div_ceil(streams);
        Self {
            record_bytes: usize::try_from(record_bytes).unwrap_or(usize::MAX),
            batch_records: u32::try_from(batch_records).unwrap_or(u32::MAX),
            batches: stream_batches * streams,
            stream_batches,
            producers: args.producers,
            window: args.window,
            codec: args.compression,
        }
    }

    /// Bytes of the values of a batch.
    fn batch_bytes(&self) -> u64 {
        u64::from(self.batch_records) * self.record_bytes as u64
    }
}

/// What one producer sends to one partition.
struct Stream {
    producer: Arc<Producer>,
    topic: TopicName,
    partition: PartitionId,
    values: Values,
    /// What is not settled, and when it was sent. It is settled in this order.
    in_flight: VecDeque<(Instant, BatchDelivery)>,
    measure: Arc<Mutex<Measure>>,
    /// One that is hidden looks at the clock all the same.
    bar: Option<ProgressBar>,
}

impl Stream {
    /// Keeps a window of batches in flight until all are sent and acknowledged.
    async fn drive(mut self, plan: Plan) -> anyhow::Result<()> {
        for _ in 0..plan.stream_batches {
            self.settle(plan, plan.window - 1).await?;
            let batch = payload::build(&mut self.values, plan.batch_records, plan.codec)?;
            let sent = Instant::now();
            let sending = self.producer.send_batch(&self.topic, self.partition, batch);
            self.in_flight.push_back((sent, sending.await?));
            // What was built is to leave while the rest of a large window is built.
            tokio::task::consume_budget().await;
        }
        self.settle(plan, 0).await
    }

    /// Counts what is acknowledged; returns once no more than `left` are in flight.
    async fn settle(&mut self, plan: Plan, left: usize) -> anyhow::Result<()> {
        poll_fn(|context| {
            while let Some((sent, delivery)) = self.in_flight.front_mut() {
                let sent = *sent;
                match Pin::new(delivery).poll(context) {
                    Poll::Ready(acked) => acked?,
                    Poll::Pending if self.in_flight.len() <= left => break,
                    Poll::Pending => return Poll::Pending,
                };
                self.in_flight.pop_front();
                let mut measure = self.measure.lock().unwrap_or_else(PoisonError::into_inner);
                measure.add((sent, Instant::now()), plan);
                if let Some(bar) = &self.bar {
                    bar.inc(plan.batch_bytes());
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }
}

/// Latencies and counts behind the warm-up.
struct Measure {
    warm_up: u64,
    seen: u64,
    started: Option<Instant>,
    ended: Option<Instant>,
    records: u64,
    bytes: u64,
    acks: Latencies,
}

impl Measure {
    fn new(batches: u64) -> anyhow::Result<Self> {
        Ok(Self {
            warm_up: batches / 10,
            seen: 0,
            started: None,
            ended: None,
            records: 0,
            bytes: 0,
            acks: Latencies::new()?,
        })
    }

    /// Counts a batch that was acknowledged.
    fn add(&mut self, (sent, at): (Instant, Instant), plan: Plan) {
        self.seen += 1;
        if self.seen <= self.warm_up {
            self.started = Some(at);
            return;
        }
        self.started.get_or_insert(sent);
        self.ended = Some(at);
        self.records += u64::from(plan.batch_records);
        self.bytes += plan.batch_bytes();
        self.acks.add(at - sent);
    }

    fn took(&self) -> Duration {
        self.started
            .zip(self.ended)
            .map_or(Duration::ZERO, |(started, ended)| ended - started)
    }
}

fn print(args: &Args, partitions: u32, plan: Plan, measure: &Measure) -> anyhow::Result<()> {
    let rates = Rates::of(measure.records, measure.bytes, measure.took());
    let mut out = Out::new();
    match args.client.output {
        Format::Table => {
            let records = format!("{} records each", plan.batch_records);
            let mut rows = vec![vec!["batches".to_owned(), records]];
            rows.extend(rates.rows());
            rows.extend(measure.acks.rows("ack"));
            out.table(&[], rows)?;
        }
        Format::Json => out.json(&json!({
            "partitions": partitions,
            "producers": plan.producers,
            "record_bytes": plan.record_bytes,
            "batch_records": plan.batch_records,
            "window": plan.window,
            "compression": args.compression.to_string(),
            "records": measure.records,
            "bytes": measure.bytes,
            "seconds": rates.seconds,
            "records_per_s": rates.records_per_s,
            "mib_per_s": rates.mib_per_s,
            "ack_us": measure.acks.json(),
        }))?,
    }
    out.flush()
}

/// More batches in flight than any server lets a connection have.
const WINDOW_MAX: usize = 10_000;

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
        assert!(plan.batches * u64::from(plan.batch_records) * 100 >= 1 << 20);
    }

    /// The values of a batch were a thousand, over and over: with zstd half of it was measured.
    #[test]
    fn the_values_of_a_batch_do_not_compress() {
        let plan = Plan::of(&Line::parse_from(["bench"]).args, 1);
        let topic = "bench".parse().unwrap();
        let partition = PartitionId::default();
        let place = Place {
            topic: &topic,
            partition,
        };
        let mut values = Values::new(place, 0, plan.record_bytes, plan.batch_records);
        for codec in Codec::ALL {
            let batch = payload::build(&mut values, plan.batch_records, codec).unwrap();
            let bytes = batch.build().unwrap().len() as u64;
            // What the format adds to each value does compress.
            let values_bytes = plan.batch_bytes();
            let told = format!("{codec}: {bytes} of {values_bytes}");
            assert!(values_bytes * 95 / 100 <= bytes, "{told}");
        }
    }
}
