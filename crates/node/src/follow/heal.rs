//! Damage that heals: a damaged segment is asked for again, of whoever has a copy, held against what
//! this log itself wrote down of it, and put in the place of the old one.

use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::repair_topic::{Partition, Replaced};
use corelog_record::{Offset, TopicName};
use corelog_storage::format::edit::{Point, Seal};
use corelog_storage::intake::Ready;
use corelog_storage::log::Chore;

use super::files::{seal_of, why_not};
use super::questions::segments_of;
use super::repairs::{AGAIN, Put};
use crate::core::{Core, PartitionKey};
use crate::failure::{Failure, deleted, failure, said_by};
use crate::metrics::add;
use crate::partition::Change;
use crate::rt;
use crate::transfer::{Order, Progress, ReceiveError, Received, Wanted};

/// How long a source may send nothing whose turn it is to send.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a reader that met damage waits for its repair, in milliseconds; who finds no place to wait looks again behind that.
pub(crate) const READER_WAIT_MAX_MS: u32 = 2_000;

impl Core {
    /// Begins to repair a partition of this core, if another node is known to have a copy; `met` is
    /// the segment in which damage was just met, or what the disk does not give.
    pub(crate) fn heal(self: &Rc<Self>, key: PartitionKey, met: Option<Offset>) {
        self.heal_telling(key, met, move |core, repaired| {
            core.tell_unrepaired(key, repaired);
        });
    }

    /// The same, and has `tell` tell what came of it.
    pub(super) fn heal_telling(
        self: &Rc<Self>,
        key: PartitionKey,
        met: Option<Offset>,
        tell: impl FnOnce(&Self, &Partition) + 'static,
    ) {
        let sources = self.sources_of(key);
        if sources.is_empty() || !self.repairs.begin(key, met, false) {
            return;
        }
        let core = Rc::clone(self);
        let repair = async move { tell(&core, &core.repair_begun(key, sources).await) };
        rt::spawn_background(repair).detach();
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
        let wait_max = Duration::from_millis(READER_WAIT_MAX_MS.into());
        !has_ended() && rt::timeout(wait_max, ended).await.is_some()
    }

    /// Repairs a partition of this core from `sources`, or from those that are known; if there are none it tells what
    /// is left. What keeps one from it that is not named, as with others of its topic, is told with it.
    ///
    /// # Errors
    /// `Busy` if it is named, while that goes on already.
    pub(crate) async fn repair(
        self: &Rc<Self>,
        key: PartitionKey,
        sources: Vec<String>,
        is_named: bool,
    ) -> Result<Partition, Failure> {
        let sources = match sources.is_empty() {
            true => self.sources_of(key),
            false => sources,
        };
        if sources.is_empty() {
            return Ok(self.unrepaired(key));
        }
        if !self.repairs.begin(key, None, true) {
            let refused = failure(ErrorCode::Busy, "it is being repaired already");
            return match is_named {
                true => Err(refused),
                false => Ok(untried(key, 0, Some(refused))),
            };
        }
        let repaired = self.repair_begun(key, sources).await;
        self.tell_unrepaired(key, &repaired);
        Ok(repaired)
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
        untried(key, damage_left, error)
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
        Partition {
            id: key.partition,
            segments: segments.into_iter().map(|(replaced, _)| replaced).collect(),
            damage_left,
            error: repaired.err().map(|error| *error),
        }
    }

    /// Tells of a repair that left something, and why.
    pub(super) fn tell_unrepaired(&self, key: PartitionKey, repaired: &Partition) {
        if let Some(error) = &repaired.error {
            let (topic, partition) = (self.told_name(key), key.partition.get());
            let (damage_left, error) = (repaired.damage_left, &error.message);
            tracing::warn!(%topic, partition, damage_left, error, "not repaired");
        }
    }

    /// Replaces the damaged segments one after the other, but for those that rest, and those first that this log sealed;
    /// `replaced` tells of those that were. One that nobody has keeps no other one from being asked for.
    ///
    /// # Errors
    /// Why the first one is not replaced that is not.
    async fn replace_damaged(
        self: &Rc<Self>,
        key: PartitionKey,
        sources: Vec<String>,
        replaced: &mut Vec<Put>,
    ) -> Result<(), Failure> {
        let topic = self.topic_name(key).ok_or_else(deleted)?;
        let met = self.repairs.take_met(key);
        let mut damaged = self.damaged_segments(key, &met)?;
        damaged.retain(|wanted| !self.repairs.leaves_out(key, wanted.seal.digest.base));
        let mut all = Ok(());
        for wanted in damaged {
            self.repairs.note_asked(key, wanted.seal.digest.base);
            let one = self.replace(&topic, key, wanted, &sources).await;
            all = all.and(one.map(|one| replaced.push(one)));
        }
        for ends in self.damaged_unsealed(key)? {
            let base = ends.start.offset;
            if self.repairs.leaves_out(key, base) {
                continue;
            }
            self.repairs.note_asked(key, base);
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
    ) -> Result<Option<Put>, Failure> {
        let base = ends.start.offset;
        let seal = self.sealed_elsewhere(topic, key, ends, sources).await?;
        let Some(seal) = seal else {
            self.repairs.note_lacked(key, base);
            return Ok(None);
        };
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
    ) -> Result<Put, Failure> {
        let (begun, generation) = (rt::now(), wanted.generation);
        let (base, bytes) = (wanted.seal.digest.base, wanted.seal.digest.bytes);
        let (ready, from) = self.receive_again(topic, key, wanted, sources).await?;
        let quarantined = match self.change(key, Change::Replace(ready)).await? {
            Chore::Replaced { quarantined } => quarantined,
            _ => None,
        };
        let took = rt::now().saturating_duration_since(begun);
        add(&self.counters.repaired_segments_total, 1);
        add(&self.counters.repaired_bytes_total, bytes);
        let took_ms = rt::millis(took);
        tracing::warn!(
            %topic, partition = key.partition.get(), segment = base.get(), bytes, from, took_ms, quarantined,
            "repaired: a damaged segment was replaced by a peer's"
        );
        let replaced = Replaced {
            base,
            bytes,
            from,
            took_ms,
        };
        Ok((replaced, generation))
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
        for source in &self.repairs.ranked(sources) {
            let told = match self.line_to(source).await {
                Ok(line) => segments_of(&line, topic, key, start.offset).await,
                Err(error) => Err(error),
            };
            let sealed = match told {
                Ok(told) => told.sealed,
                Err(error) => {
                    self.repairs.note_untold(source, &error);
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

    /// Receives one segment as this log wrote it down, and tells who gave the last of it.
    async fn receive_again(
        self: &Rc<Self>,
        topic: &TopicName,
        key: PartitionKey,
        wanted: Wanted,
        sources: &[String],
    ) -> Result<(Ready, String), Failure> {
        // It may be the very segment that a repair before this one still has taken in.
        self.check_takes_in(key)?;
        let sources = self.repairs.ranked(sources);
        let base = wanted.seal.digest.base;
        let order = Order {
            patience: PATIENCE,
            ..self.order(key, topic, sources, vec![wanted])?
        };
        let first = order.sources.first().cloned();
        let progress = Arc::new(Progress::new(&order));
        // A node that stops waits for nobody who has not heard of it; and what ends then is not begun anew.
        let received = self
            .shared
            .transfers
            .repairs()
            .receive(order, Arc::clone(&progress));
        let Received {
            mut ready,
            faults,
            error,
        } = self.unless_stopping(received).await?;
        for met in faults.iter().filter(|met| !met.fault.is_for_good()) {
            self.repairs.note_failed(&met.source);
        }
        match (ready.pop(), error) {
            (Some(ready), _) => {
                let mut asked = progress.each().map(|(_, from, _)| from.to_owned());
                // Of what an earlier order left whole nobody was asked.
                let gave = asked.next().filter(|from| !from.is_empty());
                Ok((ready, gave.or(first).unwrap_or_default()))
            }
            (None, Some(error)) => {
                // Who has not answered may have it, and what failed here has nothing to do with who does.
                let is_heard =
                    !faults.is_empty() && faults.iter().all(|met| met.fault.is_for_good());
                if is_heard && matches!(error, ReceiveError::NoSource { .. }) {
                    self.repairs.note_lacked(key, base);
                }
                Err(why_not(&error, &faults))
            }
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
    failure(ErrorCode::SourceUnavailable, said_by(source, error).message)
}

/// What is told of a partition that was not tried to be repaired.
fn untried(key: PartitionKey, damage_left: u32, error: Option<Failure>) -> Partition {
    Partition {
        id: key.partition,
        segments: Vec::new(),
        damage_left,
        error: error.map(|error| *error),
    }
}
