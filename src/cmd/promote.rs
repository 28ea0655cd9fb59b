//! `corelog promote`: makes a replica the owner, whatever became of its source.

use corelog_client::{Admin, Client, Error};
use corelog_protocol::error::{ErrorBody, ErrorCode};
use corelog_protocol::message::describe_topic;
use corelog_protocol::message::promote::Partition;
use corelog_protocol::message::replica_status::{Role, State};
use corelog_record::{Offset, PartitionId, TopicName};
use serde_json::{Value, json};

use crate::exit::{Exit, say, stop};
use crate::output::{Format, Out};
use crate::partitions::{self, Meant};
use crate::quantity::Span;
use crate::{cli, quantity, session};

/// Make a replica the owner of its partition.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Make a replica the owner of its partition.\n\n\
        For the day on which the owner is gone: the server that --server names begins a new leader \
        epoch at its end and takes writes from then on. It needs nobody's consent: its source is asked, \
        for a second at most, only whether it has handed the partition over. Replication is \
        asynchronous, so the newest records of the old owner may not be here; as long as that \
        cannot be ruled out it refuses (exit 6) and says both ends, and --accept-loss is needed. A partition \
        of which nothing was copied is left out unless --partition names it; it then ends with 1. One that was \
        owned here, and that another server took over, is taken back if --partition names it, with --accept-loss.\n\n\
        Make sure that the old owner is down, or let nobody write to it: two owners take different \
        records. When it comes back, `corelog rejoin` there puts what only it has into quarantine. \
        Where the owner still lives, `corelog handover` moves ownership without any loss.",
    after_long_help = "EXAMPLES\n  \
        corelog promote events --server log2:7400\n  \
        corelog promote events --server log2:7400 --partition 3 --accept-loss\n  \
        corelog promote events --accept-loss --output json | jq '.partitions[].end'"
)]
pub(crate) struct Args {
    /// The topic's name.
    #[arg(value_name = "TOPIC", value_parser = quantity::topic_name)]
    topic: TopicName,
    /// Only this partition; else all that were copied from another server.
    #[arg(long, value_name = "P", value_parser = quantity::partition)]
    partition: Option<u32>,
    /// Put up with the loss of records that the old owner may have and this server does not.
    #[arg(long)]
    accept_loss: bool,
    #[command(flatten)]
    client: cli::Client,
}

/// Promotes, and prints a row per partition.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    session::run(&args.client, |client| promote(args, client))
}

async fn promote(args: &Args, client: Client) -> anyhow::Result<Exit> {
    let ask = async |admin: &Admin, id, partition| {
        let (topic, loss) = (&args.topic, args.accept_loss);
        let answer = admin.promote(topic, id, partition, loss).await?;
        Ok(answer.partitions)
    };
    let copies = |known: &describe_topic::Partition| match known.role {
        Role::Fenced => Meant::LeftOut,
        Role::Follower if is_uncopied(known) => Meant::LeftOut,
        Role::Follower => Meant::Yes,
        _ => Meant::No,
    };
    let each = partitions::each(&client.admin(), &args.topic, args.partition, copies, ask).await?;
    let (server, left_out) = (each.server.clone(), each.left_out.clone());
    for partition in &left_out {
        let place = format!("{}/{partition}", args.topic);
        say(&format!(
            "{place} is not promoted at {server}: nothing of it was copied, or another server took it from this one; --partition \
             {partition} does it all the same"
        ));
    }
    let ended = each.end(&args.topic, session::LOOK, |server, done| {
        print(args, server, (done, &left_out))
    });
    ended.map_err(|error| match error.downcast_ref() {
        Some(Error::Refused { body }) if body.is(ErrorCode::LossPossible) => {
            loss_possible(args, &server, body)
        }
        _ => error,
    })?;
    Ok(match left_out.is_empty() {
        true => Exit::Done,
        false => Exit::Failed,
    })
}

/// If a partition that follows has nothing, nor asks for anything: where others of its topic were cloned alone, its owner
/// does not know of it, and would not hear that it is none any more.
fn is_uncopied(known: &describe_topic::Partition) -> bool {
    let has_none = known.segments == 0 && known.log_end == Offset::ZERO && !known.closed;
    known.copying == State::Done && has_none
}

/// That records may be missing, which has to be put up with.
fn loss_possible(args: &Args, server: &str, refusal: &ErrorBody) -> anyhow::Error {
    let rest = match args.partition {
        Some(_) => "",
        None => ", nor any partition behind it",
    };
    let message = format!(
        "{server}: {refusal}; it was not promoted{rest}; another copy may have more (`corelog offsets` of each); --accept-loss does \
         it all the same"
    );
    stop(Exit::Denied, message)
}

fn print(
    args: &Args,
    server: &str,
    (promoted, left_out): (&[Partition], &[PartitionId]),
) -> anyhow::Result<()> {
    const HEADERS: [&str; 5] = ["PARTITION", "END", "EPOCH", "SOURCE END", "LOSS"];
    let row = |p: &Partition| {
        vec![
            p.id.to_string(),
            p.end.to_string(),
            p.epoch.to_string(),
            source_end(p),
            loss(p),
        ]
    };
    // First: so it is also where it cannot be printed.
    if promoted.iter().any(|partition| !partition.is_lossless) {
        say("records of the old owner may be missing; `corelog rejoin` there keeps them apart");
    }
    match args.client.output {
        Format::Table if promoted.is_empty() => {}
        Format::Table => {
            let place = (&args.topic, server);
            partitions::print(Format::Table, place, &HEADERS, promoted, row, in_json)?;
        }
        Format::Json => {
            let left_out = left_out.iter().map(|partition| partition.get());
            let mut out = Out::new();
            out.json(&json!({
                "topic": args.topic.as_str(),
                "server": server,
                "partitions": promoted.iter().map(in_json).collect::<Vec<_>>(),
                "left_out": left_out.collect::<Vec<_>>(),
            }))?;
            out.flush()?;
        }
    }
    Ok(())
}

/// The source's end as it was last heard of, and how long ago.
fn source_end(partition: &Partition) -> String {
    match (partition.source_end, partition.source_heard_ms) {
        (Some(end), Some(ms)) => format!("{end}, {} ago", Span::from_millis(ms)),
        (Some(end), None) => end.to_string(),
        (None, _) => "never heard".to_owned(),
    }
}

fn loss(partition: &Partition) -> String {
    let known = partition
        .source_end
        .map(|end| end.checked_since(partition.end).unwrap_or(0));
    match known {
        _ if partition.is_lossless => "none".to_owned(),
        Some(known) => format!("{known} records or more"),
        None => "not known".to_owned(),
    }
}

fn in_json(partition: &Partition) -> Value {
    json!({
        "partition": partition.id.get(),
        "end": partition.end.get(),
        "epoch": partition.epoch.get(),
        "source_end": partition.source_end.map(Offset::get),
        "source_heard_ms": partition.source_heard_ms,
        "is_lossless": partition.is_lossless,
    })
}
