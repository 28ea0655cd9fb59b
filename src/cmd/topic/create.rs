//! `corelog topic create`.

use anyhow::Context as _;
use corelog_client::{Client, Error, NewTopic};
use corelog_record::TopicName;
use serde_json::json;

use super::policy::Policy;
use crate::exit::Exit;
use crate::output::{Format, Out};
use crate::{cli, quantity, session};

/// Create a topic and print the policy in force.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Create a topic and print the policy in force.\n\n\
        A name is 1 to 249 of the characters A-Z a-z 0-9 . _ - and records are kept for ever \
        unless a retention is given. Partitions can be added later, never removed.\n\n\
        With several servers the first of them gets it, once each has answered that it has none of \
        that name: two of one name are two logs. Ends with 4 if one of them does not answer.",
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
    let (server, client) = chosen(args).await?;
    let new = NewTopic {
        name: args.name.clone(),
        partitions: args.partitions,
        settings: args.policy.settings(),
        if_not_exists: args.if_not_exists,
    };
    let topic = session::changing(client.admin().create_topic(new).await)?;
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

/// Which server is asked: of several the one that has such a topic already, or the first, if none of them has.
///
/// # Errors
/// Exit code 4 where one does not say whether it has.
async fn chosen(args: &Args) -> anyhow::Result<(String, Client)> {
    let options = &args.client;
    let [first, others @ ..] = &options.server[..] else {
        return Err(Error::NoServer.into());
    };
    if others.is_empty() {
        return Ok((first.clone(), session::connected(options).await?));
    }
    let (mut none_there, mut silent) = (None, None);
    for server in &options.server {
        let asked = async {
            let client = session::connect(options, vec![server.clone()]).await?;
            let told = client.admin().describe_topic(&args.name).await;
            Ok((client, told.map(drop)))
        };
        match asked.await {
            Ok((client, Ok(()))) => return Ok((server.clone(), client)),
            Ok((client, Err(error))) if error.is_unknown_topic() => {
                none_there.get_or_insert((server.clone(), client));
            }
            Ok((_, Err(error))) | Err(error) => drop(silent.get_or_insert((server, error))),
        }
    }
    match (none_there, silent) {
        (Some(first), None) => Ok(first),
        (_, Some((server, error))) => Err(error).with_context(|| {
            format!(
                "nothing is created: {server} does not say whether it has a topic {}, which would be another one; ask again \
                 when it answers, or name the one server that is to have it with --server",
                args.name
            )
        }),
        (None, None) => Err(Error::NoServer.into()),
    }
}
