//! The life of a follower: from what it has to what its source has, and on.

use std::cell::Cell;
use std::mem;
use std::rc::Rc;
use std::time::{Duration, Instant};

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::epoch::Epoch;
use corelog_protocol::message::replica_status::State;
use corelog_protocol::message::segments;
use corelog_record::{LeaderEpoch, Offset, TopicName};
use corelog_storage::format::replica::Replica;
use futures_lite::FutureExt;

use super::ASK_TIMEOUT;
use super::address::is_beside;
use super::followed::Followed;
use super::lately::Lately;
use super::line::Line;
use super::lineage::{check_told, kept, newest};
use super::progress::Progress;
use super::questions::segments_from;
use super::tail::Tail;
use crate::core::{Core, PartitionKey};
use crate::failure::{Failure, failure};
use crate::rt::{self, Notify};

/// The pause after no source answered, or one had nothing at once, and the longest, which each failure doubles it to.
pub(super) const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// For so long others are asked for segments before a source that failed: who says nothing is waited for longer than an order
/// may take.
pub(super) const FAILED_FOR: Duration = Duration::from_secs(60);

/// One partition that follows.
pub(crate) struct Following {
    pub(super) key: PartitionKey,
    pub(super) topic: TopicName,
    pub(super) replica: Replica,
    pub(super) progress: Progress,
    is_stopped: Cell<bool>,
    /// While segments are taken into the log, which is not left in the middle.
    pub(super) is_installing: Cell<bool>,
    /// Whether of the segments that were last received the first was not among those that came.
    pub(super) misses_first: Cell<bool>,
    /// The sources that failed while segments were received from them.
    pub(super) failed: Lately<String>,
    /// The newest epoch that began here as it had at a source, since this began.
    pub(super) copied: Cell<Option<LeaderEpoch>>,
    /// Sources in a row that have no epoch so late.
    pub(super) earlier: Cell<usize>,
    /// Since when another source than the first is followed.
    stood_in_since: Cell<Option<Instant>>,
    /// Whether it was told that an owner has less than this copy.
    pub(super) has_told_behind: Cell<bool>,
    has_ended: Cell<bool>,
    /// Notified when it is to stop, may stop again, and has ended.
    pub(super) changed: Notify,
}

/// How the following of a source ended that could be followed.
enum Ended {
    /// All is here that was asked for.
    Done,
    /// Those before it are to be tried again.
    Return,
}

/// Why a source is followed no longer.
pub(super) enum Trouble {
    /// Another source, or the same one later, may do.
    Again(Failure),
    /// Only an operator can help, or another source.
    Stop(Failure),
}

impl Following {
    pub(super) fn new(key: PartitionKey, topic: &TopicName, replica: &Replica) -> Self {
        Self {
            key,
            topic: topic.clone(),
            replica: replica.clone(),
            progress: Progress::new(),
            is_stopped: Cell::new(false),
            is_installing: Cell::new(false),
            misses_first: Cell::new(false),
            failed: Lately::new(FAILED_FOR),
            copied: Cell::new(None),
            earlier: Cell::new(0),
            stood_in_since: Cell::new(None),
            has_told_behind: Cell::new(false),
            has_ended: Cell::new(false),
            changed: Notify::new(),
        }
    }

    /// Lives until it has all, is stopped, or the node stops.
    pub(super) async fn run(&self, core: &Rc<Core>) {
        let life = async {
            self.live(core).await;
            // Who waits for more than there is by now waits in vain.
            core.wake_readers(self.key);
        };
        life.or(self.stopped()).or(core.stopping()).await;
        self.has_ended.set(true);
        self.changed.notify();
    }

    /// Has it stop; it goes on until it has `ended`.
    pub(super) fn stop(&self) {
        self.is_stopped.set(true);
        self.changed.notify();
    }

    /// If it does what `replica` says.
    pub(super) fn is_as(&self, replica: &Replica) -> bool {
        let mine = &self.replica;
        (&mine.sources, mine.until, mine.rate) == (&replica.sources, replica.until, replica.rate)
            && mine.segments == replica.segments
    }

    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.get()
    }

    async fn stopped(&self) {
        let may_stop = || self.is_stopped.get() && !self.is_installing.get();
        self.changed.until(may_stop).await;
    }

    pub(super) async fn ended(&self) {
        self.changed.until(|| self.has_ended.get()).await;
    }

    /// Follows one source after the other until all is here that was asked for, or none of them will ever
    /// do.
    async fn live(&self, core: &Rc<Core>) {
        let mut pause = PAUSE_MIN;
        loop {
            match self.ask_sources(core, &mut pause).await {
                Ok(Ended::Done) => return self.progress.state.set(State::Done),
                // It has compared its log with nobody's but that one's.
                Ok(Ended::Return) => {
                    self.progress.state.set(State::Waiting);
                    continue;
                }
                Err(None) => {}
                Err(Some(why)) => {
                    let (topic, partition) = (&self.topic, self.key.partition.get());
                    let error = &why.message;
                    tracing::error!(%topic, partition, error, "follows no more");
                    return self.progress.fail(State::Stopped, why);
                }
            }
            // Nobody has it any more: its owner rejoined one of those before.
            if self.earlier.get() == self.replica.sources.len() {
                self.copied.set(None);
            }
            rt::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Follows the sources in their order, each as long as it can be followed; `pause` is the least again behind one
    /// that could for a while.
    ///
    /// # Errors
    /// If none can be, any longer: with the first one's reason if none ever will be.
    async fn ask_sources(
        &self,
        core: &Rc<Core>,
        pause: &mut Duration,
    ) -> Result<Ended, Option<Failure>> {
        let mut refused = Vec::new();
        self.earlier.set(0);
        for (at, source) in self.replica.sources.iter().enumerate() {
            *self.progress.source.borrow_mut() = Some(source.clone());
            let begun = rt::now();
            match self.follow(core, source, at > 0).await {
                Ok(ended) => return Ok(ended),
                Err(Trouble::Stop(why)) => {
                    self.progress.drop_source(source, why.clone());
                    self.progress.fail(State::Waiting, why.clone());
                    refused.push(why);
                }
                Err(Trouble::Again(why)) => self.progress.fail(State::Waiting, why),
            }
            // What fails at once would be asked for, and sent, without end.
            if begun + PAUSE_MAX <= rt::now() {
                *pause = PAUSE_MIN;
            }
        }
        let are_all = refused.len() == self.replica.sources.len();
        Err(refused.into_iter().next().filter(|_| are_all))
    }

    /// Follows one source; ends when all is here that was asked for, or, of a copy that `stands_in` for those before it, after a while.
    async fn follow(
        &self,
        core: &Rc<Core>,
        source: &str,
        stands_in: bool,
    ) -> Result<Ended, Trouble> {
        if self.has_all(core)? {
            return Ok(Ended::Done);
        }
        let line = self.line_to_owner(core, source).await?;
        let since = stands_in.then(|| self.stood_in_since.get().unwrap_or_else(rt::now));
        let followed = Followed::new(source, line, since);
        loop {
            self.look(core, &followed).await?;
            self.stood_in_since.set(since);
            let mut origin = self.segments(core, &followed.line).await?;
            let mine = core.epoch(self.key).map_err(Trouble::Again)?;
            followed.hear(newest(&origin.epochs), mine);
            self.check_told(core, &origin)?;
            self.begin(core, &origin, &followed).await?;
            // One that damage ends has not what its place tells, and takes nothing, unless it begins anew.
            core.check_not_read_only(self.key).map_err(Trouble::Again)?;
            // Segments are not taken in over an epoch that is this copy's alone.
            let told = (origin.epochs.as_slice(), origin.high_watermark);
            let is_part = self.forget_unused(core, told, &followed).await?;
            if is_part {
                self.expire(core, &followed, origin.log_start).await?;
            }
            self.copy_sealed(core, &origin, &followed).await?;
            if self.has_all(core)? {
                // Of a segment that was copied whole, the source may have let go of the front.
                self.expire(core, &followed, origin.log_start).await?;
                return Ok(Ended::Done);
            }
            let epochs = mem::take(&mut origin.epochs);
            let source_start = origin.log_start;
            // Its segments were of use until here, and a source is followed for as long as it lives.
            drop(origin);
            match self.tail(core, &followed, epochs, source_start).await? {
                Tail::Done => return Ok(Ended::Done),
                // One that answers so each time would be asked without end.
                Tail::Behind => rt::sleep(PAUSE_MIN).await,
                Tail::Return => return Ok(Ended::Return),
            }
        }
    }

    /// If everything is here and durable that was asked for.
    pub(super) fn has_all(&self, core: &Core) -> Result<bool, Trouble> {
        let durable = core.place(self.key).map_err(Trouble::Again)?.durable.offset;
        Ok(self.replica.until.is_some_and(|until| until <= durable))
    }

    /// A connection to the core of the source that has the partition.
    async fn line_to_owner(&self, core: &Rc<Core>, source: &str) -> Result<Rc<Line>, Trouble> {
        let line = core.line_to(source).await.map_err(Trouble::Again)?;
        let told = core.followings.places.of(source, &line, &self.topic).await;
        let topic = told.map_err(Trouble::of)?;
        if topic
            .as_ref()
            .is_some_and(|topic| topic.id != self.key.topic)
        {
            let message = format!("topic {} is another one at {source}", self.topic);
            return Err(Trouble::Stop(failure(ErrorCode::TopicChanged, message)));
        }
        let mut partitions = topic.iter().flat_map(|topic| &topic.partitions);
        let own = partitions.find(|partition| partition.id == self.key.partition);
        // A core's own port may be out of reach from here: the shared one does as well.
        match own.filter(|own| is_beside(&own.address, source)) {
            Some(own) => Ok(core.line_to(&own.address).await.unwrap_or(line)),
            None => Ok(line),
        }
    }

    /// The source's log as segments, from where this one ends.
    pub(super) async fn segments(
        &self,
        core: &Rc<Core>,
        line: &Line,
    ) -> Result<segments::Answer, Trouble> {
        let place = core.place(self.key).map_err(Trouble::Again)?;
        self.progress.begin(place.has_files);
        let from = match place.has_files {
            true => place.log_end,
            false => Offset::ZERO,
        };
        let ask = segments_from(&self.topic, self.key, from);
        let told = line.call_as_it_comes(&ask, ASK_TIMEOUT).await;
        let mut told = told.map_err(Trouble::of)?.head;
        told.epochs = kept(&told.epochs);
        let missing = bytes_behind(place.log_end, &told);
        self.progress.hear(told.high_watermark, missing);
        if place.can_be_of(told.history) {
            self.hear_epochs(core, &told.epochs);
        }
        Ok(told)
    }

    /// Checks that the source tells of the epochs of what is to come from it; it may at any time, once it has let go of others.
    fn check_told(&self, core: &Core, origin: &segments::Answer) -> Result<(), Trouble> {
        let end = core.place(self.key).map_err(Trouble::Again)?.log_end;
        let named = self.replica.segments.first().copied();
        let from = named.map_or(end, |named| named.max(end));
        check_told(origin, from).map_err(Trouble::Again)
    }

    /// Were this copy to take over, its epoch has to be above all that its source has: also above those that it
    /// does not come to.
    pub(super) fn hear_epochs(&self, core: &Rc<Core>, epochs: &[Epoch]) {
        if let Some(newest) = newest(epochs) {
            core.hear_epoch(self.key, newest);
        }
    }
}

/// Bytes of the segments that begin at `end` or behind it: what is missing of the one around it a Fetch tells.
fn bytes_behind(end: Offset, told: &segments::Answer) -> u64 {
    let sealed = told.sealed.iter().filter(|sealed| end <= sealed.base);
    let active = told.active.as_ref().filter(|active| end <= active.base);
    // What a source tells may be anything.
    sealed
        .map(|sealed| sealed.digest.bytes)
        .chain(active.map(|active| active.durable_position.get()))
        .fold(0, u64::saturating_add)
}

impl Trouble {
    /// What another node's refusal means. One that knows no such topic may have it again: it is cloned anew there, or its
    /// file was put back.
    pub(super) fn of(why: Failure) -> Self {
        let is_final = [
            ErrorCode::Diverged,
            ErrorCode::TopicChanged,
            ErrorCode::UnsupportedVersion,
            ErrorCode::NotSupported,
        ];
        match is_final.iter().any(|code| why.is(*code)) {
            true => Self::Stop(why),
            false => Self::Again(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use corelog_record::{CopyId, HistoryId};

    use super::super::samples::sealed;
    use super::*;

    /// Bytes that no log has ended the node, where sums are checked.
    #[test]
    fn what_a_source_tells_of_its_bytes_may_be_anything() {
        let told = |bytes: [u64; 3]| segments::Answer {
            history: HistoryId::from_bytes([1; 16]),
            copy: CopyId::from_bytes([2; 16]),
            log_start: Offset::ZERO,
            high_watermark: Offset::new(3).unwrap(),
            epochs: Vec::new(),
            sealed: (0..)
                .zip(bytes)
                .map(|(base, bytes)| sealed(base, base, bytes))
                .collect(),
            active: None,
        };
        let end = Offset::new(1).unwrap();
        assert_eq!(bytes_behind(end, &told([5, 7, 9])), 16);
        assert_eq!(bytes_behind(end, &told([5, u64::MAX, 9])), u64::MAX);
    }
}
