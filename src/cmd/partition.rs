//! `corelog partition`: what can be done to a single partition.

use clap::Subcommand;
use corelog_record::TopicName;

use crate::cli::Client;
use crate::exit::{Exit, stop};
use crate::quantity;

/// Reopen a partition that was fenced.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Reopen(Reopen),
}

/// Reopen a partition that was fenced after a failed write.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Reopen a partition that was fenced after a failed write.\n\n\
        After a failed write or sync nobody can say what the disk holds, so the partition takes \
        no more writes. Reopening recovers it as a start would: it reads what is there, writes \
        its end again, says what was torn or damaged, and serves. Mend the disk first.",
    after_long_help = "EXAMPLES\n  \
        corelog partition reopen events 3"
)]
struct Reopen {
    /// The topic's name.
    #[arg(value_name = "TOPIC", value_parser = quantity::topic_name)]
    topic: TopicName,
    /// The partition.
    #[arg(value_name = "P")]
    partition: u32,
    #[command(flatten)]
    client: Client,
}

/// Does what the action says.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let _ = args;
    Err(stop(
        Exit::Failed,
        "this build knows the words of this command but not yet the deed",
    ))
}
