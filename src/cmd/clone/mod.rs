//! `corelog clone`: makes another node's topic a replica on this one.
//!
//! ```text
//! plan    what a clone would move, without asking for it (--dry-run)
//! watch   how far it is, until it is done
//! ```

mod plan;
mod watch;

use std::time::Instant;

use corelog_client::{Admin, Client};
use corelog_protocol::message::clone_topic;
use corelog_protocol::message::replica_status::{Partition, Role, State};
use corelog_record::{ByteSize, Offset, PartitionId, TopicName};
use serde_json::{Value, json};

use crate::cmd::topic::policy::word;
use crate::exit::{self, Exit, say};
use crate::output::{Format, Out, cell};
use crate::quantity::Amount;
use crate::{cli, consent, quantity, session};

/// How long the server is waited for: it asks its sources for up to a minute itself before it begins.
const TIMEOUT: &str = "75s";

/// Make another server's topic a replica on this one.
#[derive(clap::Args, Debug)]
#[command(
    mut_arg("timeout", |timeout| timeout.default_value(TIMEOUT)),
    long_about = "Make another server's topic a replica on this one.\n\n\
        The server that --server names receives the sealed segments as files, checks every batch \
        and the chain over them, and fetches the rest; the topic has the same id, settings and \
        offsets there. Several sources lend segments at once; one that sends wrong bytes is named \
        and dropped. Nothing is overwritten: what is there already has to be the beginning of what \
        the source has. Only where that ends before all that the owner still has, it goes, and the copy begins \
        anew; --dry-run says so. What the server has no room for is refused before any of it comes.\n\n\
        Without --follow it ends where the source ended when it began; of what the server follows already that \
        ends the following, and it asks first on a terminal and needs --yes elsewhere. With --follow the replica goes on \
        to follow, and the command ends when it has come that far. The servers do it by \
        themselves: interrupting this command, or either server, stops nothing for good, and what \
        was received and checked is not asked for again.\n\n\
        A topic that follows as a whole takes up partitions that are added at its source, and \
        settings that are changed there, by itself; so does a copy of the only partition there is.\n\n\
        A replica takes no writes; reads end at what is on its own disk. `corelog topic describe` \
        says how far behind it is, `corelog promote` and `corelog handover` make it the owner.\n\n\
        Progress goes to stderr: bars on a terminal, elsewhere a JSON object per line. Ends with 3 \
        if the copies have parted, wrong bytes were sent and no source is left, or nothing comes for half a minute \
        since it is damaged at the source; with 4 if it cannot begin: \
        for 5 seconds no source answers, or what answers is no server for clients.",
    after_long_help = "EXAMPLES\n  \
        corelog clone events --from log1:7400 --dry-run          # what it would move\n  \
        corelog clone events --server log2:7400 --from log1:7400 --follow\n  \
        corelog clone events --from log1:7400,log3:7400 --limit-rate 64MiB\n  \
        corelog clone events --from log1:7400 --partition 3 --segments 0,100000\n  \
        corelog compare events --server log2:7400 --with log1:7400"
)]
pub(crate) struct Args {
    /// The topic's name, on the source and here.
    #[arg(value_name = "TOPIC", value_parser = quantity::topic_name)]
    topic: TopicName,
    /// Servers that hold it; the first that answers is the source, the others lend it segments.
    #[arg(
        long,
        value_name = "HOST:PORT",
        required = true,
        value_delimiter = ',',
        value_parser = cli::address
    )]
    from: Vec<String>,
    /// Only this partition.
    #[arg(long, value_name = "P", value_parser = quantity::partition)]
    partition: Option<u32>,
    /// Only the sealed segments with these base offsets, which have to follow each other.
    #[arg(
        long,
        value_name = "BASE",
        value_delimiter = ',',
        value_parser = quantity::offset,
        requires = "partition",
        conflicts_with = "follow"
    )]
    segments: Vec<Offset>,
    /// Go on to follow the source.
    #[arg(long)]
    follow: bool,
    /// Receive no more than this of sealed segments in a second, of all partitions together, 64KiB or more [default: what the servers allow].
    #[arg(long, value_name = "SIZE", value_parser = limit_rate)]
    limit_rate: Option<ByteSize>,
    /// Say what would be moved, and move nothing; whether there is room for it only the clone itself tells.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// End the following of what is followed already without asking; needed for that where no terminal can be asked.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    client: cli::Client,
}

/// Clones, shows how far it is, and prints a row per partition.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    session::run(&args.client, |client| clone(args, client))
}

async fn clone(args: &Args, client: Client) -> anyhow::Result<Exit> {
    if args.dry_run {
        return plan::show(args, &client).await;
    }
    let (admin, _) = client.admin().of_one().await?;
    if let Some(does) = unfollows(args, &admin).await? {
        let consent = cli::Consent {
            yes: args.yes,
            dry_run: false,
        };
        consent::ask_to(consent, &does, "cloned")?;
    }
    let begun = Instant::now();
    let request = clone_topic::Request {
        topic: args.topic.clone(),
        partition: args.partition.map(PartitionId::new),
        from: args.from.clone(),
        segments: args.segments.clone(),
        follow: args.follow,
        rate_bytes: args.limit_rate.map(ByteSize::bytes),
    };
    let server = session::server(&admin);
    let cloned = session::changing(server, admin.clone_topic(&request).await)?;
    let partitions = watch::until_over(&admin, &args.topic, &cloned).await?;
    let printed = print(args, &cloned, &partitions, begun.elapsed().as_secs_f64());
    let ended = Exit::of_all(partitions.iter().map(outcome));
    Ok(exit::of_found(ended, printed))
}

/// That the server follows no more what it follows now, if that is asked of it: a clone without `--follow` has an end.
async fn unfollows(args: &Args, admin: &Admin) -> anyhow::Result<Option<String>> {
    if args.follow {
        return Ok(None);
    }
    let (topic, server) = (&args.topic, session::server(admin));
    let mut partitions = match admin.replica_status(topic, None).await {
        Err(error) if error.is_unknown_topic() => return Ok(None),
        told => told.map_err(|error| session::by(server, error))?.partitions,
    };
    partitions.retain(|one| args.partition.is_none_or(|asked| asked == one.id.get()));
    let count = partitions.iter().filter(|one| is_following(one)).count();
    Ok((0 < count).then(|| {
        format!(
            "ends that {server} follows {count} partitions of {topic}: what comes to the source from now on does not come \
             there any more, and no lag is told; with --follow it goes on to follow"
        )
    }))
}

/// True of a copy without an end.
fn is_following(partition: &Partition) -> bool {
    let has_end = partition.until.is_some() || partition.state == State::Done;
    partition.role == Role::Follower && !has_end
}

/// Says on stderr what went wrong, and gives its exit code.
fn outcome(partition: &Partition) -> Exit {
    let number = partition.id;
    for dropped in &partition.dropped {
        let (from, error) = (&dropped.from, &dropped.error);
        say(&format!("partition {number}: {from} was dropped: {error}"));
    }
    match (&partition.state, &partition.error) {
        (State::Stopped, Some(error)) => {
            say(&format!("partition {number} stopped: {error}"));
            exit::of_body(error)
        }
        (State::Stopped, None) => Exit::Failed,
        (_, Some(error)) if watch::waits_for_damage(partition) => {
            say(&format!(
                "partition {number} waits: {error}; it goes on by itself once that is mended, as by `corelog repair` from another \
                 copy; or clone it with another server that holds it in --from"
            ));
            exit::of_body(error)
        }
        _ => Exit::Done,
    }
}

fn print(
    args: &Args,
    cloned: &clone_topic::Answer,
    partitions: &[Partition],
    seconds: f64,
) -> anyhow::Result<()> {
    let mut out = Out::new();
    match args.client.output {
        Format::Table => {
            const HEADERS: [&str; 6] = [
                "PARTITION",
                "STATE",
                "END",
                "SOURCE END",
                "SEGMENTS",
                "BYTES",
            ];
            let row = |p: &Partition| {
                vec![
                    p.id.to_string(),
                    word(&p.state),
                    cell(end(p)),
                    cell(p.source_end),
                    p.segments_done.to_string(),
                    Amount(p.bytes_done).to_string(),
                ]
            };
            out.table(&HEADERS, partitions.iter().map(row))?;
        }
        Format::Json => out.json(&json!({
            "topic": args.topic.as_str(),
            "id": cloned.id.to_string(),
            "created": cloned.created,
            "seconds": seconds,
            "partitions": partitions.iter().map(in_json).collect::<Vec<_>>(),
        }))?,
    }
    out.flush()
}

/// Where a replica ends, if that is known.
fn end(partition: &Partition) -> Option<Offset> {
    (!partition.closed).then_some(partition.end)
}

/// A replica as programs read it.
fn in_json(partition: &Partition) -> Value {
    let receiving = partition.receiving.iter().map(|segment| {
        json!({
            "segment": segment.segment.get(),
            "from": segment.from,
            "bytes_done": segment.bytes_done,
            "bytes_total": segment.bytes_total,
        })
    });
    let dropped = partition
        .dropped
        .iter()
        .map(|dropped| json!({ "from": dropped.from, "error": dropped.error.to_string() }));
    json!({
        "partition": partition.id.get(),
        "role": partition.role,
        "state": partition.state,
        "source": partition.source,
        "error": partition.error.as_ref().map(ToString::to_string),
        "end": end(partition).map(Offset::get),
        "source_end": partition.source_end.map(Offset::get),
        "lag_records": partition.lag_records,
        "lag_bytes": partition.lag_bytes,
        "lag_ms": partition.lag_ms,
        "bytes_done": partition.bytes_done,
        "bytes_total": partition.bytes_total,
        "segments_done": partition.segments_done,
        "segments_total": partition.segments_total,
        "receiving": receiving.collect::<Vec<_>>(),
        "dropped": dropped.collect::<Vec<_>>(),
    })
}

/// A rate as `--limit-rate` takes it: of none nothing would come.
fn limit_rate(text: &str) -> Result<ByteSize, String> {
    match text.parse() {
        Ok(rate) if ByteSize::from_bytes(0) == rate => {
            Err("nothing comes at a rate of 0: leave it out for what the servers allow".to_owned())
        }
        _ => quantity::rate(text).map_err(|why| why.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    /// Of a large topic far away it ended with an unknown outcome each time, and the server cloned it.
    #[test]
    fn a_clone_is_waited_for_longer_than_its_server_asks_the_sources() {
        let words = ["corelog", "clone", "t", "--from", "log1:7400"];
        match Cli::try_parse_from(words).unwrap().command {
            Command::Clone(args) => assert!(args.client.timeout() > Duration::from_secs(60 + 10)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_a_copy_without_an_end_is_one_that_follows() {
        let partition = |role, until, state| Partition {
            role,
            until,
            state,
            ..Partition::owned(PartitionId::new(0), Offset::ZERO)
        };
        let end = Some(Offset::ZERO);
        for state in [
            State::Following,
            State::Copying,
            State::Waiting,
            State::Stopped,
        ] {
            assert!(is_following(&partition(Role::Follower, None, state)));
            assert!(!is_following(&partition(Role::Follower, end, state)));
        }
        let done = partition(Role::Follower, None, State::Done);
        assert!(!is_following(&done), "an older server tells no end");
        for role in [Role::Owner, Role::HandingOver, Role::Fenced] {
            assert!(!is_following(&partition(role, None, State::Idle)));
        }
    }
}
