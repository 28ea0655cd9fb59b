//! Damage that heals: a damaged segment is asked for again, of whoever has a copy, held against what
//! this log itself wrote down of it, and put in the place of the old one.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::repair_topic::{Partition, Replaced};
use corelog_record::{Offset, TopicName};
use corelog_storage::format::edit::{Point, Seal};
use corelog_storage::intake::Ready;

use super::address::check_addresses;
use super::files::{seal_of, why_not};
use super::ownership::segments_of;
use crate::core::{Core, PartitionKey};
use crate::failure::{Failure, deleted, failure};
use crate::metrics::add;
use crate::partition::Change;
use crate::rt::{self, Notify};
use crate::transfer::{Order, Progress, Received, Wanted};

/// How long a source may send nothing.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long after a repair that did not end well the next one begins by itself, and the longest, which
/// each further one doubles it to.
const AGAIN: Duration = Duration::from_secs(5);
const AGAIN_MAX: Duration = Duration::from_secs(60);
/// When whoever reads what is being repaired is to come again, in milliseconds.
const RETRY_MS: u32 = 500;
/// How long a reader that met damage waits for its repair.
const READER_WAIT_MAX: Duration = Duration::from_secs(2);

/// The repairs of a core.
#[derive(Debug, Default)]
pub(crate) struct Repairs {
    by_key: RefCell<HashMap<PartitionKey, Repairing>>,
    /// Notified when a repair has ended.
    ended: Notify,
}

/// The repairs of one partition.
#[derive(Debug, Default)]
struct Repairing {
    is_running: bool,
    /// Whether an operator asked for the one that runs.
    is_asked: bool,
    /// Segments that a reader met damage in.
    met: BTreeSet<Offset>,
    /// Before this the next one does not begin by itself: the last one left damage, and replaced nothing.
    rests_until: Option<Instant>,
    /// How many in a row did, of those that began by themselves.
    failed_count: u32,
    /// Segments that were replaced since the node was started.
    replaced: u64,
}

impl Repairs {
    /// Segments of a partition that were replaced since the node was started.
    pub(super) fn count(&self, key: PartitionKey) -> u64 {
        self.by_key
            .borrow()
            .get(&key)
            .map_or(0, |repairing| repairing.replaced)
    }

    /// When it may be worth to read again what is damaged, in milliseconds; `None` unless that is
    /// being repaired.
    pub(crate) fn retry_ms(&self, key: PartitionKey) -> Option<u32> {
        self.is_running(key).then_some(RETRY_MS)
    }

    fn begin(&self, key: PartitionKey, met: Option<Offset>, is_asked: bool) -> bool {
        let mut by_key = self.by_key.borrow_mut();
        let repairing = by_key.entry(key).or_default();
        repairing.met.extend(met);
        let is_early = repairing.rests_until.is_some_and(|until| rt::now() < until);
        if repairing.is_running || (is_early && !is_asked) {
            return false;
        }
        repairing.is_running = true;
        repairing.is_asked = is_asked;
        true
    }

    fn end(&self, key: PartitionKey, replaced: &[Replaced], is_whole: bool) {
        if let Some(repairing) = self.by_key.borrow_mut().get_mut(&key) {
            repairing.is_running = false;
            repairing.replaced += replaced.len() as u64;
            // Whoever met damage in them meanwhile read the old ones.
            repairing
                .met
                .retain(|met| replaced.iter().all(|replaced| replaced.base != *met));
            if is_whole || !replaced.is_empty() {
                // What is left was met meanwhile, or will not be replaced: the next round tells.
                repairing.rests_until = None;
                repairing.failed_count = 0;
            } else if !repairing.is_asked {
                let doubled = AGAIN * 2_u32.saturating_pow(repairing.failed_count.min(8));
                repairing.rests_until = Some(rt::now() + doubled.min(AGAIN_MAX));
                repairing.failed_count = repairing.failed_count.saturating_add(1);
            }
        }
        self.ended.notify();
    }

    /// The partition is gone.
    pub(crate) fn forget(&self, key: PartitionKey) {
        self.by_key.borrow_mut().remove(&key);
        self.ended.notify();
    }

    fn is_running(&self, key: PartitionKey) -> bool {
        self.by_key
            .borrow()
            .get(&key)
            .is_some_and(|repairing| repairing.is_running)
    }

    fn take_met(&self, key: PartitionKey) -> BTreeSet<Offset> {
        let mut by_key = self.by_key.borrow_mut();
        by_key
            .get_mut(&key)
            .map(|r| std::mem::take(&mut r.met))
            .unwrap_or_default()
    }
}

impl Core {
    /// Begins to repair a partition of this core, if another node is known to have a copy; `met` is
    /// the segment in which a reader just met damage.
    pub(crate) fn heal(self: &Rc<Self>, key: PartitionKey, met: Option<Offset>) {
        let sources = self.sources_of(key);
        if sources.is_empty() || !self.repairs.begin(key, met, false) {
            return;
        }
        let core = Rc::clone(self);
        rt::spawn_background(async move { core.repair_begun(key, sources).await }).detach();
    }

    /// Repairs, again and again, whatever is known to be damaged.
    pub(crate) async fn keep_healing(self: Rc<Self>) {
        loop {
            rt::sleep(AGAIN).await;
            for key in self.damaged() {
                self.heal(key, None);
            }
        }
    }

    /// Waits for the repair of what a reader met, if one goes on. True if it ended in time.
    pub(crate) async fn healed(self: &Rc<Self>, key: PartitionKey) -> bool {
        let has_ended = || !self.repairs.is_running(key);
        let ended = self.repairs.ended.until(has_ended);
        !has_ended() && rt::timeout(READER_WAIT_MAX, ended).await.is_some()
    }

    /// Repairs a partition of this core from `sources`, or from those that are known; if there are none it tells what
    /// is left.
    ///
    /// # Errors
    /// `Busy` while that goes on already, `InvalidRequest`.
    pub(crate) async fn repair(
        self: &Rc<Self>,
        key: PartitionKey,
        sources: Vec<String>,
    ) -> Result<Partition, Failure> {
        check_addresses("from", &sources)?;
        let sources = match sources.is_empty() {
            true => self.sources_of(key),
            false => sources,
        };
        if sources.is_empty() {
            return Ok(self.unrepaired(key));
        }
        if !self.repairs.begin(key, None, true) {
            return Err(failure(ErrorCode::Busy, "it is being repaired already"));
        }
        Ok(self.repair_begun(key, sources).await)
    }

    /// What there is of a partition to repair, with nobody to ask.
    fn unrepaired(&self, key: PartitionKey) -> Partition {
        let (damage_left, error) = match self.damage_count(key) {
            Ok(0) => (0, None),
            Ok(left) => {
                let message = "no other node is known to have a copy: name one";
                (left, Some(failure(ErrorCode::SourceUnavailable, message)))
            }
            Err(error) => (0, Some(error)),
        };
        Partition {
            id: key.partition,
            segments: Vec::new(),
            damage_left,
            error: error.map(|error| *error),
        }
    }

    async fn repair_begun(self: &Rc<Self>, key: PartitionKey, sources: Vec<String>) -> Partition {
        let mut segments = Vec::new();
        let repaired = self.replace_damaged(key, sources, &mut segments).await;
        let damage_left = self.damage_count(key).unwrap_or(0);
        let repaired = repaired.and_then(|()| match damage_left > 0 && segments.is_empty() {
            // Here or there it is appended to, or nobody has written down what it holds.
            true => Err(failure(
                ErrorCode::Damaged,
                "the damage is in a segment that no other node has sealed as well, so far",
            )),
            false => Ok(()),
        });
        self.repairs
            .end(key, &segments, repaired.is_ok() && damage_left == 0);
        let topic = self.told_name(key);
        let partition = key.partition.get();
        if let Err(error) = &repaired {
            let error = &error.message;
            tracing::warn!(%topic, partition, damage_left, error, "not repaired");
        }
        Partition {
            id: key.partition,
            segments,
            damage_left,
            error: repaired.err().map(|error| *error),
        }
    }

    /// Replaces the damaged segments one after the other, those first that this log sealed; `replaced`
    /// tells of those that were. One that nobody has keeps no other one from being asked for.
    ///
    /// # Errors
    /// Why the first one is not replaced that is not.
    async fn replace_damaged(
        self: &Rc<Self>,
        key: PartitionKey,
        sources: Vec<String>,
        replaced: &mut Vec<Replaced>,
    ) -> Result<(), Failure> {
        let topic = self.topic_name(key).ok_or_else(deleted)?;
        let met = self.repairs.take_met(key);
        let mut all = Ok(());
        for wanted in self.damaged_segments(key, &met)? {
            let one = self.replace(&topic, key, wanted, &sources).await;
            all = all.and(one.map(|one| replaced.push(one)));
        }
        for ends in self.damaged_unsealed(key)? {
            let one = self.replace_unsealed(&topic, key, ends, &sources).await;
            all = all.and(one.map(|one| replaced.extend(one)));
        }
        all
    }

    /// Puts what another log sealed in the place of a damaged segment that this one could not seal, if
    /// one has sealed it so far.
    async fn replace_unsealed(
        self: &Rc<Self>,
        topic: &TopicName,
        key: PartitionKey,
        ends: Range<Point>,
        sources: &[String],
    ) -> Result<Option<Replaced>, Failure> {
        let seal = self.sealed_elsewhere(topic, key, ends, sources).await?;
        let Some(seal) = seal else { return Ok(None) };
        let generation = self.generation_next(key, seal.digest.base)?;
        let wanted = Wanted { seal, generation };
        self.replace(topic, key, wanted, sources).await.map(Some)
    }

    /// Puts what others have of a damaged segment in its place.
    async fn replace(
        self: &Rc<Self>,
        topic: &TopicName,
        key: PartitionKey,
        wanted: Wanted,
        sources: &[String],
    ) -> Result<Replaced, Failure> {
        let begun = rt::now();
        let (base, bytes) = (wanted.seal.digest.base, wanted.seal.digest.bytes);
        let (ready, from) = self.receive_again(topic, key, wanted, sources).await?;
        self.change(key, Change::Replace(ready)).await?;
        let took = rt::now().saturating_duration_since(begun);
        add(&self.counters.repaired_segments_total, 1);
        add(&self.counters.repaired_bytes_total, bytes);
        let took_ms = rt::millis(took);
        tracing::warn!(
            %topic, partition = key.partition.get(), segment = base.get(), bytes, from, took_ms,
            "repaired: a damaged segment was replaced by a peer's"
        );
        Ok(Replaced {
            base,
            bytes,
            from,
            took_ms,
        })
    }

    /// A damaged segment that this log could not seal, as another one has sealed it: one that begins and
    /// ends, by offset, ordinal and chain, where this log's does.
    ///
    /// # Errors
    /// Why one that may have it did not tell, if nobody told of it: `SourceUnavailable`.
    async fn sealed_elsewhere(
        self: &Rc<Self>,
        topic: &TopicName,
        key: PartitionKey,
        Range { start, end }: Range<Point>,
        sources: &[String],
    ) -> Result<Option<Seal>, Failure> {
        let mut unheard = None;
        for source in sources {
            let told = match self.line_to(source).await {
                Ok(line) => segments_of(&line, topic, key, start.offset).await,
                Err(error) => Err(error),
            };
            let sealed = match told {
                Ok(told) => told.sealed,
                Err(error) => {
                    unheard = Some(did_not_tell(source, error));
                    continue;
                }
            };
            let sealed = sealed.iter().find(|sealed| sealed.base == start.offset);
            let seal = sealed.and_then(|sealed| seal_of(sealed).ok());
            let is_ours = |seal: &Seal| (seal.digest.start(), seal.digest.end()) == (start, end);
            if let Some(seal) = seal.filter(is_ours) {
                return Ok(Some(seal));
            }
        }
        unheard.map_or(Ok(None), Err)
    }

    /// Receives one segment as this log wrote it down, and tells who was asked first of those that did
    /// not fail.
    async fn receive_again(
        self: &Rc<Self>,
        topic: &TopicName,
        key: PartitionKey,
        wanted: Wanted,
        sources: &[String],
    ) -> Result<(Ready, String), Failure> {
        // It may be the very segment that a repair before this one still has taken in.
        self.check_takes_in(key)?;
        let order = Order {
            patience: PATIENCE,
            ..self.order(key, topic, sources.to_vec(), vec![wanted])?
        };
        let progress = Arc::new(Progress::new(&order));
        let Received {
            mut ready,
            faults,
            error,
        } = self
            .shared
            .transfers
            .repairs()
            .receive(order, progress)
            .await;
        match (ready.pop(), error) {
            (Some(ready), _) => {
                let failed = |source: &&String| faults.iter().any(|met| met.source == **source);
                let gave = sources.iter().find(|source| !failed(source));
                Ok((ready, gave.or(sources.last()).cloned().unwrap_or_default()))
            }
            (None, Some(error)) => Err(why_not(&error, &faults)),
            (None, None) => Err(failure(ErrorCode::Internal, "nothing was received")),
        }
    }

    /// Who has a copy of a partition of this core, as far as is known.
    fn sources_of(&self, key: PartitionKey) -> Vec<String> {
        let Ok(replica) = self.replica(key) else {
            return Vec::new();
        };
        let followers = replica.followers.into_iter().map(|peer| peer.address);
        let mut sources = replica.sources;
        sources.extend(followers);
        sources
    }
}

/// What is told of a source that did not tell what it has.
fn did_not_tell(source: &str, error: Failure) -> Failure {
    if error.is(ErrorCode::SourceUnavailable) {
        return error;
    }
    let message = format!("{source}: {}", error.message);
    failure(ErrorCode::SourceUnavailable, message)
}

#[cfg(test)]
mod tests {
    use corelog_record::{PartitionId, TopicId};

    use super::*;

    fn key() -> PartitionKey {
        PartitionKey {
            topic: TopicId::from_bytes([1; 16]),
            partition: PartitionId::new(0),
        }
    }

    fn at(offset: u64) -> Offset {
        Offset::new(offset).unwrap()
    }

    fn replaced(base: u64) -> Replaced {
        Replaced {
            base: at(base),
            bytes: 1,
            from: String::new(),
            took_ms: 1,
        }
    }

    /// For how many seconds the repairs of the partition rest.
    fn rest_of(repairs: &Repairs) -> Option<u64> {
        let by_key = repairs.by_key.borrow();
        let until = by_key.get(&key())?.rests_until?;
        let left = until.saturating_duration_since(rt::now());
        Some((left + Duration::from_millis(500)).as_secs())
    }

    /// The next round would have fetched what is sound by now, and moved it to quarantine.
    #[test]
    fn what_was_met_again_while_it_was_replaced_is_not_repaired_once_more() {
        let repairs = Repairs::default();
        assert!(repairs.begin(key(), Some(at(5)), false));
        assert_eq!(repairs.take_met(key()), BTreeSet::from([at(5)]));
        assert!(!repairs.begin(key(), Some(at(5)), false));
        assert!(!repairs.begin(key(), Some(at(9)), false));
        repairs.end(key(), &[replaced(5)], true);
        assert_eq!(repairs.count(key()), 1);
        assert_eq!(repairs.take_met(key()), BTreeSet::from([at(9)]));
    }

    #[test]
    fn a_round_that_replaces_something_is_no_failure() {
        let repairs = Repairs::default();
        for rest in [5, 10, 20] {
            repairs
                .by_key
                .borrow_mut()
                .entry(key())
                .or_default()
                .rests_until = None;
            assert!(repairs.begin(key(), None, false));
            repairs.end(key(), &[], false);
            assert_eq!(rest_of(&repairs), Some(rest));
            assert!(!repairs.begin(key(), None, false), "it rests");
        }
        assert!(repairs.begin(key(), None, true));
        repairs.end(key(), &[replaced(5)], false);
        assert_eq!(rest_of(&repairs), None);
        assert!(
            repairs.begin(key(), None, false),
            "there is more to replace"
        );
        repairs.end(key(), &[], false);
        assert_eq!(rest_of(&repairs), Some(5));
    }

    #[test]
    fn a_round_that_an_operator_asked_for_does_not_put_off_the_next() {
        let repairs = Repairs::default();
        assert!(repairs.begin(key(), None, true));
        repairs.end(key(), &[], false);
        assert_eq!(rest_of(&repairs), None);
        assert!(repairs.begin(key(), None, false));
        repairs.end(key(), &[], false);
        for _ in 0..3 {
            assert!(repairs.begin(key(), None, true));
            repairs.end(key(), &[], false);
            assert_eq!(rest_of(&repairs), Some(5));
        }
    }
}
