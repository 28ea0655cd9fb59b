//! `corelog offsets`: where each partition begins and ends, on each server asked.

use corelog_protocol::message::describe_topic::{Answer, Partition};
use corelog_protocol::message::replica_status::Role;
use corelog_record::{TopicId, TopicName};

use crate::cli::Client;
use crate::cmd::topic::closed::{self, cell};
use crate::cmd::topic::describe;
use crate::cmd::topic::policy::word;
use crate::exit::{self, Exit, stop};
use crate::output::{Format, Out};
use crate::servers::{self, Told};
use crate::{quantity, session};

/// Show where each partition of a topic begins and ends.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Show where each partition of a topic begins and ends.\n\n\
        With several servers each of them is asked, a row says which one answered, and HOLDS which \
        of them have the oldest record of the partition and the newest, which no copy of an earlier leader epoch has, nor an owner \
        that was replaced. Ends with 4 if one of them does not answer, or a partition is not open yet, with 3 if it could not be opened, or one has another \
        topic of that name: `topic_id` in JSON differs, and HOLDS tells of each topic by itself.",
    after_long_help = "EXAMPLES\n  \
        corelog offsets events\n  \
        corelog offsets events --server log1:7400,log2:7400 --output json"
)]
pub(crate) struct Args {
    /// The topic's name.
    #[arg(value_name = "TOPIC", value_parser = quantity::topic_name)]
    topic: TopicName,
    #[command(flatten)]
    client: Client,
}

/// What a server says of a partition, and of which topic that is.
struct Row {
    server: String,
    topic: TopicId,
    partition: Partition,
}

/// Prints a row per server and partition; a server that does not answer does not hide the others.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    session::run_unconnected(|| offsets(args))
}

async fn offsets(args: &Args) -> anyhow::Result<Exit> {
    let mut rows: Vec<Row> = Vec::new();
    let mut failures = Vec::new();
    for Told { server, topic, .. } in servers::ask(&args.client, &args.topic).await {
        match topic {
            Ok(topic) => {
                let looked = closed::check(&args.topic, &topic.partitions);
                failures.extend(looked.err().map(|error| error.context(server.clone())));
                failures.extend(
                    rows.first()
                        .and_then(|first| another(first, &server, &topic)),
                );
                let row = |partition| Row {
                    server: server.clone(),
                    topic: topic.id,
                    partition,
                };
                rows.extend(topic.partitions.into_iter().map(row));
            }
            Err(error) => failures.push(session::by(&server, error)),
        }
    }
    let printed = print(args.client.output, &rows).map(|()| Exit::Done);
    let failures = failures.into_iter().map(Err);
    Ok(exit::after_all(failures.chain([printed])))
}

/// A topic of that name which is not the one that the first server has.
fn another(first: &Row, server: &str, topic: &Answer) -> Option<anyhow::Error> {
    let message = || {
        format!(
            "{server} has another topic of that name than {}: its id is {}, and not {}; `corelog topic describe --server` tells \
             of each",
            first.server, topic.id, first.topic
        )
    };
    (topic.id != first.topic).then(|| stop(Exit::Damage, message()))
}

fn print(format: Format, rows: &[Row]) -> anyhow::Result<()> {
    const HEADERS: [&str; 8] = [
        "SERVER",
        "PARTITION",
        "ROLE",
        "LOG START",
        "HIGH WATERMARK",
        "DURABLE",
        "LOG END",
        "HOLDS",
    ];
    let mut out = Out::new();
    match format {
        Format::Table if rows.is_empty() => {}
        Format::Table => {
            let row = |row: &Row| {
                let p = &row.partition;
                let offsets = [p.log_start, p.high_watermark, p.durable, p.log_end];
                let offsets = offsets.map(|offset| cell(p, offset));
                [row.server.clone(), p.id.to_string(), word(&p.role)]
                    .into_iter()
                    .chain(offsets)
                    .chain([holds(row, rows).join(", ")])
                    .collect()
            };
            out.table(&HEADERS, rows.iter().map(row))?;
        }
        Format::Json => rows.iter().try_for_each(|row| {
            let mut json = describe::partition(&row.partition);
            json["server"] = row.server.as_str().into();
            json["topic_id"] = row.topic.to_string().into();
            json["holds"] = holds(row, rows).into();
            out.json(&json)
        })?,
    }
    out.flush()
}

/// Whether no other server's copy of the partition begins earlier, or ends later: of those alone that are no former owner's,
/// and are of the latest epoch. What a former owner has beyond its successor is in no other log but of copies that followed it
/// there. Whoever is level with the latest epoch's owner has heard of it, also where that has no record yet.
fn holds(row: &Row, rows: &[Row]) -> Vec<&'static str> {
    let partition = &row.partition;
    let has_records = |copy: &Partition| !copy.closed && copy.log_start < copy.log_end;
    if !has_records(partition) {
        return Vec::new();
    }
    let all = || {
        let of_topic = rows.iter().filter(|other| other.topic == row.topic);
        of_topic
            .map(|other| &other.partition)
            .filter(|copy| copy.id == partition.id)
    };
    let copies = || all().filter(|copy| has_records(copy));
    let is_oldest = copies().all(|copy| partition.log_start <= copy.log_start);
    let is_former = |one: &Partition| {
        // Also one that has no records.
        let is_later = |copy: &Partition| !copy.closed && one.epoch < copy.epoch;
        one.role == Role::Fenced || (one.role.owns() && all().any(is_later))
    };
    let heirs = copies().filter(|copy| !is_former(copy));
    let end = |copy: &Partition| (copy.epoch, copy.high_watermark);
    let is_newest = !is_former(partition) && heirs.map(end).max() == Some(end(partition));
    let words = [is_oldest.then_some("oldest"), is_newest.then_some("newest")];
    words.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use corelog_protocol::message::describe_topic::State;
    use corelog_record::{LeaderEpoch, Offset};

    use super::*;

    fn row(role: Role, epoch: i32, end: u64) -> Row {
        let end = Offset::new(end).unwrap();
        Row {
            server: "log1:7400".to_owned(),
            topic: TopicId::from_bytes([7; 16]),
            partition: Partition {
                role,
                epoch: LeaderEpoch::new(epoch).unwrap(),
                high_watermark: end,
                log_end: end,
                ..closed::tests::partition(0, State::Ok, Some(1))
            },
        }
    }

    fn have_newest(rows: &[Row]) -> Vec<bool> {
        let has = |row| holds(row, rows).contains(&"newest");
        rows.iter().map(has).collect()
    }

    #[test]
    fn copies_that_end_alike_all_have_the_newest_record() {
        let rows = [
            row(Role::Owner, 2, 9),
            row(Role::Follower, 2, 9),
            row(Role::Follower, 2, 8),
        ];
        assert_eq!(have_newest(&rows), [true, true, false]);
    }

    /// It was said to have the newest record, and the runbook has such a copy promoted: what the later epoch's owner had
    /// acknowledged went to quarantine.
    #[test]
    fn a_copy_of_an_earlier_epoch_that_ends_level_may_have_parted_and_is_not_the_newest() {
        let lost_owners = [row(Role::Follower, 1, 12), row(Role::Follower, 1_001, 12)];
        assert_eq!(have_newest(&lost_owners), [false, true]);
        let owned = [row(Role::Follower, 1, 12), row(Role::Owner, 1_001, 12)];
        assert_eq!(have_newest(&owned), [false, true]);
    }

    /// Whoever looked for the server to go on with was sent to the one that was to rejoin.
    #[test]
    fn what_a_former_owner_has_beyond_its_successor_is_not_the_newest() {
        let replaced = [row(Role::Fenced, 1, 15), row(Role::Owner, 2, 12)];
        assert_eq!(have_newest(&replaced), [false, true]);
        let unheard = [row(Role::Owner, 1, 15), row(Role::Owner, 2, 12)];
        assert_eq!(have_newest(&unheard), [false, true]);
        let parted = [row(Role::Follower, 1, 15), row(Role::Owner, 2, 12)];
        assert_eq!(have_newest(&parted), [false, true]);
        let level = [row(Role::Fenced, 1, 12), row(Role::Owner, 1, 12)];
        assert_eq!(have_newest(&level), [false, true]);
        assert_eq!(have_newest(&[row(Role::Fenced, 1, 15)]), [false]);
        let empty = [row(Role::Owner, 1, 15), row(Role::Owner, 2, 0)];
        assert_eq!(have_newest(&empty), [false, false]);
    }
}
