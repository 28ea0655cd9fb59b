//! `corelog bench consume`: how fast a topic can be read.

use std::time::Instant;

use corelog_client::{Client, ConsumerConfig, End, Received, Start};
use corelog_record::TopicName;
use serde_json::json;

use super::rates::Rates;
use crate::exit::Exit;
use crate::output::{Format, Out};
use crate::{cli, quantity, session};

/// Measure consuming: MiB/s and records/s from the beginning to the end.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Measure consuming: MiB/s and records/s from the beginning to the end.\n\n\
        All partitions are read at once, every batch is checked and every record looked at.",
    after_long_help = "EXAMPLES\n  \
        corelog bench produce && corelog bench consume\n  \
        corelog bench consume --topic events --output json"
)]
pub(crate) struct Args {
    /// The topic to read.
    #[arg(long, value_name = "NAME", value_parser = quantity::topic_name, default_value = "bench")]
    topic: TopicName,
    /// End after so many records.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    #[command(flatten)]
    client: cli::Client,
}

/// Reads the topic and prints what it measured.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    session::run(&args.client, |client| bench(args, client))
}

async fn bench(args: &Args, client: Client) -> anyhow::Result<Exit> {
    let topic = client.topic(&args.topic).await?;
    let mut consumer = client.consumer(ConsumerConfig {
        unreachable_timeout: Some(args.client.timeout()),
        ..ConsumerConfig::default()
    });
    for partition in &topic.partitions {
        consumer.assign(
            &args.topic,
            partition.id,
            Start::Earliest,
            End::HighWatermark,
        );
    }
    let started = Instant::now();
    let (mut records, mut bytes) = (0, 0);
    while args.count.is_none_or(|count| records < count) {
        let Some(record) = consumer.next().await else {
            break;
        };
        records += 1;
        bytes += size(&record?);
    }
    let rates = Rates::of(records, bytes, started.elapsed());
    let mut out = Out::new();
    match args.client.output {
        Format::Table => out.table(&[], rates.rows())?,
        Format::Json => out.json(&json!({
            "partitions": topic.partition_count(),
            "records": records,
            "bytes": bytes,
            "seconds": rates.seconds,
            "records_per_s": rates.records_per_s,
            "mib_per_s": rates.mib_per_s,
        }))?,
    }
    out.flush()?;
    Ok(Exit::Done)
}

/// Bytes of key and value.
fn size(record: &Received) -> u64 {
    let bytes = |bytes: Option<&[u8]>| bytes.map_or(0, |bytes| bytes.len() as u64);
    bytes(record.key.as_deref()) + bytes(record.value.as_deref())
}
