//! `corelog truncate`: give up the oldest records of a partition.

use corelog_record::TopicName;

use crate::cli::{Client, Consent};
use crate::exit::{Exit, stop};
use crate::quantity::{self, Place};

/// Remove the oldest records of a partition.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Remove the oldest records of a partition: all before a place.\n\n\
        They cannot be read afterwards, and whole segments of them leave the disk. It cannot be \
        undone, so it asks first on a terminal and needs --yes elsewhere.",
    after_long_help = "EXAMPLES\n  \
        corelog truncate events --partition 0 --before 1000 --dry-run\n  \
        corelog truncate events --partition 0 --before 1000 --yes\n  \
        corelog truncate events --partition 0 --before @-30d --yes\n  \
        corelog truncate events --partition 0 --before latest --yes   # all there is"
)]
pub(crate) struct Args {
    /// The topic's name.
    #[arg(value_name = "TOPIC", value_parser = quantity::topic_name)]
    topic: TopicName,
    /// The partition.
    #[arg(long, value_name = "P")]
    partition: u32,
    /// The oldest record that stays: an offset, -N, @TIME, @-2h or latest.
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true)]
    before: Place,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    client: Client,
}

/// Moves the partition's log start.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let _ = args;
    Err(stop(
        Exit::Failed,
        "this build knows the words of this command but not yet the deed",
    ))
}
