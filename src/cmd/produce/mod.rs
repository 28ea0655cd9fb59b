//! `corelog produce`: records from files or stdin to a topic.

use std::path::PathBuf;

use corelog_record::TopicName;
use corelog_record::batch::Codec;

use crate::cli::Client;
use crate::cmd::topic::policy::Ack;
use crate::exit::{Exit, stop};
use crate::quantity;

/// Produce a record per line of files or stdin.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Produce a record per line of files or stdin.\n\n\
        The delimiter is not part of the record, the last line needs none, and bytes are sent as \
        they are. Records with a key go to the partition of that key (the field's murmur2 rule), \
        others to one partition after another, a batch at a time.\n\n\
        What the server refused is an error (exit 1). Where the connection broke before the \
        answer, nobody knows if the records were applied: they are listed on stderr, not sent \
        again, and the exit code is 5.",
    after_long_help = "EXAMPLES\n  \
        corelog produce events app.log\n  \
        tail -f app.log | corelog produce events\n  \
        printf 'k1:v1\\nk2:v2\\n' | corelog produce events --key-separator :\n  \
        corelog produce images *.png --whole-file -H kind=image\n  \
        corelog produce events app.log --compression zstd --output json   # a line per batch\n\n\
        With --output json each acknowledged batch is one line on stdout as it arrives:\n  \
        {\"partition\":0,\"first\":0,\"last\":99,\"level\":\"durable\"}"
)]
pub(crate) struct Args {
    /// The topic's name.
    #[arg(value_name = "TOPIC", value_parser = quantity::topic_name)]
    topic: TopicName,
    /// Files to read, in this order; none, or `-`, is stdin.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Send everything to this partition, keys or not.
    #[arg(long, value_name = "P")]
    partition: Option<u32>,
    /// Split each record at the first S into key and value; without S there is no key.
    #[arg(long, value_name = "S", value_parser = separator, conflicts_with = "whole_file")]
    key_separator: Option<Separator>,
    /// A header for every record; may be repeated.
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE", value_parser = header)]
    headers: Vec<Header>,
    /// What ends a record; may hold escapes such as \n, \0 and \x1e.
    #[arg(long, value_name = "D", value_parser = separator, default_value = "\\n")]
    delimiter: Separator,
    /// Make each file one record.
    #[arg(long, conflicts_with = "delimiter")]
    whole_file: bool,
    /// When a record counts as acknowledged [default: what the topic says]
    #[arg(long, value_name = "LEVEL", value_enum)]
    ack: Option<Ack>,
    /// How batches are compressed: none, gzip, snappy, lz4 or zstd.
    #[arg(long, value_name = "CODEC", default_value = "none")]
    compression: Codec,
    /// Send at most so many records a second.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    #[command(flatten)]
    client: Client,
}

/// The bytes between two records, or between key and value; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Separator(Vec<u8>);

fn separator(text: &str) -> Result<Separator, quantity::ParseError> {
    quantity::separator(text).map(Separator)
}

/// A header that every record gets.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Header {
    name: String,
    value: Vec<u8>,
}

fn header(text: &str) -> Result<Header, String> {
    let (name, value) = text
        .split_once('=')
        .ok_or("a header is written NAME=VALUE")?;
    Ok(Header {
        name: name.to_owned(),
        value: value.as_bytes().to_vec(),
    })
}

/// Produces what the files hold.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let _ = args;
    Err(stop(
        Exit::Failed,
        "this build knows the words of this command but not yet the deed",
    ))
}
