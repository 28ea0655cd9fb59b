//! `corelog repair`: damage mended by what is whole.
//!
//! ```text
//! offline   --dir: a manifest and indexes from a partition's stores, without a server
//! online    TOPIC: damaged segments from other servers
//! ```

mod offline;
mod online;

use std::path::PathBuf;

use clap::ArgMatches;
use clap::parser::ValueSource;
use corelog_record::TopicName;

use crate::cli::{self, Consent};
use crate::exit::Exit;
use crate::quantity;

/// Mend damaged segments from other servers, or a partition's manifest from its stores.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Mend damaged segments from other servers, or a partition's manifest from its stores.\n\n\
        With a topic: the server fetches the segments in which damage is known from other servers \
        that hold the topic, checks them against its own chain, and puts each in the place of the \
        damaged one, which goes to quarantine. It does so by itself where it knows a peer. Ends \
        with 3 where damage is left, and with 5 where --timeout is over before all of a partition was fetched: the \
        server goes on with that one.\n\n\
        With --dir, and without a server: for a partition that the server does not open because \
        its manifest is missing or damaged. Which stores are the log's follows from the offsets \
        and the chain in them; the history, from index headers, the mark, or the topic's file; the \
        epochs, from the batches. A manifest that is sound stays, and only wrong indexes are \
        written anew. What the disk does not give counts as damaged, and is told. Nothing is \
        deleted: what is displaced is renamed to `<name>.old-<time>`, and the next start moves it \
        to quarantine. What the files do not tell is said, and so is what \
        may be readable again: records that were expired or truncated, and ends that were cut off. \
        Where the stores contradict each other, nothing is done, nor by another user than the \
        directory's owner: the server could not write the files.",
    after_long_help = "EXAMPLES\n  \
        corelog repair events --from log2:7400,log3:7400\n  \
        corelog repair events --dry-run                          # what is damaged\n  \
        corelog repair --dir corelog-data/topics/events/0 --dry-run\n  \
        corelog repair --dir corelog-data/topics/events/0 --yes\n  \
        corelog repair --dir corelog-data/topics/events --yes    # all its partitions\n  \
        sudo -u corelog corelog repair --dir /var/lib/corelog/topics/events/0 --yes\n  \
        corelog verify corelog-data/topics/events/0              # what is wrong, before or after"
)]
pub(crate) struct Args {
    /// The topic of which other servers hold copies.
    #[arg(
        value_name = "TOPIC",
        value_parser = quantity::topic_name,
        required_unless_present = "dir",
        conflicts_with = "dir"
    )]
    topic: Option<TopicName>,
    /// Servers that hold it [default: the peers that the server knows].
    #[arg(
        long,
        value_name = "HOST:PORT",
        value_delimiter = ',',
        value_parser = cli::address,
        conflicts_with = "dir"
    )]
    from: Vec<String>,
    /// Only this partition of the topic.
    #[arg(long, value_name = "P", value_parser = quantity::partition, conflicts_with = "dir")]
    partition: Option<u32>,
    /// A partition's directory, or a topic's for all its partitions.
    #[arg(long, value_name = "PATH", conflicts_with = "timeout")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    client: cli::Client,
}

/// Refuses a server that is named beside a directory, which is of this machine. The environment may name one for all commands.
///
/// # Errors
/// What is wrong.
pub(crate) fn check_place(matches: &ArgMatches) -> Result<(), &'static str> {
    let is_named = matches.value_source("server") == Some(ValueSource::CommandLine);
    match is_named && matches.contains_id("dir") {
        true => Err("--server cannot be used with --dir, which is a directory of this machine"),
        false => Ok(()),
    }
}

/// Repairs what the topic or `--dir` names.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    match (&args.dir, &args.topic) {
        (Some(dir), _) => offline::run(dir, args.consent, args.client.output),
        (None, Some(topic)) => online::run(topic, args),
        // The command line does not let this through.
        (None, None) => Ok(Exit::Usage),
    }
}
