//! `corelog bench seek`: how long it takes to the first record of a random place.

use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::ValueEnum;
use corelog_client::{Client, Consumer, ConsumerConfig, End, Received, Start};
use corelog_protocol::message::list_offsets::At;
use corelog_record::{Offset, PartitionId, Timestamp, TopicName};
use serde_json::json;

use super::latencies::Latencies;
use crate::exit::{Exit, stop};
use crate::output::{Format, Out};
use crate::{cli, quantity, session, untold};

/// Measure seeking: the time from asking for a random place to its first record.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Measure seeking: the time from asking for a random place to its first record.\n\n\
        Places are drawn between the first and the last record of a partition, by offset or by \
        time, and looked for one after the other over a connection that is there. By offset, no \
        record is read before: with --count 1 it is the first read of a server that was just \
        started.",
    after_long_help = "EXAMPLES\n  \
        corelog bench seek --topic events --count 1000\n  \
        corelog bench seek --topic events --by time --output json"
)]
pub(crate) struct Args {
    /// The topic to read.
    #[arg(long, value_name = "NAME", value_parser = quantity::topic_name, default_value = "bench")]
    topic: TopicName,
    /// The partition to read.
    #[arg(long, value_name = "P", value_parser = quantity::partition, default_value_t = 0)]
    partition: u32,
    /// What a place is given by.
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = By::Offset)]
    by: By,
    /// How many places to look for.
    #[arg(long, value_name = "N", default_value_t = 100)]
    count: u64,
    /// Another seed draws other places.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    client: cli::Client,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    Offset,
    Time,
}

/// Looks for the places and prints how long it took.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    if args.count == 0 {
        return Err(stop(Exit::Usage, "there is nothing to measure: --count 0"));
    }
    session::run(&args.client, |client| bench(args, client))
}

async fn bench(args: &Args, client: Client) -> anyhow::Result<Exit> {
    let records = records(args, &client).await?;
    // A place is one record: nothing is fetched ahead of it.
    let mut consumer = client.consumer(ConsumerConfig {
        prefetch_bytes_max: 0,
        fetch_bytes_max: 1,
        unreachable_timeout: Some(args.client.timeout()),
        ..ConsumerConfig::default()
    });
    let places = Places::find(args, &mut consumer, records).await?;
    let mut random = fastrand::Rng::with_seed(args.seed);
    let mut latencies = Latencies::new()?;
    for _ in 0..args.count {
        let start = places.draw(&mut random)?;
        let (took, _) = seek(args, &mut consumer, start).await?;
        latencies.add(took);
    }
    print(args, &latencies)?;
    Ok(Exit::Done)
}

/// What places are drawn from.
#[derive(Clone, Debug)]
enum Places {
    /// Offsets.
    Offsets(Range<u64>),
    /// Milliseconds since 1970, the last one too.
    Times { first: i64, last: i64 },
}

impl Places {
    /// Finds between what they are drawn; the consumer's connection is there then.
    async fn find(
        args: &Args,
        consumer: &mut Consumer,
        records: Range<u64>,
    ) -> anyhow::Result<Self> {
        match args.by {
            By::Offset => {
                connect(args, consumer).await?;
                Ok(Self::Offsets(records))
            }
            By::Time => {
                let last = seek(args, consumer, Start::LastN(1)).await?.1;
                let first = seek(args, consumer, Start::Earliest).await?.1;
                let (first, last) = (first.timestamp.millis(), last.timestamp.millis());
                Ok(Self::Times {
                    first: first.min(last),
                    last: last.max(first),
                })
            }
        }
    }

    fn draw(&self, random: &mut fastrand::Rng) -> anyhow::Result<Start> {
        Ok(match self {
            Self::Offsets(offsets) => {
                let offset = random.u64(offsets.clone());
                Start::Offset(Offset::new(offset).context("an offset within the log")?)
            }
            Self::Times { first, last } => {
                Start::Time(Timestamp::from_millis(random.i64(*first..=*last)))
            }
        })
    }
}

/// The offsets of the partition's records, if it has any: one that has none would be waited for.
async fn records(args: &Args, client: &Client) -> anyhow::Result<Range<u64>> {
    let topic = client.topic_anew(&args.topic).await?;
    let partition = untold::partition(client, &topic, args.partition).await?;
    let admin = client.admin();
    let now = admin
        .list_offsets(&args.topic, partition, At::Latest)
        .await?;
    if now.high_watermark <= now.log_start {
        let message = format!(
            "{topic}/{partition} holds no record to look for; `corelog bench produce --topic {topic}` \
             makes some",
            topic = args.topic
        );
        return Err(stop(Exit::Failed, message));
    }
    Ok(now.log_start.get()..now.high_watermark.get())
}

/// Has the consumer connect, and reads nothing: a read would have warmed what is measured.
async fn connect(args: &Args, consumer: &mut Consumer) -> anyhow::Result<()> {
    let partition = PartitionId::new(args.partition);
    consumer.assign(&args.topic, partition, Start::Latest, End::HighWatermark);
    while let Some(record) = consumer.next().await {
        record?;
    }
    consumer.unassign(&args.topic, partition);
    Ok(())
}

async fn seek(
    args: &Args,
    consumer: &mut Consumer,
    start: Start,
) -> anyhow::Result<(Duration, Received)> {
    let partition = PartitionId::new(args.partition);
    let begun = Instant::now();
    consumer.assign(&args.topic, partition, start, End::Follow);
    let record = consumer.next().await.context("the partition is empty")??;
    let took = begun.elapsed();
    consumer.unassign(&args.topic, partition);
    Ok((took, record))
}

fn print(args: &Args, latencies: &Latencies) -> anyhow::Result<()> {
    let [(_, p50), (_, p99), _, (_, max)] = latencies.quantiles();
    let mut out = Out::new();
    match args.client.output {
        Format::Table => {
            let all = [("p50", p50), ("p99", p99), ("max", max)];
            out.facts(all.map(|(name, us)| (name, format!("{us} us"))))?;
        }
        Format::Json => out.json(&json!({
            "by": args.by.to_possible_value().map(|by| by.get_name().to_owned()),
            "count": args.count,
            "seek_us": {"p50": p50, "p99": p99, "max": max},
        }))?,
    }
    out.flush()
}
