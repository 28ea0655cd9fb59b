//! What a clone would move, and whether it would be refused: from what both servers tell of their
//! segments.

use anyhow::Context as _;
use corelog_client::{Client, Error};
use corelog_protocol::message::replica_status::Role;
use corelog_protocol::message::{describe_topic, segments};
use corelog_record::{Offset, PartitionId};
use serde_json::{Value, json};

use super::Args;
use crate::cmd::compare::search::{self, Side, Verdict};
use crate::cmd::topic::closed;
use crate::cmd::topic::policy::word;
use crate::exit::{self, Exit, say, stop};
use crate::output::{Format, Out, cell};
use crate::quantity::Amount;
use crate::session;

/// What a clone of one partition would move.
#[derive(Debug)]
struct Plan {
    partition: PartitionId,
    /// Where what is here ends; `None` where there is nothing yet.
    here_end: Option<Offset>,
    source_end: Offset,
    /// The sealed segments that would be received.
    segments: Vec<segments::Sealed>,
    /// Records that would be fetched besides.
    tail_records: u64,
    remark: Option<Remark>,
}

/// What there is of the topic here.
#[derive(Debug)]
struct Here {
    side: Side,
    told: describe_topic::Answer,
}

/// What becomes of what is here already, if that is not the beginning of what comes, and how the clone would end.
#[derive(Debug)]
struct Remark {
    why: String,
    exit: Exit,
}

impl Remark {
    /// Nothing of it would be done.
    fn is_refusal(&self) -> bool {
        self.exit != Exit::Done
    }

    /// It is done, if not as one would expect.
    fn done(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            exit: Exit::Done,
        }
    }

    /// As it cannot be asked for.
    fn failed(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            exit: Exit::Failed,
        }
    }

    /// As the two logs are not the same.
    fn differs(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            exit: Exit::Damage,
        }
    }
}

/// Prints a row per partition of what a clone would move; ends as the clone would where it is refused.
pub(super) async fn show(args: &Args, client: &Client) -> anyhow::Result<Exit> {
    let source = session::connect(&args.client, args.from.clone()).await?;
    let source = Side::of(&args.from, &args.topic, &source).await?;
    let here = Side::of(&args.client.server, &args.topic, client).await;
    let is_unknown =
        |error: &anyhow::Error| error.downcast_ref().is_some_and(Error::is_unknown_topic);
    let here = match here {
        Err(error) if is_unknown(&error) => None,
        here => Some(Here::of(here?).await?),
    };
    let mut numbers: Vec<PartitionId> = source.topic.partitions.iter().map(|p| p.id).collect();
    numbers.retain(|id| args.partition.is_none_or(|asked| id.get() == asked));
    if numbers.is_empty() {
        let (topic, source) = (&args.topic, &source.server);
        let message = format!(
            "{source} has no such partition of {topic}; `corelog topic describe {topic} --server {source}` shows those that \
             there are"
        );
        return Err(stop(Exit::Failed, message));
    }
    let mut plans = Vec::new();
    for partition in numbers {
        plans.push(plan(args, (here.as_ref(), &source), partition).await?);
    }
    if let Some(here) = &here
        && let Some(does) = super::unfollows(args, &here.side.admin).await?
    {
        say(&format!("without --dry-run this {does}, and needs consent"));
    }
    let printed = print(args, &plans);
    let ended = Exit::of_all(plans.iter().map(|plan| outcome(args, plan)));
    Ok(exit::of_found(ended, printed))
}

async fn plan(
    args: &Args,
    (here, source): (Option<&Here>, &Side),
    partition: PartitionId,
) -> anyhow::Result<Plan> {
    let told = source.segments(partition, Offset::ZERO).await?;
    let source_end = told.high_watermark;
    let (mut here_end, mut remark) = (None, None);
    if let Some(here) = here {
        remark = remark_on(args, (here, source), partition, source_end).await?;
        let records = here
            .partition(partition)
            .filter(|p| p.log_start < p.log_end);
        here_end = records.map(|p| p.log_end);
    }
    let (segments, tail_records) = to_move(told, here_end, &args.segments)
        .with_context(|| format!("{}/{partition} of {}", args.topic, source.server))?;
    Ok(Plan {
        partition,
        here_end,
        source_end,
        segments,
        tail_records,
        remark,
    })
}

impl Here {
    /// As the server describes it, with the answers of all of its cores.
    async fn of(side: Side) -> anyhow::Result<Self> {
        let described = side.admin.describe_topic(&side.topic.name).await;
        let told = described.map_err(|error| session::by(&side.server, error))?;
        Ok(Self { side, told })
    }

    fn partition(&self, id: PartitionId) -> Option<&describe_topic::Partition> {
        self.told.partitions.iter().find(|one| one.id == id)
    }
}

/// What the destination would say to what the source has, which ends there; `None` if what is here is the beginning of that.
async fn remark_on(
    args: &Args,
    (here, source): (&Here, &Side),
    partition: PartitionId,
    source_end: Offset,
) -> anyhow::Result<Option<Remark>> {
    if here.told.id != source.topic.id {
        return Ok(Some(Remark::failed(
            "another topic has this name here: see `corelog topic delete`",
        )));
    }
    let counts = (here.told.partitions.len(), source.topic.partitions.len());
    if counts.1 < counts.0 {
        let (here, source) = counts;
        let message = format!("the topic has {here} partitions here, {source} there");
        return Ok(Some(Remark::failed(message)));
    }
    let copy = here.partition(partition);
    if let Some(owned) = copy.filter(|p| p.role != Role::Follower) {
        let role = word(&owned.role).replace('_', " ");
        let message = format!("this server does not follow it ({role}): see `corelog rejoin`");
        return Ok(Some(Remark::failed(message)));
    }
    closed::check(&args.topic, copy).with_context(|| here.side.server.clone())?;
    let is_behind = copy.is_some_and(|p| source_end < p.high_watermark);
    let verdict = match copy.is_none_or(|p| p.log_start == p.log_end) {
        true => Verdict::Equal,
        false => {
            search::compare([&here.side, source], partition)
                .await?
                .verdict
        }
    };
    Ok(match verdict {
        Verdict::Equal | Verdict::Apart if is_behind => Some(Remark::done(
            "the source ends before what is here; whatever is to follow it waits until it has as much",
        )),
        Verdict::Equal => None,
        Verdict::Differs(first) => {
            let offset = first.offset;
            let why = format!("what is here differs from the source at offset {offset}");
            Some(Remark::differs(why))
        }
        Verdict::DiffersBefore | Verdict::OtherHistory => {
            Some(Remark::differs("what is here is not of the source's log"))
        }
        Verdict::Apart if args.segments.is_empty() => Some(Remark::done(
            "what is here ends before the source begins: if its owner has let go of what comes between, all that is here \
             goes, and it begins anew",
        )),
        Verdict::Apart | Verdict::Missing => {
            Some(Remark::failed("what is here ends before the source begins"))
        }
    })
}

/// The sealed segments above what is here, or those asked for, and how many records come besides.
///
/// # Errors
/// Where the source tells what cannot be.
fn to_move(
    source: segments::Answer,
    here_end: Option<Offset>,
    asked: &[Offset],
) -> anyhow::Result<(Vec<segments::Sealed>, u64)> {
    let here_end = here_end.unwrap_or(Offset::ZERO);
    let mut segments = source.sealed;
    let (mut start, mut end) = (source.log_start, source.high_watermark);
    if let Some(first) = asked.iter().min() {
        let lacks = |base: &&Offset| !segments.iter().any(|segment| segment.base == **base);
        if let Some(base) = asked.iter().find(lacks) {
            let message = format!("the source has no sealed segment that begins at {base}");
            return Err(stop(Exit::Failed, message));
        }
        segments.retain(|segment| asked.contains(&segment.base));
        let last = segments
            .last()
            .and_then(|last| last.digest.last.checked_add(1));
        (start, end) = (*first, last.unwrap_or(end));
    }
    segments.retain(|segment| here_end <= segment.base);
    let mut of_files = 0_u64;
    for segment in &segments {
        let records = records(segment).ok_or_else(|| {
            let (base, last) = (segment.base, segment.digest.last);
            let message =
                format!("the server contradicts itself: its segment at {base} ends with {last}");
            stop(Exit::Damage, message)
        })?;
        of_files = of_files.saturating_add(records);
    }
    let records = end.checked_since(here_end.max(start)).unwrap_or(0);
    Ok((segments, records.saturating_sub(of_files)))
}

/// How many records a segment holds; none if it is told to end before it begins.
fn records(segment: &segments::Sealed) -> Option<u64> {
    let last = segment.digest.last.checked_since(segment.base)?;
    last.checked_add(1)
}

fn print(args: &Args, plans: &[Plan]) -> anyhow::Result<()> {
    let mut out = Out::new();
    match args.client.output {
        Format::Table => {
            const HEADERS: [&str; 6] = [
                "PARTITION",
                "HERE TO",
                "SOURCE TO",
                "SEGMENTS",
                "BYTES",
                "THEN RECORDS",
            ];
            let row = |plan: &Plan| {
                vec![
                    plan.partition.to_string(),
                    cell(plan.here_end),
                    plan.source_end.to_string(),
                    plan.segments.len().to_string(),
                    Amount(plan.bytes()).to_string(),
                    plan.tail_records.to_string(),
                ]
            };
            out.table(&HEADERS, plans.iter().map(row))?;
        }
        Format::Json => out.json(&json!({
            "dry_run": true,
            "topic": args.topic.as_str(),
            "bytes": plans.iter().map(Plan::bytes).fold(0, u64::saturating_add),
            "partitions": plans.iter().map(Plan::in_json).collect::<Vec<_>>(),
        }))?,
    }
    out.flush()
}

/// Says on stderr what there is to remark, and how the clone would end.
fn outcome(args: &Args, plan: &Plan) -> Exit {
    let Some(remark) = &plan.remark else {
        return Exit::Done;
    };
    let place = format!("{}/{}", args.topic, plan.partition);
    let refused = match remark.is_refusal() {
        true => " would be refused",
        false => "",
    };
    say(&format!("{place}{refused}: {}", remark.why));
    remark.exit
}

impl Plan {
    /// Bytes of the segments that would be received.
    fn bytes(&self) -> u64 {
        let segments = self.segments.iter();
        // What a server tells may be anything.
        segments
            .map(|segment| segment.digest.bytes)
            .fold(0, u64::saturating_add)
    }

    fn in_json(&self) -> Value {
        let refusal = self.remark.as_ref().filter(|remark| remark.is_refusal());
        let segments = self
            .segments
            .iter()
            .map(|segment| json!({ "base": segment.base.get(), "bytes": segment.digest.bytes }));
        json!({
            "partition": self.partition.get(),
            "here_end": self.here_end.map(Offset::get),
            "source_end": self.source_end.get(),
            "segments": segments.collect::<Vec<_>>(),
            "bytes": self.bytes(),
            "tail_records": self.tail_records,
            "refusal": refusal.map(|refusal| &refusal.why),
        })
    }
}

#[cfg(test)]
mod tests {
    use corelog_record::{Chain, CopyId, HistoryId, Ordinal, Timestamp};

    use super::*;
    use crate::exit;

    fn offset(number: u64) -> Offset {
        Offset::new(number).unwrap()
    }

    fn sealed(base: u64, last: u64) -> segments::Sealed {
        segments::Sealed {
            base: offset(base),
            generation: 0,
            digest: segments::Digest {
                kind: segments::DigestKind::Original,
                first: offset(base),
                last: offset(last),
                first_ordinal: Ordinal::ZERO,
                last_ordinal: Ordinal::ZERO,
                bytes: 1,
                batches: 1,
                chain_base: Chain::from_raw(1),
                chain_end: Chain::from_raw(1),
                hash: None,
            },
            max_timestamp: Timestamp::from_millis(0),
            sealed_at: Timestamp::from_millis(0),
        }
    }

    fn told(sealed: Vec<segments::Sealed>) -> segments::Answer {
        segments::Answer {
            history: HistoryId::from_bytes([1; 16]),
            copy: CopyId::from_bytes([2; 16]),
            log_start: offset(0),
            high_watermark: offset(100),
            epochs: Vec::new(),
            sealed,
            active: None,
        }
    }

    #[test]
    fn what_is_not_here_comes_as_segments_and_then_as_records() {
        let source = || told(vec![sealed(0, 29), sealed(30, 79)]);
        let moved = |here_end, asked: &[Offset]| {
            let (segments, records) = to_move(source(), here_end, asked).unwrap();
            (segments.len(), records)
        };
        assert_eq!(moved(None, &[]), (2, 20));
        assert_eq!(moved(Some(offset(30)), &[]), (1, 20));
        assert_eq!(moved(Some(offset(90)), &[]), (0, 10));
        assert_eq!(moved(None, &[offset(30)]), (1, 0));
        assert_eq!(moved(Some(offset(30)), &[offset(0), offset(30)]), (1, 0));
        assert_eq!(
            moved(Some(offset(50)), &[offset(30)]),
            (0, 30),
            "of one that is here in part"
        );
        assert_eq!(moved(Some(offset(80)), &[offset(30)]), (0, 0));
        let refused = to_move(source(), None, &[offset(31)]).unwrap_err();
        assert!(refused.to_string().contains("begins at 31"), "{refused}");
    }

    /// The command ended by a panic.
    #[test]
    fn a_segment_that_ends_before_it_begins_is_an_error() {
        let error = to_move(told(vec![sealed(50, 49)]), None, &[]).unwrap_err();
        assert_eq!(exit::of(&error), Exit::Damage);
        let said = error.to_string();
        assert!(said.contains("its segment at 50 ends with 49"), "{said}");
        let whole = || sealed(0, Offset::MAX.get());
        let (_, records) = to_move(told(vec![whole(), whole(), whole()]), None, &[]).unwrap();
        assert_eq!(records, 0, "they sum up to more than there can be");
    }
}
