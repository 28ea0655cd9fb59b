//! `corelog truncate`: give up the oldest records of a partition.

use corelog_client::Client;
use corelog_protocol::message::list_offsets::At;
use corelog_record::{Offset, PartitionId, TopicName};
use serde_json::json;

use crate::cmd::topic::owner;
use crate::consent::{self, Decision};
use crate::exit::{Exit, stop};
use crate::output::{Format, Out};
use crate::quantity::{self, Place};
use crate::{cli, session};

/// Remove the oldest records of a partition.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Remove the oldest records of a partition: all before a place.\n\n\
        They cannot be read afterwards, and whole segments of them leave the disk. It cannot be \
        undone, so it asks first on a terminal and needs --yes elsewhere. A replica lets go of what \
        its source does; at its server it is refused, with the address of the owner.",
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
    #[arg(long, value_name = "P", value_parser = quantity::partition)]
    partition: u32,
    /// The oldest record that stays: an offset, -N, @TIME, @-2h or latest.
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true)]
    before: Place,
    #[command(flatten)]
    consent: cli::Consent,
    #[command(flatten)]
    client: cli::Client,
}

/// Moves the partition's log start, after asking.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    session::run(&args.client, |client| truncate(args, client))
}

async fn truncate(args: &Args, client: Client) -> anyhow::Result<Exit> {
    let partition = PartitionId::new(args.partition);
    // Before anything is looked at: consent is for this topic, not for one created meanwhile, and for this server's log.
    let (admin, topic) = client.admin().of(&args.topic).await?;
    let known = topic.partitions.iter().find(|one| one.id == partition);
    let by_server = |error| session::by(session::server(&admin), error);
    known
        .map_or(Ok(()), |known| owner::check(&args.topic, known))
        .map_err(by_server)?;
    let now = admin
        .list_offsets(&args.topic, partition, At::Latest)
        .await
        .map_err(by_server)?;
    let lowest = match args.before {
        Place::Earliest => now.log_start,
        Place::Latest => now.high_watermark,
        Place::Offset(offset) => offset,
        Place::Last(count) => before_end(now.high_watermark, count).max(now.log_start),
        // The batch that holds the time stays whole.
        Place::Time(time) => {
            let at = admin.list_offsets(&args.topic, partition, At::Time(time));
            at.await.map_err(by_server)?.offset
        }
    };
    let place = format!("{}/{}", args.topic, args.partition);
    if lowest > now.high_watermark {
        let end = now.high_watermark;
        return Err(stop(
            Exit::Failed,
            format!("{place} ends at {end}, {lowest} is beyond it; --before latest removes all"),
        ));
    }
    if lowest > now.log_start {
        let loss = format!(
            "the records of {place} from {} to before {lowest} at {}",
            now.log_start,
            session::server(&admin)
        );
        if consent::ask(args.consent, args.client.output, &loss)? == Decision::Leave {
            return Ok(Exit::Done);
        }
    } else if args.consent.dry_run {
        consent::print_dry_run(args.client.output, None)?;
        return Ok(Exit::Done);
    }
    let truncated = admin
        .truncate(&args.topic, partition, lowest, Some(topic.id))
        .await;
    let log_start = session::changing(session::server(&admin), truncated)?;
    let mut out = Out::new();
    match args.client.output {
        Format::Table => out.line(&format!("{place} begins at {log_start}"))?,
        Format::Json => out.json(&json!({
            "topic": args.topic.as_str(),
            "partition": args.partition,
            "log_start": log_start.get(),
        }))?,
    }
    out.flush()?;
    Ok(Exit::Done)
}

fn before_end(end: Offset, count: u64) -> Offset {
    Offset::new(end.get().saturating_sub(count)).unwrap_or(Offset::ZERO)
}
