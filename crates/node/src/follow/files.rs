//! Whole sealed segments of a source: received as files, then taken in.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use corelog_protocol::error::{Detail, ErrorCode};
use corelog_protocol::message::replica_status::State;
use corelog_protocol::message::segments;
use corelog_record::{Offset, TopicName};
use corelog_storage::disk::Dir;
use corelog_storage::disk::std::StdDir;
use corelog_storage::format::edit::{Digest, Kind, Seal};
use corelog_storage::format::replica::Replica;
use corelog_storage::intake::{Ready, SEGMENT_BYTES_MAX};
use corelog_storage::log::INDEX_INTERVAL_BYTES;
use corelog_storage::log::lineage::Began;

use super::followed::Followed;
use super::lineage::{diverged, heard};
use super::task::{Following, Trouble};
use crate::catalog;
use crate::core::{Core, PartitionKey, with_causes};
use crate::failure::{Failure, failure, failure_with};
use crate::metrics::add;
use crate::partition::{Change, Place};
use crate::rt;
use crate::transfer::{Met, Order, Progress, ReceiveError, Received, Wanted};

/// So many bytes of segments are received before they are taken in: what was received and is not in
/// the log yet would be in nobody's way, but is of use to nobody either.
const ORDER_BYTES_MAX: u64 = 1 << 30;
/// How long an order may take, unless it is one segment: others wait for its thread.
const TURN: Duration = Duration::from_secs(10);
/// How long a source may send nothing whose turn it is to send.
const PATIENCE: Duration = Duration::from_secs(10);

impl Following {
    /// Receives the sealed segments that begin where this log ends, and those behind them; nothing if
    /// the source has none there.
    pub(super) async fn copy_sealed(
        &self,
        core: &Rc<Core>,
        origin: &segments::Answer,
        source: &Followed,
    ) -> Result<(), Trouble> {
        let mut sealed = self.wanted(core, origin).await?;
        while !sealed.is_empty() {
            self.look(core, source).await?;
            // What lies behind one that nobody gives was received for nothing, and would be each time.
            let count = match self.misses_first.get() {
                true => 1,
                false => count_at_once(&sealed, self.replica.rate),
            };
            let ordered = &sealed[..count];
            let taken_in = self.receive(core, origin, &source.address, ordered).await?;
            sealed.drain(..taken_in);
        }
        Ok(())
    }

    /// Those of a source's segments that can be taken in, one behind the other, as this node would have
    /// written them down.
    pub(super) async fn wanted(
        &self,
        core: &Core,
        origin: &segments::Answer,
    ) -> Result<Vec<Seal>, Trouble> {
        let Place {
            log_end: end,
            has_files,
            ..
        } = core.place(self.key).map_err(Trouble::Again)?;
        if !has_files || origin.sealed.iter().all(|sealed| sealed.base != end) {
            return Ok(Vec::new());
        }
        // The chain is known of what is durable.
        core.durable(self.key, end).await.map_err(Trouble::Again)?;
        let place = core.place(self.key).map_err(Trouble::Again)?;
        wanted_behind(&place, origin, &self.replica)
    }

    /// Receives what it can of these segments in a turn, and takes it in; gives how many of them.
    async fn receive(
        &self,
        core: &Rc<Core>,
        origin: &segments::Answer,
        source: &str,
        sealed: &[Seal],
    ) -> Result<usize, Trouble> {
        // What was given to the log, and may be in it yet, is its own.
        core.check_takes_in(self.key).map_err(Trouble::Again)?;
        let order = self.order(core, origin, source, sealed)?;
        let progress = Arc::new(Progress::new(&order));
        self.progress.state.set(State::Copying);
        *self.progress.copying.borrow_mut() = Some(Arc::clone(&progress));
        let Received {
            mut ready,
            faults,
            error,
        } = core
            .shared
            .transfers
            .copies()
            .receive(order, Arc::clone(&progress))
            .await;
        self.drop_sources(&faults);
        // Behind a gap nothing can be taken in: it is there as far as it came, for the next time.
        let mut expected = sealed.iter().map(|seal| seal.digest.base);
        let dense = ready
            .iter()
            .take_while(|one| expected.next() == Some(one.base()))
            .count();
        ready.truncate(dense);
        self.misses_first.set(dense == 0);
        let installed = match ready.is_empty() {
            true => Ok(()),
            false => self.install(core, ready).await,
        };
        let taken_in = match installed {
            Ok(()) => &sealed[..dense],
            Err(_) => &[],
        };
        let bytes = taken_in.iter().map(|seal| seal.digest.bytes).sum();
        add(
            &core.counters.installed_segments_total,
            taken_in.len() as u64,
        );
        add(&core.counters.installed_bytes_total, bytes);
        self.progress.arrived(taken_in);
        installed?;
        match error {
            None => Ok(dense),
            Some(error) => Err(trouble_of(&error, &faults)),
        }
    }

    /// Takes segments in, also if this is to stop meanwhile: who follows next would receive them again, into
    /// files that have become the log's.
    async fn install(&self, core: &Rc<Core>, ready: Vec<Ready>) -> Result<(), Trouble> {
        self.is_installing.set(true);
        let installed = core.change(self.key, Change::Install(ready)).await;
        self.is_installing.set(false);
        self.changed.notify();
        installed.map(drop).map_err(Trouble::Again)
    }

    fn order(
        &self,
        core: &Core,
        origin: &segments::Answer,
        source: &str,
        sealed: &[Seal],
    ) -> Result<Order, Trouble> {
        let others = self.replica.sources.iter().filter(|other| *other != source);
        let mut sources = vec![source.to_owned()];
        sources.extend(others.cloned());
        let mut wanted = Vec::new();
        for seal in sealed {
            let generation = core.generation_next(self.key, seal.digest.base);
            wanted.push(Wanted {
                seal: seal.clone(),
                generation: generation.map_err(Trouble::Again)?,
            });
        }
        let now = rt::now();
        let failed = sources
            .iter()
            .filter(|one| self.failed.found(one, now).is_some());
        let failed = failed.cloned().collect();
        let order = core.order(self.key, &self.topic, sources, wanted);
        Ok(Order {
            failed,
            epochs: heard(&origin.epochs),
            rate: self.replica.rate.unwrap_or_default(),
            // What else was received so far is for the next order.
            is_alone: !self.misses_first.get(),
            ..order.map_err(Trouble::Again)?
        })
    }

    /// Takes note of sources that failed.
    fn drop_sources(&self, faults: &[Met]) {
        for Met {
            source,
            segment,
            fault,
        } in faults
        {
            let (topic, partition) = (&self.topic, self.key.partition.get());
            let (segment, error) = (segment.get(), with_causes(fault));
            tracing::warn!(%topic, partition, source, segment, error, "a source failed");
            if !fault.is_for_good() {
                self.failed.note(source.clone(), (), rt::now());
            }
            let code = match fault.is_deceit() {
                true => ErrorCode::BadSource,
                false => ErrorCode::SourceUnavailable,
            };
            self.progress.drop_source(source, failure(code, error));
        }
    }
}

impl Core {
    /// An order of segments of a log of this core, in the epochs that it has itself, at any rate.
    pub(super) fn order(
        &self,
        key: PartitionKey,
        topic: &TopicName,
        sources: Vec<String>,
        segments: Vec<Wanted>,
    ) -> Result<Order, Failure> {
        let dir = catalog::partition_dir(&self.root, topic, key.partition);
        Ok(Order {
            sources,
            failed: Vec::new(),
            client: self.name(),
            topic: topic.clone(),
            id: key.topic,
            partition: key.partition,
            history: self.place(key)?.history,
            segments,
            epochs: self.epochs(key)?.iter().map(Began::from).collect(),
            dir: StdDir::new(dir.describe()),
            interval_bytes: INDEX_INTERVAL_BYTES,
            rate: 0,
            patience: PATIENCE,
            turn: TURN,
            is_alone: false,
        })
    }
}

/// How many of these segments are received by one order, at so many bytes in a second: one at least.
fn count_at_once(sealed: &[Seal], rate: Option<u64>) -> usize {
    let within = rate.map(|rate| rate.saturating_mul(TURN.as_secs()));
    let bytes_max = within.map_or(ORDER_BYTES_MAX, |within| within.min(ORDER_BYTES_MAX));
    let mut bytes = 0;
    let fits = |seal: &&Seal| {
        let fits = bytes == 0 || bytes + seal.digest.bytes <= bytes_max;
        bytes += seal.digest.bytes;
        fits
    };
    sealed.iter().take_while(fits).count()
}

/// Those of a source's segments that follow a log that is durable up to its end, as far as `replica` asks
/// for them.
///
/// # Errors
/// `Diverged` if one begins where those before it end, and does not follow them: it would be received again and
/// again, and never be taken in.
fn wanted_behind(
    place: &Place,
    origin: &segments::Answer,
    replica: &Replica,
) -> Result<Vec<Seal>, Trouble> {
    let named = &replica.segments;
    let is_named = |base: &Offset| named.is_empty() || named.binary_search(base).is_ok();
    let (mut end, mut wanted) = (place.durable, Vec::new());
    for sealed in origin.sealed.iter().filter(|sealed| is_named(&sealed.base)) {
        let is_due = replica.until.is_none_or(|until| end.offset < until);
        if sealed.base != end.offset || !is_due {
            continue;
        }
        let seal = seal_of(sealed).map_err(Trouble::Again)?;
        if seal.digest.start() != end {
            return Err(Trouble::Stop(diverged(place.log_start)));
        }
        end = seal.digest.end();
        wanted.push(seal);
    }
    Ok(wanted)
}

/// A sealed segment as this node would have written it down.
///
/// # Errors
/// `BadSource` if there can be no such segment.
pub(super) fn seal_of(sealed: &segments::Sealed) -> Result<Seal, Failure> {
    let digest = &sealed.digest;
    let end = digest
        .last
        .checked_add(1)
        .filter(|_| digest.first <= digest.last);
    let last_ordinal = Some(digest.last_ordinal).filter(|last| digest.first_ordinal <= *last);
    let end_ordinal = last_ordinal.and_then(|last| last.checked_add(1));
    let is_possible = sealed.base == digest.first && digest.bytes <= SEGMENT_BYTES_MAX;
    let (Some(end), Some(end_ordinal), true) = (end, end_ordinal, is_possible) else {
        return Err(impossible(sealed.base));
    };
    Ok(Seal {
        digest: Digest {
            kind: Kind::Original,
            base: digest.first,
            end,
            ordinal: digest.first_ordinal,
            end_ordinal,
            bytes: digest.bytes,
            batches: digest.batches,
            chain: digest.chain_base,
            end_chain: digest.chain_end,
            hash: None,
        },
        max_timestamp: sealed.max_timestamp,
        sealed: sealed.sealed_at,
    })
}

/// Why a source is not believed that tells of `segment`.
pub(super) fn impossible(segment: Offset) -> Failure {
    let message = format!("the source tells of a segment {segment} that cannot be");
    let detail = Detail {
        segment: Some(segment),
        ..Detail::default()
    };
    failure_with(ErrorCode::BadSource, message, detail)
}

/// Why segments are not here: the first fault tells more than that nobody gives them.
pub(super) fn why_not(error: &ReceiveError, faults: &[Met]) -> Failure {
    let segment = match error {
        ReceiveError::NoSource { segment } => segment,
        ReceiveError::InUse { .. } => return failure(ErrorCode::Busy, error.to_string()),
        other => return failure(ErrorCode::Internal, with_causes(other)),
    };
    let detail = Detail {
        segment: Some(*segment),
        ..Detail::default()
    };
    let deceit = faults.iter().find(|met| met.fault.is_deceit());
    let code = match deceit {
        Some(_) => ErrorCode::BadSource,
        None => ErrorCode::SourceUnavailable,
    };
    let met = deceit.or(faults.last()).map_or_else(String::new, |met| {
        format!(": {}: {}", met.source, with_causes(&met.fault))
    });
    failure_with(code, format!("{error}{met}"), detail)
}

fn trouble_of(error: &ReceiveError, faults: &[Met]) -> Trouble {
    Trouble::Again(why_not(error, faults))
}

#[cfg(test)]
mod tests {
    use corelog_protocol::message::segments::{Answer, Digest, Sealed};
    use corelog_record::{Chain, CopyId, HistoryId, Ordinal, PartitionId};
    use corelog_storage::format::edit::Point;

    use super::super::samples;
    use super::*;

    /// A segment of 42 records in 7 batches.
    fn sealed() -> Sealed {
        let one = samples::sealed(0, 41, 4096);
        Sealed {
            digest: Digest {
                last_ordinal: Ordinal::new(6).unwrap(),
                batches: 7,
                chain_end: Chain::from_raw(2),
                ..one.digest
            },
            ..one
        }
    }

    /// What is told of the log of two such segments, the second of which begins with a chain of its own.
    fn origin(second_chain: u64) -> Answer {
        let mut second = sealed();
        second.base = Offset::new(42).unwrap();
        second.digest = Digest {
            first: second.base,
            last: Offset::new(83).unwrap(),
            first_ordinal: Ordinal::new(7).unwrap(),
            last_ordinal: Ordinal::new(13).unwrap(),
            chain_base: Chain::from_raw(second_chain),
            chain_end: Chain::from_raw(3),
            ..second.digest
        };
        Answer {
            history: HistoryId::from_bytes([1; 16]),
            copy: CopyId::from_bytes([2; 16]),
            log_start: Offset::ZERO,
            high_watermark: Offset::new(84).unwrap(),
            epochs: Vec::new(),
            sealed: vec![sealed(), second],
            active: None,
        }
    }

    /// A log that ends at a place, all of it durable.
    fn place(offset: u64, ordinal: u64, chain: u64) -> Place {
        let durable = Point {
            offset: Offset::new(offset).unwrap(),
            ordinal: Ordinal::new(ordinal).unwrap(),
            chain: Chain::from_raw(chain),
        };
        Place {
            history: HistoryId::from_bytes([1; 16]),
            copy: CopyId::from_bytes([3; 16]),
            log_start: Offset::ZERO,
            durable,
            log_end: durable.offset,
            is_empty: offset == 0,
            has_files: true,
        }
    }

    /// A segment that began where the log ended, and did not follow it by its chain, was received, refused by
    /// the log, and received again, for ever.
    #[test]
    fn a_segment_that_does_not_follow_the_log_by_its_chain_has_diverged() {
        let replica = Replica::owner(PartitionId::new(0));
        let count_behind = |place: &Place, origin: &Answer| {
            let wanted = wanted_behind(place, origin, &replica);
            wanted
                .map(|seals| seals.len())
                .map_err(|trouble| match trouble {
                    Trouble::Stop(why) => why.is(ErrorCode::Diverged),
                    Trouble::Again(_) => false,
                })
        };
        let sound = origin(2);
        assert_eq!(count_behind(&place(0, 0, 1), &sound), Ok(2));
        assert_eq!(count_behind(&place(42, 7, 2), &sound), Ok(1));
        assert_eq!(count_behind(&place(84, 14, 3), &sound), Ok(0));
        assert_eq!(count_behind(&place(42, 7, 9), &sound), Err(true));
        assert_eq!(count_behind(&place(42, 6, 2), &sound), Err(true));
        assert_eq!(count_behind(&place(0, 0, 1), &origin(9)), Err(true));
    }

    /// An order of a gibibyte at 1 MiB/s kept a thread from all others for a quarter of an hour.
    #[test]
    fn an_order_is_of_as_many_bytes_as_come_in_ten_seconds_and_of_a_segment_at_least() {
        let mut told = sealed();
        told.digest.bytes = 128 << 20;
        let seals = vec![seal_of(&told).unwrap(); 20];
        let count = |rate| count_at_once(&seals, rate);
        assert_eq!(count(None), 8);
        assert_eq!(count(Some(1 << 20)), 1);
        assert_eq!(count(Some(64 << 20)), 5);
        assert_eq!(count(Some(u64::MAX)), 8);
    }

    #[test]
    fn a_segment_is_written_down_with_ends_behind_its_last() {
        let digest = seal_of(&sealed()).unwrap().digest;
        let ends = (digest.end.get(), digest.end_ordinal.get());
        assert_eq!((ends, digest.bytes, digest.batches), ((42, 7), 4096, 7));
    }

    /// A source that told of a segment with the last offset there can be ended the node that asked.
    #[test]
    fn segments_that_cannot_be_are_a_bad_source() {
        let cases: [fn(&mut Sealed); 6] = [
            |told| told.digest.last = Offset::MAX,
            |told| told.digest.last_ordinal = Ordinal::MAX,
            |told| told.digest.bytes = u64::MAX,
            |told| told.digest.first = Offset::new(3).unwrap(),
            |told| {
                told.base = Offset::new(50).unwrap();
                told.digest.first = told.base;
            },
            |told| told.digest.first_ordinal = Ordinal::new(8).unwrap(),
        ];
        for (number, change) in cases.iter().enumerate() {
            let mut told = sealed();
            change(&mut told);
            let error = seal_of(&told).unwrap_err();
            assert!(error.is(ErrorCode::BadSource), "case {number}: {error:?}");
        }
    }
}
