//! `corelog topic create`.

use corelog_client::NewTopic;
use corelog_record::TopicName;
use serde_json::json;

use super::policy::Policy;
use crate::exit::Exit;
use crate::output::{Format, Out};
use crate::servers::{self, Place};
use crate::{cli, quantity, session};

/// Create a topic and print the policy in force.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Create a topic and print the policy in force.\n\n\
        A name is 1 to 249 of the characters A-Z a-z 0-9 . _ - and records are kept for ever \
        unless a retention is given. Partitions can be added later, never removed.\n\n\
        With several servers the first of them gets it, once each has answered that it has none of \
        that name: two of one name are two logs. Ends with 4 if one of them does not answer, with 3 \
        if one has such a topic and cannot read it.",
    after_long_help = "EXAMPLES\n  \
        corelog topic create events\n  \
        corelog topic create clicks --partitions 8 --retention-age 7d --retention-bytes 10GiB\n  \
        corelog topic create metrics --ack accepted   # faster, may lose the last records\n  \
        corelog topic create events --if-not-exists   # fine if it is there already"
)]
pub(super) struct Args {
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
    client: cli::Client,
}

/// Creates it and prints the policy in force.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    session::run_unconnected(|| create(args))
}

async fn create(args: &Args) -> anyhow::Result<Exit> {
    let Place { server, client, .. } =
        servers::place_of(&args.client, &args.name, "created").await?;
    let new = NewTopic {
        name: args.name.clone(),
        partitions: args.partitions,
        settings: args.policy.settings(),
        if_not_exists: args.if_not_exists,
    };
    let topic = session::changing(&server, client.admin().create_topic(new).await)?;
    let mut out = Out::new();
    match args.client.output {
        Format::Table => {
            let created = if topic.created { "now" } else { "before" };
            let topic_facts = [
                ("topic", args.name.to_string()),
                ("id", topic.id.to_string()),
                ("server", server),
                ("created", created.to_owned()),
                ("partitions", topic.partitions.to_string()),
            ];
            let policy = super::policy::facts(&topic.settings);
            out.facts(topic_facts.into_iter().chain(policy))?;
        }
        Format::Json => out.json(&json!({
            "name": args.name.as_str(),
            "id": topic.id.to_string(),
            "server": server,
            "created": topic.created,
            "partitions": topic.partitions,
            "policy": super::policy::json(&topic.settings),
        }))?,
    }
    out.flush()?;
    super::policy::warn(&topic.settings);
    Ok(Exit::Done)
}
