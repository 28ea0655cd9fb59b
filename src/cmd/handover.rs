//! `corelog handover`: gives partitions to a follower without losing a record.

use corelog_client::{Admin, Client};
use corelog_protocol::message::describe_topic;
use corelog_protocol::message::handover::Partition;
use corelog_record::TopicName;
use serde_json::{Value, json};

use crate::exit::Exit;
use crate::{cli, partitions, quantity, session};

/// How long the server is waited for: it waits for the follower for a minute itself, and for its answers besides.
const TIMEOUT: &str = "75s";

/// What to do where the server does not say what came of it.
const UNKNOWN: &str = "as long as it has not ended the owner takes no writes; the same command again goes on with it, --abort \
                       calls it off";

/// The same where it was to be called off.
const ABORT_UNKNOWN: &str = "as long as it is not called off the owner takes no writes; the same command again calls it off";

/// Give partitions to a follower without losing a record.
#[derive(clap::Args, Debug)]
#[command(
    mut_arg("timeout", |timeout| timeout.default_value(TIMEOUT)),
    long_about = "Give partitions to a follower without losing a record.\n\n\
        The server that --server names, the owner, takes no more writes, waits until the follower \
        holds all it has, and lets it begin a new leader epoch; then it follows itself. Producers \
        are told the new owner and carry on; for them it is a pause of a moment. Nothing changes where \
        the follower is no copy of it, or misses more than 256 MiB.\n\n\
        Where it then does not come level or does not answer in time the command fails and the \
        owner takes no writes: the same command again goes on with it, and --abort calls it off. That \
        needs the follower's word that it has not begun. If it is gone for good, --accept-loss does \
        without: should it own the partition after all, one of the two has to rejoin the other. A follower that has \
        owned the partition since, and given it on, does neither: rejoin the owner that it gave it to, or, if that is gone, \
        promote the follower with --accept-loss and give the same command again. Nor does either go on while damage has the \
        partition read-only: repair it, or promote the follower with --accept-loss.\n\n\
        Ends with 4 if for 5 seconds the follower does not answer, or what answers there is no server for \
        clients.",
    after_long_help = "EXAMPLES\n  \
        corelog handover events --server log1:7400 --to log2:7400\n  \
        corelog handover events --server log1:7400 --to log2:7400 --partition 3\n  \
        corelog handover events --server log1:7400 --abort\n  \
        corelog handover events --server log1:7400 --abort --accept-loss"
)]
pub(crate) struct Args {
    /// The topic's name.
    #[arg(value_name = "TOPIC", value_parser = quantity::topic_name)]
    topic: TopicName,
    /// The follower; may be left out where there is only one.
    #[arg(long, value_name = "HOST:PORT", value_parser = cli::address)]
    to: Option<String>,
    /// Only this partition; else all that the server owns.
    #[arg(long, value_name = "P", value_parser = quantity::partition)]
    partition: Option<u32>,
    /// Call off a handover that has not ended: the owner takes writes again.
    #[arg(long, conflicts_with = "to")]
    abort: bool,
    /// Call it off even if the follower does not say that it has not begun.
    #[arg(long, requires = "abort")]
    accept_loss: bool,
    #[command(flatten)]
    client: cli::Client,
}

/// Hands over, and prints a row per partition.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    session::run(&args.client, |client| handover(args, client))
}

async fn handover(args: &Args, client: Client) -> anyhow::Result<Exit> {
    let topic = &args.topic;
    let ask = async |admin: &Admin, id, partition| {
        let answer = match args.abort {
            true => {
                let accept_loss = args.accept_loss;
                admin
                    .abort_handover(topic, id, partition, accept_loss)
                    .await
            }
            false => admin.handover(topic, id, partition, args.to.clone()).await,
        };
        Ok(answer?.partitions)
    };
    let owns = |known: &describe_topic::Partition| known.role.owns().into();
    let each = partitions::each(&client.admin(), topic, args.partition, owns, ask).await?;
    let unknown = match args.abort {
        true => ABORT_UNKNOWN,
        false => UNKNOWN,
    };
    each.end(topic, unknown, |server, done| print(args, server, done))?;
    Ok(Exit::Done)
}

fn print(args: &Args, server: &str, handed: &[Partition]) -> anyhow::Result<()> {
    const HEADERS: [&str; 4] = ["PARTITION", "OWNER", "EPOCH", "FROM OFFSET"];
    let row = |p: &Partition| {
        vec![
            p.id.to_string(),
            p.owner.clone(),
            p.epoch.to_string(),
            p.end.to_string(),
        ]
    };
    let format = args.client.output;
    let place = (&args.topic, server);
    partitions::print(format, place, &HEADERS, handed, row, in_json)
}

fn in_json(partition: &Partition) -> Value {
    json!({
        "partition": partition.id.get(),
        "owner": partition.owner,
        "epoch": partition.epoch.get(),
        "end": partition.end.get(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser as _;

    use crate::cli::{Cli, Command};

    /// Both waited for 30 seconds: the command gave up first, and what the server then said of the follower was lost.
    #[test]
    fn a_handover_is_waited_for_longer_than_its_server_waits_for_the_follower() {
        let timeout = |args: &[&str]| {
            let words = [&["corelog", "handover", "t"], args].concat();
            match Cli::try_parse_from(words).unwrap().command {
                Command::Handover(args) => args.client.timeout(),
                other => panic!("{other:?}"),
            }
        };
        assert!(timeout(&[]) > Duration::from_secs(10 + 10 + 10 + 30 + 10));
        assert_eq!(timeout(&["--timeout", "1s"]), Duration::from_secs(1));
    }
}
