//! `corelog rejoin`: makes a former owner follow the server that took its place.

use corelog_client::{Admin, Client, Error};
use corelog_protocol::message::rejoin::Partition;
use corelog_record::TopicName;
use serde_json::{Value, json};

use crate::exit::{Exit, say};
use crate::partitions::{self, Meant};
use crate::quantity::Amount;
use crate::{cli, output, quantity, session};

/// How long the server is waited for: it looks up to twice, for a minute each, where the two logs part, and asks the owner
/// besides.
const TIMEOUT: &str = "200s";

/// Make a former owner follow the server that took its place.
#[derive(clap::Args, Debug)]
#[command(
    mut_arg("timeout", |timeout| timeout.default_value(TIMEOUT)),
    long_about = "Make a former owner follow the server that took its place.\n\n\
        After a promotion the old owner may hold records that nobody else has: they lie above the \
        offset at which the two logs parted. They are moved to a file in `quarantine/` of its data \
        directory, counted and readable (`corelog inspect FILE --records --from OFFSET`: the file may begin \
        before the parting, with records that the new owner has, too), and the server that \
        --server names follows the new owner from the parting on. Nothing is overwritten.\n\n\
        Ends with 4 if for 5 seconds the new owner does not answer, or what answers there is no server for \
        clients.",
    after_long_help = "EXAMPLES\n  \
        corelog rejoin events --server log1:7400 --to log2:7400\n  \
        corelog rejoin events --server log1:7400 --to log2:7400 --partition 3 --output json"
)]
pub(crate) struct Args {
    /// The topic's name.
    #[arg(value_name = "TOPIC", value_parser = quantity::topic_name)]
    topic: TopicName,
    /// The server that owns it now.
    #[arg(long, value_name = "HOST:PORT", value_parser = cli::address)]
    to: String,
    /// Only this partition.
    #[arg(long, value_name = "P", value_parser = quantity::partition)]
    partition: Option<u32>,
    #[command(flatten)]
    client: cli::Client,
}

/// Rejoins, and prints a row per partition.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    session::run(&args.client, |client| rejoin(args, client))
}

async fn rejoin(args: &Args, client: Client) -> anyhow::Result<Exit> {
    let topic = &args.topic;
    let ask = async |admin: &Admin, id, partition| {
        let answer = admin.rejoin(topic, id, partition, &args.to).await?;
        Ok(answer.partitions)
    };
    let each = partitions::each(&client.admin(), topic, args.partition, |_| Meant::Yes, ask).await;
    let each = each.map_err(|error| match error.is_unknown_topic() {
        true => nothing_here(args, error),
        false => error.into(),
    })?;
    each.end(topic, session::LOOK, |server, done| {
        print(args, server, done)
    })?;
    Ok(Exit::Done)
}

/// That there is no such topic here, as on a machine that took the place of one that was lost: what would be created is another.
fn nothing_here(args: &Args, error: Error) -> anyhow::Error {
    let (topic, servers, to) = (&args.topic, args.client.servers(), &args.to);
    let next = format!(
        "nothing of it is here to rejoin: `corelog clone {topic} --server {servers} --from {to} --follow` makes a copy"
    );
    session::ended_by(&servers, error, Exit::Failed, &next)
}

fn print(args: &Args, server: &str, rejoined: &[Partition]) -> anyhow::Result<()> {
    const HEADERS: [&str; 5] = ["PARTITION", "FOLLOWS FROM", "QUARANTINED", "BYTES", "FILE"];
    let row = |p: &Partition| {
        vec![
            p.id.to_string(),
            p.common.to_string(),
            p.records.to_string(),
            Amount(p.bytes).to_string(),
            output::cell(p.file.as_deref()),
        ]
    };
    let format = args.client.output;
    let place = (&args.topic, server);
    partitions::print(format, place, &HEADERS, rejoined, row, in_json)?;
    let records: u64 = rejoined.iter().map(|partition| partition.records).sum();
    if records > 0 {
        say(&format!(
            "{records} records that only this server had are in quarantine; to read them from where a partition follows: \
             corelog inspect FILE --records --from OFFSET"
        ));
    }
    Ok(())
}

fn in_json(partition: &Partition) -> Value {
    json!({
        "partition": partition.id.get(),
        "common": partition.common.get(),
        "records": partition.records,
        "bytes": partition.bytes,
        "file": partition.file,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser as _;

    use crate::cli::{Cli, Command};

    /// It gave up behind 30 seconds: that the server had put records aside, and where, was told to nobody.
    #[test]
    fn a_rejoin_is_waited_for_longer_than_its_server_looks_for_where_the_logs_part() {
        let words = ["corelog", "rejoin", "t", "--to", "log1:7400"];
        let timeout = match Cli::try_parse_from(words).unwrap().command {
            Command::Rejoin(args) => args.client.timeout(),
            other => panic!("{other:?}"),
        };
        // Beside the two minutes: a connection, and the owner, its segments and the chain, each twice.
        assert!(timeout > Duration::from_secs(2 * 60 + 5 + 2 * (10 + 10 + 10)));
    }
}
