//! `corelog offsets`: where each partition begins and ends, on each server asked.

use corelog_record::TopicName;

use crate::cli::Client;
use crate::exit::{Exit, stop};
use crate::quantity;

/// Show where each partition of a topic begins and ends.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Show where each partition of a topic begins and ends.\n\n\
        With several servers each of them is asked, and a row says which one answered.",
    after_long_help = "EXAMPLES\n  \
        corelog offsets events\n  \
        corelog offsets events --server log1:7400,log2:7400 --output json"
)]
pub(crate) struct Args {
    /// The topic's name.
    #[arg(value_name = "TOPIC", value_parser = quantity::topic_name)]
    topic: TopicName,
    #[command(flatten)]
    client: Client,
}

/// Prints a row per server and partition.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let _ = args;
    Err(stop(
        Exit::Failed,
        "this build knows the words of this command but not yet the deed",
    ))
}
