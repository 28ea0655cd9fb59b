//! `corelog topic`: create, list, describe, change and delete topics.

use clap::{Subcommand, ValueEnum};
use corelog_record::{ByteSize, TopicName};

use crate::cli::{Client, Consent};
use crate::exit::{Exit, stop};
use crate::quantity::{self, Limit, Span};

/// Create, list, describe, change and delete topics.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Create(Create),
    List(List),
    Describe(Describe),
    Alter(Alter),
    AddPartitions(AddPartitions),
    Delete(Delete),
}

/// Create a topic and print the policy in force.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Create a topic and print the policy in force.\n\n\
        A name is 1 to 249 of the characters A-Z a-z 0-9 . _ - and records are kept for ever \
        unless a retention is given. Partitions can be added later, never removed.",
    after_long_help = "EXAMPLES\n  \
        corelog topic create events\n  \
        corelog topic create clicks --partitions 8 --retention-age 7d --retention-bytes 10GiB\n  \
        corelog topic create metrics --ack accepted   # faster, may lose the last 5 ms\n  \
        corelog topic create events --if-not-exists   # fine if it is there already"
)]
struct Create {
    /// The topic's name.
    #[arg(value_name = "NAME", value_parser = quantity::topic_name)]
    name: TopicName,
    /// How many partitions it has.
    #[arg(long, value_name = "N", default_value_t = 1)]
    partitions: u32,
    /// Succeed, and change nothing, if the topic is there already.
    #[arg(long)]
    if_not_exists: bool,
    #[command(flatten)]
    policy: Policy,
    #[command(flatten)]
    client: Client,
}

/// List the topics.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "EXAMPLES\n  \
    corelog topic list\n  \
    corelog topic list --output json | jq -r .name")]
struct List {
    #[command(flatten)]
    client: Client,
}

/// Show a topic's policy and each partition's state.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Show a topic's policy and each partition's state.\n\n\
        log start <= high watermark <= durable <= log end: what can be read lies between the \
        first two, what a power cut leaves lies below the third.",
    after_long_help = "EXAMPLES\n  \
        corelog topic describe events\n  \
        corelog topic describe events --output json | jq '.partitions[].high_watermark'"
)]
struct Describe {
    /// The topic's name.
    #[arg(value_name = "NAME", value_parser = quantity::topic_name)]
    name: TopicName,
    #[command(flatten)]
    client: Client,
}

/// Change a topic's policy; what is not named stays.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Change a topic's policy; what is not named stays.\n\n\
        Lowering a retention removes records for good, so it asks first on a terminal and needs \
        --yes elsewhere.",
    after_long_help = "EXAMPLES\n  \
        corelog topic alter events --retention-age 30d\n  \
        corelog topic alter events --retention-age never\n  \
        corelog topic alter events --retention-bytes 1GiB --dry-run   # says what would go"
)]
struct Alter {
    /// The topic's name.
    #[arg(value_name = "NAME", value_parser = quantity::topic_name)]
    name: TopicName,
    #[command(flatten)]
    policy: Policy,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    client: Client,
}

/// Give a topic more partitions.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Give a topic more partitions.\n\n\
        Partitions only grow. Records with a key may go to another partition than before, so the \
        order of a key holds among the records before and among those after.",
    after_long_help = "EXAMPLES\n  \
        corelog topic add-partitions events --partitions 8   # 8 in all, however many there were"
)]
struct AddPartitions {
    /// The topic's name.
    #[arg(value_name = "NAME", value_parser = quantity::topic_name)]
    name: TopicName,
    /// How many partitions it has afterwards.
    #[arg(long, value_name = "N")]
    partitions: u32,
    #[command(flatten)]
    client: Client,
}

/// Delete a topic and all its records.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Delete a topic and all its records.\n\n\
        Asks first on a terminal and needs --yes elsewhere. A topic of the same name created \
        later is another one: whoever still uses the old one is told so.",
    after_long_help = "EXAMPLES\n  \
        corelog topic delete events --dry-run\n  \
        corelog topic delete events --yes"
)]
struct Delete {
    /// The topic's name.
    #[arg(value_name = "NAME", value_parser = quantity::topic_name)]
    name: TopicName,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    client: Client,
}

/// How a topic treats its records.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Policy")]
struct Policy {
    /// When a record is acknowledged, unless the producer says otherwise [default: durable]
    #[arg(long, value_name = "LEVEL", value_enum)]
    ack: Option<Ack>,
    /// Remove sealed segments older than this, or `never` [default: never]
    #[arg(long, value_name = "DURATION")]
    retention_age: Option<Limit<Span>>,
    /// Remove the oldest sealed segments of a partition beyond this, or `none` [default: none]
    #[arg(long, value_name = "SIZE")]
    retention_bytes: Option<Limit<ByteSize>>,
    /// Begin a new segment at this size, from 1MiB to 1GiB [default: 128MiB]
    #[arg(long, value_name = "SIZE")]
    segment_bytes: Option<ByteSize>,
    /// Begin a new segment at this age, or `never` [default: never]
    #[arg(long, value_name = "DURATION")]
    segment_age: Option<Limit<Span>>,
}

/// When a record is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ack {
    /// Once it is on disk: kill -9 and power loss do not lose it.
    Durable,
    /// Once it is in the server's memory: its last 5 ms or 1 MiB may be lost.
    Accepted,
}

/// Does what the action says.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let _ = args;
    Err(stop(
        Exit::Failed,
        "this build knows the words of this command but not yet the deed",
    ))
}
