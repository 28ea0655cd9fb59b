//! `corelog bench probe`: acknowledgements at a steady rate, each with its time.

use std::rc::Rc;
use std::time::{Duration, Instant};

use corelog_client::{Client, NewTopic, Producer, ProducerConfig};
use corelog_record::{ByteSize, Offset, PartitionId, Record, TopicName};
use hdrhistogram::Histogram;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use crate::exit::{Exit, stop};
use crate::output::{Format, Out};
use crate::quantity::Span;
use crate::{cli, quantity, session};

/// Measure the latency of acknowledgements at a steady rate.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Measure the latency of acknowledgements at a steady rate.\n\n\
        An open loop: a record is due every 1/rate seconds whether or not earlier ones were \
        acknowledged, and its latency counts from when it was due, so that a stall shows in every \
        record behind it. With --output json there is a line per acknowledgement {offset, due_us, \
        us}, with the time it was due in microseconds since 1970: what went on beside it can be \
        laid over it.",
    after_long_help = "EXAMPLES\n  \
        corelog bench probe --rate 1000 --duration 30s\n  \
        corelog bench probe --topic events --output json >acks.jsonl"
)]
pub(crate) struct Args {
    /// The topic to produce to; it is created if it is not there.
    #[arg(long, value_name = "NAME", value_parser = quantity::topic_name, default_value = "bench")]
    topic: TopicName,
    /// The partition to produce to.
    #[arg(long, value_name = "P", default_value_t = 0)]
    partition: u32,
    /// The size of a record's value.
    #[arg(long, value_name = "SIZE", default_value = "1KiB")]
    record_bytes: ByteSize,
    /// Records per second.
    #[arg(long, value_name = "N", default_value_t = 200)]
    rate: u32,
    /// How long to go on.
    #[arg(long, value_name = "TIME", default_value = "10s")]
    duration: Span,
    #[command(flatten)]
    client: cli::Client,
}

/// Sends at the rate and prints what it measured.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    if args.rate == 0 || args.duration.0.is_zero() {
        let message = "a probe needs records: --rate and --duration above 0";
        return Err(stop(Exit::Usage, message));
    }
    session::run(&args.client, |client| bench(args, client))
}

/// A record that was acknowledged.
struct Acked {
    offset: Offset,
    /// When it was due, in microseconds since 1970.
    due_us: u64,
    us: u64,
}

async fn bench(args: &Args, client: Client) -> anyhow::Result<Exit> {
    let mut topic = NewTopic::new(args.topic.clone(), args.partition + 1);
    topic.if_not_exists = true;
    client.admin().create_topic(topic).await?;
    let producer = Rc::new(client.producer(ProducerConfig {
        linger: Duration::ZERO,
        delivery_timeout: args.client.timeout(),
        ..ProducerConfig::default()
    }));
    let (acks, mut acked) = mpsc::unbounded_channel();
    let local = LocalSet::new();
    let (topic, partition) = (args.topic.clone(), PartitionId::new(args.partition));
    let value = vec![b'p'; usize::try_from(args.record_bytes.bytes())?];
    let (rate, count) = (args.rate, count(args));
    local.spawn_local(async move {
        let (begun, begun_us) = (Instant::now(), now_us());
        for number in 0..count {
            let due = Duration::from_secs(number) / rate;
            tokio::time::sleep_until((begun + due).into()).await;
            let due_us = begun_us + u64::try_from(due.as_micros()).unwrap_or(u64::MAX);
            let (producer, acks) = (Rc::clone(&producer), acks.clone());
            let sent = send(producer, topic.clone(), partition, value.clone());
            let due = begun + due;
            tokio::task::spawn_local(async move {
                let told = sent.await.map(|offset| Acked {
                    offset,
                    due_us,
                    us: u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX),
                });
                // Nobody listens any more once a record has failed.
                let _ = acks.send(told);
            });
        }
    });
    let measured = async {
        let mut out = Out::new();
        let mut latency_us = Histogram::<u64>::new_with_bounds(1, LATENCY_US_MAX, 3)?;
        while let Some(told) = acked.recv().await {
            let Acked { offset, due_us, us } = told?;
            latency_us.saturating_record(us);
            if args.client.output == Format::Json {
                out.json(&json!({"offset": offset.get(), "due_us": due_us, "us": us}))?;
            }
        }
        if args.client.output == Format::Table {
            let at = |quantile| latency_us.value_at_quantile(quantile);
            let quantiles = [
                ("ack p50", at(0.5)),
                ("ack p99", at(0.99)),
                ("ack p99.9", at(0.999)),
                ("ack max", latency_us.max()),
            ];
            let rows = quantiles.map(|(name, us)| vec![name.to_owned(), format!("{us} us")]);
            out.table(&[], rows)?;
        }
        out.flush()
    };
    local.run_until(measured).await?;
    Ok(Exit::Done)
}

async fn send(
    producer: Rc<Producer>,
    topic: TopicName,
    partition: PartitionId,
    value: Vec<u8>,
) -> anyhow::Result<Offset> {
    let record = Record {
        timestamp: quantity::now(),
        value: Some(value),
        ..Record::default()
    };
    let delivery = producer.send(&topic, Some(partition), record).await?;
    Ok(delivery.await?.offset)
}

/// How many records are due.
fn count(args: &Args) -> u64 {
    let micros = u64::try_from(args.duration.0.as_micros()).unwrap_or(u64::MAX);
    (micros.saturating_mul(args.rate.into()) / 1_000_000).max(1)
}

fn now_us() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    })
}

const LATENCY_US_MAX: u64 = 60_000_000;
