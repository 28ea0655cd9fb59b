//! `corelog topic forget-follower`.

use corelog_client::Client;
use corelog_record::{PartitionId, TopicName};
use serde_json::json;

use super::followers;
use crate::consent::{self, Decision};
use crate::exit::{Exit, stop};
use crate::output::{Format, Out};
use crate::{cli, quantity, session};

/// Forget a follower that is gone for good.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Forget a follower that is gone for good.\n\n\
        A server remembers who follows its partitions, and who copied them without --follow, over \
        restarts: retention that waits for followers (--retention-hold replicated) waits for each of \
        them, a server that comes back asks \
        them whether one of them owns the partition by now, and damage is healed by them. `corelog \
        topic describe` lists them. One that will never come back is forgotten here.\n\n\
        One that still lives is remembered again at once, but may miss what retention removed \
        meanwhile; it then begins anew. While nobody at all follows, that retention keeps \
        everything up to its bound: give it another one with `corelog topic alter`.\n\n\
        Asks first on a terminal and needs --yes elsewhere.",
    after_long_help = "EXAMPLES\n  \
        corelog topic forget-follower events log3:7400 --dry-run\n  \
        corelog topic forget-follower events log3:7400 --yes\n  \
        corelog topic forget-follower events log3:7400 --partition 3 --yes"
)]
pub(super) struct Args {
    /// The topic's name.
    #[arg(value_name = "NAME", value_parser = quantity::topic_name)]
    name: TopicName,
    /// The address at which the follower is remembered.
    #[arg(value_name = "HOST:PORT", value_parser = cli::address)]
    follower: String,
    /// Only as a follower of this partition; else of all.
    #[arg(long, value_name = "P")]
    partition: Option<u32>,
    #[command(flatten)]
    consent: cli::Consent,
    #[command(flatten)]
    client: cli::Client,
}

/// Forgets it, after asking.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    session::run(&args.client, |client| forget(args, client))
}

async fn forget(args: &Args, client: Client) -> anyhow::Result<Exit> {
    let (name, follower) = (&args.name, &args.follower);
    let (admin, topic) = client.admin().of(name).await?;
    let (id, server) = (topic.id, session::server(&admin));
    let told = admin.replica_status(name, Some(id)).await;
    let mut partitions = told.map_err(|error| session::by(server, error))?.partitions;
    partitions.retain(|one| args.partition.is_none_or(|asked| asked == one.id.get()));
    // Nothing is lost by asking for one that nobody remembers: the server says so.
    if let Some(known) = followers::by_address(&partitions).get(follower.as_str()) {
        let (count, said) = (known.partition_count, known.said());
        let loss =
            format!("follower {follower} of {count} partitions of {name} at {server} ({said})");
        if consent::ask(args.consent, args.client.output, &loss)? == Decision::Leave {
            return Ok(Exit::Done);
        }
    } else if args.consent.dry_run {
        let message = format!(
            "{server}: nobody is remembered as a follower of {name} at {follower}; `corelog topic describe {name}` shows who is"
        );
        return Err(stop(Exit::Failed, message));
    }
    let partition = args.partition.map(PartitionId::new);
    // What was shown is what is forgotten, of no topic that took its name meanwhile.
    let answer = admin
        .forget_follower(name, Some(id), partition, follower)
        .await;
    let partitions = session::changing(server, answer)?.partitions;
    let mut out = Out::new();
    match args.client.output {
        Format::Table => {
            let count = partitions.len();
            out.line(&format!(
                "forgot follower {follower} of {count} partitions of {name}"
            ))?;
        }
        Format::Json => {
            let numbers: Vec<u32> = partitions.iter().map(|one| one.get()).collect();
            out.json(&json!({
                "name": name.as_str(),
                "follower": follower,
                "partitions": numbers,
            }))?;
        }
    }
    out.flush()?;
    Ok(Exit::Done)
}
