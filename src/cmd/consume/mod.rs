//! `corelog consume`: records of a topic to stdout.

use std::path::PathBuf;

use corelog_record::TopicName;

use crate::cli::Client;
use crate::exit::{Exit, stop};
use crate::quantity::{self, Place};

/// Print the records of a topic.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Print the records of a topic.\n\n\
        Without --follow it ends at the high watermark, which is where the topic's readable part \
        ended when the command reached it. Order holds within a partition. Every batch is \
        checked before its records are printed.",
    after_long_help = "EXAMPLES\n  \
        corelog consume events                          # everything there is\n  \
        corelog consume events --from -10               # the last 10 of each partition\n  \
        corelog consume events --from @-2h --follow     # since two hours ago, and on\n  \
        corelog consume events --partition 0 --from 100 --until 200\n  \
        corelog consume events --format json | jq -r '.value | @base64d'\n  \
        corelog consume events --format '%p %o %t %k %v\\n'\n  \
        corelog consume events --follow --state events.state   # goes on where it stopped\n\n\
        PLACES (--from, --until)\n  \
        earliest, latest, an offset (17), -N (N before the end), @TIME (RFC 3339), @-2h (ago)\n\n\
        FORMATS\n  \
        value      the value's bytes and a newline\n  \
        json       one object per line; key, value and header values in base64\n  \
        otherwise  a text with %T topic, %p partition, %o offset, %t time, %k key, %v value,\n             \
        %h headers, %% a percent sign, and escapes such as \\n and \\0"
)]
pub(crate) struct Args {
    /// The topic's name.
    #[arg(value_name = "TOPIC", value_parser = quantity::topic_name)]
    topic: TopicName,
    /// Only this partition.
    #[arg(long, value_name = "P")]
    partition: Option<u32>,
    /// Where to begin.
    #[arg(
        long,
        value_name = "PLACE",
        default_value = "earliest",
        allow_hyphen_values = true
    )]
    from: Place,
    /// Where to end: the first record that is not printed.
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true)]
    until: Option<Place>,
    /// End after so many records.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Wait for new records instead of ending.
    #[arg(long)]
    follow: bool,
    /// Remember in this file where it stopped, and go on there the next time.
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// What to print per record: value, json, or a text with % signs.
    #[arg(long, value_name = "FORMAT", default_value = "value")]
    format: String,
    #[command(flatten)]
    client: Client,
}

/// Prints records until the end, the count or the reader's leaving.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let _ = args;
    Err(stop(
        Exit::Failed,
        "this build knows the words of this command but not yet the deed",
    ))
}
