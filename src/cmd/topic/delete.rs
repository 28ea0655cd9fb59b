//! `corelog topic delete`.

use corelog_client::Client;
use corelog_protocol::message::describe_topic::Partition;
use corelog_protocol::message::replica_status::Role;
use corelog_record::TopicName;
use serde_json::json;

use super::closed::held;
use crate::consent::{self, Decision};
use crate::exit::{Exit, stop};
use crate::output::{Format, Out};
use crate::{cli, quantity, session};

/// Delete a topic and all its records.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Delete a topic and all its records.\n\n\
        Asks first on a terminal and needs --yes elsewhere. A topic of the same name created \
        later is another one: whoever still uses the old one is told so.\n\n\
        What goes is what one server has; copies at others stay. Of several servers it is the one that \
        owns all of the topic, or nothing is deleted. A copy goes where its server is the only \
        one named.",
    after_long_help = "EXAMPLES\n  \
        corelog topic delete events --dry-run\n  \
        corelog topic delete events --yes\n  \
        corelog topic delete events --server log2:7400 --yes   # also if that is a copy"
)]
pub(super) struct Args {
    /// The topic's name.
    #[arg(value_name = "NAME", value_parser = quantity::topic_name)]
    name: TopicName,
    #[command(flatten)]
    consent: cli::Consent,
    #[command(flatten)]
    client: cli::Client,
}

/// Deletes it, after asking.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    session::run(&args.client, |client| delete(args, client))
}

async fn delete(args: &Args, client: Client) -> anyhow::Result<Exit> {
    let (admin, topic) = client.admin().of(&args.name).await?;
    let server = admin.address().unwrap_or_default();
    let held_as = HeldAs::of(&topic.partitions);
    if args.client.server.len() > 1 && held_as != HeldAs::Owner {
        return Err(not_the_owner(&args.name, server, &topic.partitions));
    }
    let loss = format!(
        "topic {} with {} partitions and {} at {server} ({})",
        args.name,
        topic.partitions.len(),
        held(&topic.partitions),
        held_as.said()
    );
    if consent::ask(args.consent, args.client.output, &loss)? == Decision::Leave {
        return Ok(Exit::Done);
    }
    // The id makes sure that it is the topic just described that goes.
    session::changing(admin.delete_topic(&args.name, Some(topic.id)).await)?;
    let mut out = Out::new();
    match args.client.output {
        Format::Table => out.line(&format!("deleted {loss}"))?,
        Format::Json => out.json(&json!({
            "name": args.name.as_str(),
            "id": topic.id.to_string(),
            "server": server,
            "held_as": held_as.word(),
        }))?,
    }
    out.flush()?;
    Ok(Exit::Done)
}

/// What a server's partitions of a topic are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HeldAs {
    /// It owns all of them.
    Owner,
    /// It owns some.
    Part,
    /// It owns none.
    Copy,
}

impl HeldAs {
    fn of(partitions: &[Partition]) -> Self {
        let owned = partitions.iter().filter(|one| one.role.owns());
        match owned.count() {
            count if count == partitions.len() => Self::Owner,
            0 => Self::Copy,
            _ => Self::Part,
        }
    }

    const fn said(self) -> &'static str {
        match self {
            Self::Owner => "its owner",
            Self::Part => "the owner of some, a copy of others",
            Self::Copy => "a copy",
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Part => "part",
            Self::Copy => "copy",
        }
    }
}

/// Of several servers the one that answers may have the only copy that is left.
fn not_the_owner(name: &TopicName, server: &str, partitions: &[Partition]) -> anyhow::Error {
    let others = partitions.iter().filter(|one| one.role != Role::Owner);
    let owner = others.filter_map(|one| one.source.as_deref()).next();
    let owner = owner.map_or(String::new(), |owner| format!(" (that may be {owner})"));
    let message = format!(
        "nothing is deleted: of these servers {server} tells of topic {name}, and does not own all of it; ask its owner{owner} \
         alone, or to delete what {server} has, say --server {server}"
    );
    stop(Exit::Denied, message)
}
