//! `corelog topic forget-follower`.

use corelog_client::Client;
use corelog_record::{PartitionId, TopicName};
use serde_json::json;

use super::followers;
use crate::consent::{self, Decision};
use crate::exit::{Exit, stop};
use crate::output::{Format, Out};
use crate::{cli, quantity, session};

/// Forget a follower, or a former owner, that is gone for good.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Forget a follower, or a former owner, that is gone for good.\n\n\
        A server remembers who follows its partitions, and who copied them without --follow, over \
        restarts: retention that waits for followers (--retention-hold replicated) waits for each of \
        them, a server that comes back asks \
        them whether one of them owns the partition by now, and damage is healed by them. `corelog \
        topic describe` lists them. One that will never come back is forgotten here.\n\n\
        One that still lives is remembered again at once, but may miss what retention removed \
        meanwhile; it then begins anew. While nobody at all follows, that retention keeps \
        everything up to its bound: give it another one with `corelog topic alter`.\n\n\
        A copy that was promoted tells those that it followed, for as long as it takes, that they own \
        the partition no more. That ends here, too, for a server that is gone for good: should it come \
        back, it is not told by this one, and may take records beside the owner until another one tells \
        it, or somebody has it `corelog rejoin` the owner. If it runs still, and owns what another owns, both do from \
        then on, and the alert on that (CorelogPartitionContested) ends here: have one of them `corelog rejoin` \
        the other instead.\n\n\
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
    /// The address at which the follower is remembered, or that was followed before a promotion.
    #[arg(value_name = "HOST:PORT", value_parser = cli::address)]
    follower: String,
    /// Only as a follower of this partition; else of all.
    #[arg(long, value_name = "P", value_parser = quantity::partition)]
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
    let untold = followers::untold_at(&partitions, follower);
    let known = followers::by_address(&partitions);
    let known = known.get(follower.as_str()).map(|known| {
        let (count, said) = (known.partition_count, known.said());
        format!("follower {follower} of {count} partitions of {name} at {server} ({said})")
    });
    let losses: Vec<_> = known
        .into_iter()
        .chain(unsaid(args, server, &untold))
        .collect();
    // Nothing is lost by asking for one that nobody remembers: the server says so.
    if !losses.is_empty() {
        let loss = losses.join(", and ");
        if consent::ask(args.consent, args.client.output, &loss)? == Decision::Leave {
            return Ok(Exit::Done);
        }
    } else if args.consent.dry_run {
        let message = format!(
            "{server}: nobody is remembered as a follower of {name} at {follower}, nor has yet to hear there of a promotion; \
             `corelog topic describe {name}` shows who is"
        );
        return Err(stop(Exit::Failed, message));
    }
    let partition = args.partition.map(PartitionId::new);
    // What was shown is what is forgotten, of no topic that took its name meanwhile.
    let answer = admin
        .forget_follower(name, Some(id), partition, follower)
        .await;
    let forgotten = session::changing(server, answer)?.partitions;
    let is_forgotten = |one: &PartitionId| forgotten.contains(one);
    let untold: Vec<_> = untold.into_iter().filter(is_forgotten).collect();
    let mut out = Out::new();
    match args.client.output {
        Format::Table => {
            let is_followed = |one: &&PartitionId| {
                !untold.contains(one) || followers::is_followed(&partitions, **one, follower)
            };
            let count = forgotten.iter().filter(is_followed).count();
            if 0 < count {
                out.line(&format!(
                    "forgot follower {follower} of {count} partitions of {name}"
                ))?;
            }
            if let Some(unsaid) = unsaid(args, server, &untold) {
                out.line(&format!("forgot {unsaid}"))?;
            }
        }
        Format::Json => {
            let numbers = |of: &[PartitionId]| of.iter().map(|one| one.get()).collect::<Vec<_>>();
            out.json(&json!({
                "name": name.as_str(),
                "follower": follower,
                "partitions": numbers(&forgotten),
                "untold": numbers(&untold),
            }))?;
        }
    }
    out.flush()?;
    Ok(Exit::Done)
}

/// What the server has yet to tell whoever was followed before a promotion, and what it means to tell it no more.
fn unsaid(args: &Args, server: &str, untold: &[PartitionId]) -> Option<String> {
    let (name, follower, count) = (&args.name, &args.follower, untold.len());
    (0 < count).then(|| {
        format!(
            "what {server} has yet to tell {follower}: that {count} partitions of {name}, which were copied from there, \
             have another owner (should that node come back, {server} does not tell it that it owns them no more, \
             and it may take records beside the owner; if it runs still, both own them on, and the alert on that ends here: have \
             one rejoin the other instead)"
        )
    })
}
