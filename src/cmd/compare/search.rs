//! Where two copies of a partition part: looked up by their chains, without moving a record.
//!
//! A chain witnesses every batch before it. So two copies have the same boundary, ordinal and chain
//! at every offset below the end of the first batch in which they differ, and at none from there on:
//! one halves the range between the two.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use corelog_client::{Admin, Client, Error, Topic};
use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::{chain_at, describe_topic, hello, segments};
use corelog_record::{LeaderEpoch, Offset, Ordinal, PartitionId, TopicName};
use tokio::time::timeout;

use crate::cmd::topic::closed;
use crate::exit::{Exit, stop};
use crate::session;

/// A topic on one server.
#[derive(Debug)]
pub(in crate::cmd) struct Side {
    pub(in crate::cmd) server: String,
    /// What the server says of itself.
    hello: hello::Answer,
    pub(in crate::cmd) admin: Admin,
    /// As the server tells it, whichever of its cores answer.
    pub(in crate::cmd) topic: Arc<Topic>,
    /// Those of which it told at the start that their logs are not open.
    closed: BTreeSet<PartitionId>,
}

/// What the comparison of one partition came to.
#[derive(Debug)]
pub(in crate::cmd) struct Found {
    pub(in crate::cmd) verdict: Verdict,
    /// What can be read on either side, if that has it.
    pub(in crate::cmd) readable: [Option<Range<Offset>>; 2],
}

/// What a comparison came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cmd) enum Verdict {
    /// The same bytes, as far as both can be read.
    Equal,
    /// This is the first batch that differs.
    Differs(Difference),
    /// They differ before what both can read.
    DiffersBefore,
    /// They are no copies of one log.
    OtherHistory,
    /// No record can be read in both: one begins behind the other's end.
    Apart,
    /// One server has no such partition.
    Missing,
}

/// The first batch in which two copies differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cmd) struct Difference {
    /// Where it begins in both.
    pub(in crate::cmd) offset: Offset,
    /// How many batches are before it, in both.
    pub(in crate::cmd) ordinal: Ordinal,
    /// Its leader epoch on either side.
    pub(in crate::cmd) epochs: [Option<LeaderEpoch>; 2],
}

/// Compares one partition of two servers.
///
/// # Errors
/// What a server refuses, with its name, and that its copy is not open; `Damaged` where a copy cannot be read.
pub(in crate::cmd) async fn compare(
    sides: [&Side; 2],
    partition: PartitionId,
) -> anyhow::Result<Found> {
    let [here, there] = sides.map(|side| side.log(partition));
    let (here, there) = tokio::try_join!(here, there)?;
    let readable = [&here, &there].map(|log| log.as_ref().map(readable));
    let verdict = match (here, there) {
        (Some(here), Some(there)) => verdict(sides, partition, [here, there]).await?,
        _ => Verdict::Missing,
    };
    Ok(Found { verdict, readable })
}

async fn verdict(
    sides: [&Side; 2],
    partition: PartitionId,
    logs: [segments::Answer; 2],
) -> anyhow::Result<Verdict> {
    let [here, there] = logs;
    if here.history != there.history {
        // One that is about to begin as a copy of the other is only behind.
        let is_one_topic = sides[0].topic.id == sides[1].topic.id;
        let begins = here.can_be_of(there.history) || there.can_be_of(here.history);
        return Ok(match is_one_topic && begins {
            true => Verdict::Equal,
            false => Verdict::OtherHistory,
        });
    }
    let low = here.log_start.max(there.log_start);
    let high = here.high_watermark.min(there.high_watermark);
    if high < low {
        return Ok(Verdict::Apart);
    }
    if part_at(sides, partition, high).await?.is_none() {
        return Ok(Verdict::Equal);
    }
    if part_at(sides, partition, low).await?.is_some() {
        return Ok(Verdict::DiffersBefore);
    }
    let search = Search::between(low, high);
    let mut search = search.with_context(|| {
        let [here, there] = sides.map(|side| &side.server);
        format!("partition {partition} of {here} or of {there}")
    })?;
    while let Some(offset) = search.next() {
        search.tell(offset, part_at(sides, partition, offset).await?.is_none());
    }
    let [here, there] = both(sides, partition, search.equal).await?;
    Ok(Verdict::Differs(Difference {
        offset: here.offset,
        ordinal: here.ordinal,
        epochs: [here.epoch, there.epoch],
    }))
}

impl Side {
    /// A topic as the first of the servers tells that has it: it alone is asked from then on.
    ///
    /// # Errors
    /// Why none of them tells of it, with their names.
    pub(in crate::cmd) async fn of(
        servers: &[String],
        topic: &TopicName,
        client: &Client,
    ) -> anyhow::Result<Self> {
        let all = servers.join(",");
        let told = client.topic(topic).await;
        let topic = told.map_err(|error| session::by(&all, error))?;
        let (admin, hello) = client.admin().of_teller(&topic).of_one().await?;
        let closed = closed_now(&admin, &topic.name).await;
        Ok(Self {
            server: session::server(&admin).to_owned(),
            hello,
            admin,
            topic,
            closed: closed.iter().map(|one| one.id).collect(),
        })
    }

    /// If both are one server. The copy of a server's directory is another one, with the same node's name.
    pub(in crate::cmd) fn is_same_server(&self, other: &Self) -> bool {
        let place = |side: &Self| (side.hello.node, side.hello.shared.clone());
        place(self) == place(other)
    }

    /// If it told at the start that a partition's log is not open. It may be by now.
    pub(in crate::cmd) fn was_closed(&self, partition: PartitionId) -> bool {
        self.closed.contains(&partition)
    }

    /// What the server tells of a partition's log, and of its segments from an offset on.
    ///
    /// # Errors
    /// What it refuses, with its name; as [`closed::check`] if the log is not open.
    pub(in crate::cmd) async fn segments(
        &self,
        partition: PartitionId,
        from: Offset,
    ) -> anyhow::Result<segments::Answer> {
        let (topic, id) = (&self.topic.name, self.topic.id);
        if self.was_closed(partition) {
            // While it is not open the server would be asked in vain, as long as it may take.
            let closed = closed_now(&self.admin, topic).await;
            let closed = closed.iter().filter(|one| one.id == partition);
            closed::check(topic, closed).with_context(|| self.server.clone())?;
        }
        let asked = self.admin.segments(topic, id, partition, from).await;
        asked.map_err(|error| match error.refusal() {
            Some(body) if body.is(ErrorCode::Damaged) => {
                closed::failed(topic, partition).context(self.server.clone())
            }
            _ => self.failed(error),
        })
    }

    /// The same of its log alone, if it has the partition.
    async fn log(&self, partition: PartitionId) -> anyhow::Result<Option<segments::Answer>> {
        if self.topic.partition(partition).is_err() {
            return Ok(None);
        }
        // Behind all records: no sealed segment has to be told of.
        self.segments(partition, Offset::MAX).await.map(Some)
    }

    async fn chain_at(
        &self,
        partition: PartitionId,
        offset: Offset,
    ) -> anyhow::Result<chain_at::Answer> {
        let (topic, id) = (&self.topic.name, self.topic.id);
        let asked = self.admin.chain_at(topic, id, partition, offset).await;
        asked.map_err(|error| self.failed(error))
    }

    /// An error of this side's server, with its name.
    fn failed(&self, error: Error) -> anyhow::Error {
        session::by(&self.server, error)
    }
}

/// The partitions of which a server tells that their logs are not open. All of its cores have to answer that: where one does
/// not, none is known.
async fn closed_now(admin: &Admin, topic: &TopicName) -> Vec<describe_topic::Partition> {
    let described = timeout(DESCRIBED_WITHIN, admin.describe_topic(topic)).await;
    let described = described.ok().and_then(Result::ok);
    let mut closed = described.map_or_else(Vec::new, |told| told.partitions);
    closed.retain(|partition| partition.closed);
    closed
}

/// How long a server has to describe a topic: one whose cores all answer takes moments.
const DESCRIBED_WITHIN: Duration = Duration::from_secs(3);

/// The boundaries at an offset, if they differ.
async fn part_at(
    sides: [&Side; 2],
    partition: PartitionId,
    offset: Offset,
) -> anyhow::Result<Option<[chain_at::Answer; 2]>> {
    let boundaries = both(sides, partition, offset).await?;
    let [here, there] = boundaries.map(|at| (at.offset, at.ordinal, at.chain));
    Ok((here != there).then_some(boundaries))
}

async fn both(
    [here, there]: [&Side; 2],
    partition: PartitionId,
    offset: Offset,
) -> anyhow::Result<[chain_at::Answer; 2]> {
    let [here, there] = [here, there].map(|side| side.chain_at(partition, offset));
    let (here, there) = tokio::try_join!(here, there)?;
    Ok([here, there])
}

fn readable(log: &segments::Answer) -> Range<Offset> {
    log.log_start..log.high_watermark
}

/// Halves the range in which two copies part.
#[derive(Debug)]
struct Search {
    /// They are the same at this offset.
    equal: Offset,
    /// They are not at this one, which lies above.
    differs: Offset,
}

impl Search {
    /// Searches between two offsets of which servers told so.
    ///
    /// # Errors
    /// If they are one offset: of that a server told two things.
    fn between(equal: Offset, differs: Offset) -> anyhow::Result<Self> {
        if differs <= equal {
            let message = format!(
                "the server contradicts itself: at offset {equal} the copies differed, and then they did \
                 not; ask again"
            );
            return Err(stop(Exit::Failed, message));
        }
        Ok(Self { equal, differs })
    }

    /// The offset to look at next; none once the two are neighbours.
    fn next(&self) -> Option<Offset> {
        let distance = self.differs.since(self.equal);
        assert!(
            distance > 0,
            "what is the same at an offset does not differ there"
        );
        (distance > 1).then(|| self.equal.plus(distance / 2))
    }

    fn tell(&mut self, offset: Offset, is_equal: bool) {
        if is_equal {
            self.equal = offset;
        } else {
            self.differs = offset;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit;

    fn offset(number: u64) -> Offset {
        Offset::new(number).unwrap()
    }

    /// The command ended by a panic.
    #[test]
    fn an_offset_at_which_copies_differ_and_do_not_is_an_error() {
        let error = Search::between(offset(7), offset(7)).unwrap_err();
        assert_eq!(exit::of(&error), Exit::Failed);
        assert!(
            error
                .to_string()
                .contains("contradicts itself: at offset 7")
        );
    }

    #[test]
    fn the_last_offset_that_is_the_same_is_found_by_halving() {
        for (low, high) in [(0, 1), (0, 2), (7, 1_000), (0, u64::from(u32::MAX))] {
            for differs_from in [low + 1, low + (high - low) / 3 + 1, high] {
                let mut search = Search::between(offset(low), offset(high)).unwrap();
                let mut asked = 0;
                while let Some(at) = search.next() {
                    search.tell(at, at.get() < differs_from);
                    asked += 1;
                }
                assert_eq!(search.equal.get(), differs_from - 1, "{low}..{high}");
                assert!(asked <= 32, "{asked} look-ups");
            }
        }
    }
}
