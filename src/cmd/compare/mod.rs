//! `corelog compare`: whether two servers hold the same, and where they part.
//!
//! [`search`] finds that out; here stands how it is asked for and told.

pub(in crate::cmd) mod search;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::slice;
use std::sync::Arc;

use corelog_client::{Client, Error};
use corelog_protocol::error::{ErrorBody, ErrorCode, Retry};
use corelog_record::{CoreId, LeaderEpoch, Offset, PartitionId, TopicName};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use self::search::{Found, Side, Verdict};
use crate::exit::{self, Exit, say, stop};
use crate::output::{Format, Out, cell};
use crate::{cli, quantity, session};

/// Compare a topic's copies on two servers by their chains.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Compare a topic's copies on two servers by their chains.\n\n\
        No record is moved: a chain is a running hash over all batches from the log's first one \
        on, so that equal chains at one offset mean equal bytes below it. What is compared is what \
        both can read; a follower that is some records behind its source is equal to it. Where \
        they part, the first batch that differs is named.\n\n\
        Ends with 3 if a partition differs, could not be opened or is missing, as all are where only one server has the \
        topic, with 4 if one is not open yet, or no answer comes from the core that has it, with 1 if one begins behind the other's end, so that there is \
        nothing to compare. 3 goes before the others. One that cannot be compared keeps none of the others from it, \
        but where no answer came, no more is asked of what the same two cores have; which these are is told, and each of them \
        is compared with --partition where it is its disk that hangs, not the core.",
    after_long_help = "EXAMPLES\n  \
        corelog compare events --with log2:7400\n  \
        corelog compare events --server log1:7400 --with log2:7400 --partition 3\n  \
        corelog compare events --with log2:7400 --output json | jq 'select(.verdict != \"equal\")'"
)]
pub(crate) struct Args {
    /// The topic's name, the same on both.
    #[arg(value_name = "TOPIC", value_parser = quantity::topic_name)]
    topic: TopicName,
    /// The other server.
    #[arg(long, value_name = "HOST:PORT", value_parser = cli::address)]
    with: String,
    /// Only this partition.
    #[arg(long, value_name = "P", value_parser = quantity::partition)]
    partition: Option<u32>,
    #[command(flatten)]
    client: cli::Client,
}

/// Prints a row per partition.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    session::run(&args.client, |client| compare(args, client))
}

async fn compare(args: &Args, client: Client) -> anyhow::Result<Exit> {
    let topic = &args.topic;
    let sides = sides(args, &client).await;
    let sides = sides.map_err(|error| match is_away(&error) {
        true => error.context("nothing was compared"),
        false => error,
    })?;
    if sides[0].is_same_server(&sides[1]) {
        let [here, with] = sides.each_ref().map(|side| &side.server);
        let message = format!(
            "{here} and {with} are one server, or the one that answers: nothing was compared; name another one with --with"
        );
        return Err(stop(Exit::Failed, message));
    }
    let partitions = partitions(args, &sides);
    if partitions.is_empty() {
        let message = format!(
            "neither server has such a partition of {topic}; `corelog topic describe {topic}` shows those that there are"
        );
        return Err(stop(Exit::Failed, message));
    }
    let groups = by_cores(&sides, partitions);
    let sides = Arc::new(sides);
    let both = Arc::clone(&sides);
    let compared = compared(topic, groups, move |partition| {
        let both = Arc::clone(&both);
        async move { search::compare(both.each_ref(), partition).await }
    });
    let Compared { rows, failures } = compared.await;
    // What was found counts also where nobody can be told of it.
    let printed = print(args.client.output, &sides, &rows).map(|()| Exit::Done);
    let failures = failures.into_values().map(Err);
    let verdicts = rows.values().map(|found| Ok(exit_of(&found.verdict)));
    Ok(exit::after_all(failures.chain(verdicts).chain([printed])))
}

/// The topic as both servers tell it, for which no core has to answer.
async fn sides(args: &Args, client: &Client) -> anyhow::Result<[Side; 2]> {
    let (topic, with) = (&args.topic, slice::from_ref(&args.with));
    let other = async {
        let other = session::connect(&args.client, with.to_vec()).await?;
        Side::of(with, topic, &other).await
    };
    match [
        Side::of(&args.client.server, topic, client).await,
        other.await,
    ] {
        [Ok(mine), Ok(other)] => Ok([mine, other]),
        // All of its partitions are missing there.
        [Ok(_), Err(error)] | [Err(error), Ok(_)] if is_missing(&error) => {
            let message = format!("{}; only the other server has it", exit::sentence(&error));
            Err(stop(Exit::Damage, message))
        }
        [Err(error), _] | [_, Err(error)] => Err(error),
    }
}

/// If a server has no such topic.
fn is_missing(error: &anyhow::Error) -> bool {
    let refusal = error.downcast_ref().and_then(Error::refusal);
    refusal.is_some_and(|body| body.is(ErrorCode::UnknownTopic))
}

/// What the comparison of several partitions came to, each by its number.
#[derive(Debug, Default)]
struct Compared {
    rows: BTreeMap<PartitionId, Found>,
    failures: BTreeMap<PartitionId, anyhow::Error>,
}

/// Partitions that the same core of either server has, those last that were not open: they may be when their turn comes.
type Groups = BTreeMap<[Option<CoreId>; 2], Vec<PartitionId>>;

fn by_cores(sides: &[Side; 2], partitions: BTreeSet<PartitionId>) -> Groups {
    let mut groups = Groups::new();
    for partition in partitions {
        let core = |side: &Side| side.topic.partition(partition).ok().map(|one| one.core);
        let cores = sides.each_ref().map(core);
        groups.entry(cores).or_default().push(partition);
    }
    for group in groups.values_mut() {
        group.sort_by_key(|partition| sides.iter().any(|side| side.was_closed(*partition)));
    }
    groups
}

/// Compares groups side by side, since a core that does not answer is waited for as long as it may take; and of each one
/// partition after the other, until no answer comes: of the others it would be waited for as long, each time.
async fn compared<F>(
    topic: &TopicName,
    groups: Groups,
    compare: impl Fn(PartitionId) -> F + Clone + Send + Sync + 'static,
) -> Compared
where
    F: Future<Output = anyhow::Result<Found>> + Send + 'static,
{
    let mut comparing = JoinSet::new();
    for partitions in groups.into_values() {
        let (topic, compare) = (topic.clone(), compare.clone());
        comparing.spawn(async move { compared_in_turn(&topic, &partitions, compare).await });
    }
    let mut all = Compared::default();
    for group in comparing.join_all().await {
        all.rows.extend(group.rows);
        all.failures.extend(group.failures);
    }
    all
}

async fn compared_in_turn<F>(
    topic: &TopicName,
    partitions: &[PartitionId],
    compare: impl Fn(PartitionId) -> F,
) -> Compared
where
    F: Future<Output = anyhow::Result<Found>>,
{
    let mut all = Compared::default();
    for (index, &partition) in partitions.iter().enumerate() {
        let error = match compare(partition).await {
            Ok(found) => {
                all.rows.insert(partition, found);
                continue;
            }
            Err(error) => error,
        };
        if is_away(&error) {
            let what = not_compared(topic, partition, &partitions[index + 1..]);
            all.failures.insert(partition, error.context(what));
            break;
        }
        all.failures.insert(partition, error);
    }
    all
}

/// Which partitions are not compared where no answer came for the first of them.
fn not_compared(topic: &TopicName, first: PartitionId, behind: &[PartitionId]) -> String {
    let behind: Vec<_> = behind.iter().map(ToString::to_string).collect();
    match behind.is_empty() {
        true => format!("{topic}/{first} is not compared"),
        false => format!(
            "{topic}/{first}, and those behind it, are not compared where the same cores have them (partitions {})",
            behind.join(", ")
        ),
    }
}

/// If a server does not answer, whatever it is asked, or goes on saying that it will later: that took all of the time.
fn is_away(error: &anyhow::Error) -> bool {
    let Some(error) = error.downcast_ref::<Error>() else {
        return false;
    };
    let is_for_later = |body: &ErrorBody| body.retry() == Retry::Later;
    error.is_unreachable() || error.refusal().is_some_and(is_for_later)
}

/// Those asked for of all that either server has.
fn partitions(args: &Args, sides: &[Side; 2]) -> BTreeSet<PartitionId> {
    let all = sides.iter().flat_map(|side| &side.topic.partitions);
    let is_asked = |id: &PartitionId| args.partition.is_none_or(|asked| id.get() == asked);
    all.map(|partition| partition.id).filter(is_asked).collect()
}

const fn exit_of(verdict: &Verdict) -> Exit {
    match verdict {
        Verdict::Equal => Exit::Done,
        Verdict::Apart => Exit::Failed,
        Verdict::Differs(_) | Verdict::DiffersBefore | Verdict::OtherHistory | Verdict::Missing => {
            Exit::Damage
        }
    }
}

fn print(
    format: Format,
    sides: &[Side; 2],
    rows: &BTreeMap<PartitionId, Found>,
) -> anyhow::Result<()> {
    let mut out = Out::new();
    match format {
        Format::Table if rows.is_empty() => {}
        Format::Table => {
            const HEADERS: [&str; 4] = ["PARTITION", "VERDICT", "HERE", "THERE"];
            let row = |(partition, found): (&PartitionId, &Found)| {
                let range = |log: &Range<Offset>| format!("{}..{}", log.start, log.end);
                let word = word(&found.verdict).to_owned();
                let ranges = found.readable.each_ref();
                let [here, there] = ranges.map(|log| cell(log.as_ref().map(range)));
                vec![partition.to_string(), word, here, there]
            };
            out.table(&HEADERS, rows.iter().map(row))?;
        }
        Format::Json => {
            for (partition, found) in rows {
                out.json(&in_json(sides, *partition, found))?;
            }
        }
    }
    out.flush()?;
    if format == Format::Table {
        let lines = rows.iter().filter_map(|(partition, found)| {
            told(&found.verdict).map(|told| format!("{}/{partition}: {told}", sides[0].topic.name))
        });
        lines.for_each(|line| say(&line));
    }
    Ok(())
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Equal => "equal",
        Verdict::Differs(_) => "differs",
        Verdict::DiffersBefore => "differs before",
        Verdict::OtherHistory => "other history",
        Verdict::Apart => "apart",
        Verdict::Missing => "missing",
    }
}

/// What there is to say of it beyond its word.
fn told(verdict: &Verdict) -> Option<String> {
    match verdict {
        Verdict::Equal => None,
        Verdict::Differs(first) => {
            let [here, there] = first.epochs.map(epoch);
            Some(format!(
                "the first batch that differs begins at offset {}, with {} batches before it \
                 (leader epoch {here} here, {there} there)",
                first.offset, first.ordinal
            ))
        }
        Verdict::DiffersBefore => {
            Some("they part before the oldest record that both can read".to_owned())
        }
        Verdict::OtherHistory => Some(
            "these are no copies of one log: the topics were created apart from each other"
                .to_owned(),
        ),
        Verdict::Apart => {
            Some("one begins behind the other's end: there is nothing to compare".to_owned())
        }
        Verdict::Missing => Some("only one of the two servers has it".to_owned()),
    }
}

fn epoch(epoch: Option<LeaderEpoch>) -> String {
    epoch.map_or_else(|| "none".to_owned(), |epoch| epoch.to_string())
}

fn in_json(sides: &[Side; 2], partition: PartitionId, found: &Found) -> Value {
    let range = |side: usize| {
        let log = found.readable[side].as_ref()?;
        Some(json!({
            "server": sides[side].server,
            "log_start": log.start.get(),
            "high_watermark": log.end.get(),
        }))
    };
    let first = match &found.verdict {
        Verdict::Differs(first) => Some(json!({
            "offset": first.offset.get(),
            "ordinal": first.ordinal.get(),
            "epoch_here": first.epochs[0].map(LeaderEpoch::get),
            "epoch_there": first.epochs[1].map(LeaderEpoch::get),
        })),
        _ => None,
    };
    json!({
        "topic": sides[0].topic.name.as_str(),
        "partition": partition.get(),
        "verdict": word(&found.verdict).replace(' ', "_"),
        "here": range(0),
        "there": range(1),
        "first_difference": first,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use corelog_protocol::kind::Kind;

    use super::*;

    /// The first that was not answered ended it, whoever had the others: what differed there was not found.
    #[tokio::test]
    async fn a_core_that_does_not_answer_keeps_nothing_of_another_one_from_being_compared() {
        let all = |numbers: [u32; 3]| numbers.map(PartitionId::new).to_vec();
        let cores = |core| [Some(CoreId::new(0)), Some(CoreId::new(core))];
        let groups = [(cores(0), all([0, 2, 4])), (cores(1), all([1, 3, 5]))];
        let asked = Arc::new(Mutex::new(BTreeSet::new()));
        let asking = Arc::clone(&asked);
        let compare = move |partition: PartitionId| {
            asking.lock().unwrap().insert(partition.get());
            let verdict = match partition.get() {
                0 => Err(anyhow::Error::new(Error::TimedOut {
                    address: "log2:7400".into(),
                    kind: Kind::Segments,
                    after: std::time::Duration::from_secs(1),
                    is_sent: true,
                    refused: None,
                })),
                3 => Ok(Verdict::DiffersBefore),
                _ => Ok(Verdict::Equal),
            };
            let readable = [None, None];
            let told = verdict.map(|verdict| Found { verdict, readable });
            async move { told }
        };
        let topic = TopicName::new("t").unwrap();
        let Compared { rows, failures } = compared(&topic, groups.into(), compare).await;
        let compared: Vec<_> = rows.keys().map(|partition| partition.get()).collect();
        assert_eq!(compared, [1, 3, 5]);
        assert_eq!(
            *asked.lock().unwrap(),
            [0, 1, 3, 5].into(),
            "once in vain is enough"
        );
        let failures: Vec<_> = failures.into_values().collect();
        let [error] = &failures[..] else {
            panic!("{failures:?}");
        };
        assert_eq!(exit::of(error), Exit::Unreachable);
        let said = exit::sentence(error);
        assert!(
            said.contains("(partitions 2, 4)") && said.contains("log2:7400"),
            "{said}"
        );
    }
}
