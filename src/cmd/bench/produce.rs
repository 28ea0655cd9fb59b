//! `corelog bench produce`: a closed loop of producers.

use corelog_record::batch::Codec;
use corelog_record::{ByteSize, TopicName};

use crate::cli::Client;
use crate::cmd::topic::policy::Ack;
use crate::exit::{Exit, stop};
use crate::quantity;

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
    client: Client,
}

/// Runs the load and prints what it measured.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let _ = args;
    Err(stop(
        Exit::Failed,
        "this build knows the words of this command but not yet the deed",
    ))
}
