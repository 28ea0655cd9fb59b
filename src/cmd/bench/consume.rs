//! `corelog bench consume`: how fast a topic can be read.

use std::num::NonZero;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use corelog_client::{Client, ConsumerConfig, End, ReceivedBatch, Start};
use serde_json::json;
use tokio::task::{JoinSet, LocalSet};

use corelog_record::TopicName;

use super::payload::{Check, Place};
use super::rates::Rates;
use super::shares::share;
use super::target;
use crate::exit::{Exit, stop};
use crate::output::{Format, Out};
use crate::{cli, quantity, session};

/// Measure consuming: MiB/s and records/s from the beginning to the end.
#[derive(clap::Args, Clone, Debug)]
#[command(
    long_about = "Measure consuming: MiB/s and records/s from the beginning to the end.\n\n\
        Consumers, each with connections of its own, share the partitions; all are read at once, on as \
        many threads as there are processors. The checksum of every batch is checked, every record is \
        decoded, and held against what `corelog bench produce` sent: as it was, and within a run of a \
        producer without gaps, repeats or disorder. The count says whether the end is there.",
    after_long_help = "EXAMPLES\n  \
        corelog bench produce && corelog bench consume\n  \
        corelog bench consume --topic bench4 --consumers 4\n  \
        corelog bench consume --topic events --unchecked --output json"
)]
pub(crate) struct Args {
    /// The topic to read.
    #[arg(long, value_name = "NAME", value_parser = quantity::topic_name, default_value = "bench")]
    topic: TopicName,
    /// How many consumers share the partitions; more than there are partitions read the same ones.
    #[arg(long, value_name = "N", default_value_t = 1)]
    consumers: u32,
    /// Each consumer ends after so many records.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Decode records, but do not ask for those of `corelog bench produce`.
    #[arg(long)]
    unchecked: bool,
    #[command(flatten)]
    client: cli::Client,
}

/// Reads the topic and prints what it measured.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    if args.consumers == 0 {
        return Err(stop(Exit::Usage, "nobody would read: --consumers 0"));
    }
    session::run(&args.client, |client| bench(args, client))
}

async fn bench(args: &Args, client: Client) -> anyhow::Result<Exit> {
    let partitions = target::whole(&client, &args.topic).await?.partition_count();
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let threads = u32::try_from(threads).unwrap_or(u32::MAX);
    let threads = threads.min(args.consumers);
    let args = Arc::new(args.clone());
    let started = Instant::now();
    let mut readers = JoinSet::new();
    for thread in 0..threads {
        let args = Arc::clone(&args);
        let numbers = (thread..args.consumers).step_by(threads as usize);
        readers
            .spawn_blocking(move || session::on_this_thread(|| read(&args, partitions, numbers)));
    }
    let total = sum(readers).await?;
    let rates = Rates::of(total.records, total.bytes, started.elapsed());
    let mut out = Out::new();
    match args.client.output {
        Format::Table => out.table(&[], rates.rows())?,
        Format::Json => out.json(&json!({
            "partitions": partitions,
            "consumers": args.consumers,
            "records": total.records,
            "bytes": total.bytes,
            "seconds": rates.seconds,
            "records_per_s": rates.records_per_s,
            "mib_per_s": rates.mib_per_s,
        }))?,
    }
    out.flush()?;
    Ok(Exit::Done)
}

/// Has the consumers with those numbers read, on this thread.
async fn read(
    args: &Args,
    partitions: u32,
    numbers: impl Iterator<Item = u32>,
) -> anyhow::Result<Read> {
    let client = session::connect(&args.client, args.client.server.clone()).await?;
    let mut readers = JoinSet::new();
    let local = LocalSet::new();
    for number in numbers {
        readers.spawn_local_on(Reader::new(args, &client, partitions, number).run(), &local);
    }
    local.run_until(sum(readers)).await
}

/// What all of them have read together; fails with the first that does.
async fn sum(mut readers: JoinSet<anyhow::Result<Read>>) -> anyhow::Result<Read> {
    let mut total = Read::default();
    while let Some(read) = readers.join_next().await {
        let read = read??;
        total.records += read.records;
        total.bytes += read.bytes;
    }
    Ok(total)
}

/// How much was read.
#[derive(Clone, Copy, Debug, Default)]
struct Read {
    records: u64,
    /// Of keys and values.
    bytes: u64,
}

/// One consumer, and what it has read.
struct Reader {
    consumer: corelog_client::Consumer,
    /// Of each partition, unless nothing is checked.
    checks: Option<Vec<Check>>,
    count: u64,
    read: Read,
}

impl Reader {
    fn new(args: &Args, client: &Client, partitions: u32, number: u32) -> Self {
        let mut consumer = client.consumer(ConsumerConfig {
            unreachable_timeout: Some(args.client.timeout()),
            ..ConsumerConfig::default()
        });
        for partition in share(number, args.consumers, partitions) {
            consumer.assign(&args.topic, partition, Start::Earliest, End::HighWatermark);
        }
        let checks = || {
            Place::all(&args.topic, partitions)
                .map(Check::new)
                .collect()
        };
        Self {
            consumer,
            checks: (!args.unchecked).then(checks),
            count: args.count.unwrap_or(u64::MAX),
            read: Read::default(),
        }
    }

    async fn run(mut self) -> anyhow::Result<Read> {
        while self.read.records < self.count {
            let Some(batch) = self.consumer.next_batch().await else {
                break;
            };
            self.look_at(&batch?)?;
        }
        Ok(self.read)
    }

    fn look_at(&mut self, batch: &ReceivedBatch) -> anyhow::Result<()> {
        for record in batch.records() {
            if self.read.records == self.count {
                break;
            }
            let record = record?;
            let value = record.value.unwrap_or_default();
            if let Some(checks) = &mut self.checks {
                let check = &mut checks[batch.partition.get() as usize];
                check.look(record.offset, value)?;
            }
            self.read.records += 1;
            self.read.bytes += (record.key.map_or(0, <[u8]>::len) + value.len()) as u64;
        }
        Ok(())
    }
}
