//! The life of a follower: from what it has to what its source has, and on.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::epoch::Epoch;
use corelog_protocol::message::replica_status::State;
use corelog_protocol::message::{fetch, segments};
use corelog_record::{LeaderEpoch, Offset, TopicName};
use corelog_storage::format::replica::Replica;
use futures_lite::FutureExt;

use super::ASK_TIMEOUT;
use super::address::is_beside;
use super::line::Line;
use super::lineage::{kept, told};
use super::ownership::segments_of;
use super::progress::Progress;
use crate::core::{Core, PartitionKey};
use crate::failure::{Failure, failure};
use crate::rt::{self, Notify};

/// About how many bytes are fetched at once: enough to keep both disks busy.
const FETCH_BYTES: u32 = 4 << 20;
/// From so many bytes on that are missing, whole segments come as files.
const FILES_BYTES: u64 = 32 << 20;
/// An answer of fewer bytes may have met the end of a segment.
const SHORT_BYTES: usize = 3 << 20;
/// How long a source waits for records before it answers that there are none.
const POLL: Duration = Duration::from_secs(2);
/// The pause after no source answered, and the longest, which each failure doubles it to.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

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
    /// The newest epoch that began here as it had at a source, since this began.
    pub(super) copied: Cell<Option<LeaderEpoch>>,
    /// Sources in a row that have no epoch so late.
    pub(super) earlier: Cell<usize>,
    has_ended: Cell<bool>,
    /// Notified when it is to stop, may stop again, and has ended.
    pub(super) changed: Notify,
}

/// Why a source's tail is fetched no longer.
enum Tail {
    /// All is here that was asked for.
    Done,
    /// The log has to begin, or begin anew, where the source's does.
    Behind,
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
            copied: Cell::new(None),
            earlier: Cell::new(0),
            has_ended: Cell::new(false),
            changed: Notify::new(),
        }
    }

    /// Lives until it has all, is stopped, or the node stops.
    pub(super) async fn run(&self, core: &Rc<Core>) {
        let life = self.live(core);
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
            let mut refused = Vec::new();
            self.earlier.set(0);
            for source in &self.replica.sources {
                *self.progress.source.borrow_mut() = Some(source.clone());
                let begun = rt::now();
                match self.follow(core, source).await {
                    Ok(()) => return self.progress.state.set(State::Done),
                    Err(Trouble::Stop(why)) => {
                        self.progress.drop_source(source, why.clone());
                        self.progress.fail(State::Waiting, why.clone());
                        refused.push(why);
                    }
                    Err(Trouble::Again(why)) => self.progress.fail(State::Waiting, why),
                }
                // What fails at once would be asked for, and sent, without end.
                if begun + PAUSE_MAX <= rt::now() {
                    pause = PAUSE_MIN;
                }
            }
            if refused.len() == self.replica.sources.len()
                && let Some(why) = refused.into_iter().next()
            {
                let (topic, partition) = (&self.topic, self.key.partition.get());
                let error = &why.message;
                tracing::error!(%topic, partition, error, "follows no more");
                return self.progress.fail(State::Stopped, why);
            }
            // Nobody has it any more: its owner rejoined one of those before.
            if self.earlier.get() == self.replica.sources.len() {
                self.copied.set(None);
            }
            rt::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Follows one source; ends when all is here that was asked for.
    async fn follow(&self, core: &Rc<Core>, source: &str) -> Result<(), Trouble> {
        if self.has_all(core)? {
            return Ok(());
        }
        let line = self.line_to_owner(core, source).await?;
        loop {
            let origin = self.segments(core, &line).await?;
            self.begin(core, &origin).await?;
            // Segments are not taken in over an epoch that is this copy's alone.
            let high_watermark = origin.high_watermark;
            self.forget_unused(core, &origin.epochs, high_watermark)
                .await?;
            // Before anything comes that needs the room of what the source has let go of.
            self.expire(core, origin.log_start).await?;
            self.copy_sealed(core, &origin, source).await?;
            if self.has_all(core)? {
                return Ok(());
            }
            self.progress.state.set(State::Following);
            match self.tail(core, &line, origin.epochs).await? {
                Tail::Done => return Ok(()),
                Tail::Behind => {}
            }
        }
    }

    /// If everything is here and durable that was asked for.
    fn has_all(&self, core: &Core) -> Result<bool, Trouble> {
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
    async fn segments(&self, core: &Rc<Core>, line: &Line) -> Result<segments::Answer, Trouble> {
        let place = core.place(self.key).map_err(Trouble::Again)?;
        let from = match place.has_files {
            true => place.log_end,
            false => Offset::ZERO,
        };
        let told = segments_of(line, &self.topic, self.key, from).await;
        let mut told = told.map_err(Trouble::of)?;
        told.epochs = kept(&told.epochs);
        let missing = bytes_behind(place.log_end, &told);
        self.progress.hear(told.high_watermark, missing);
        if !place.has_files || place.history == told.history {
            self.hear_epochs(core, &told.epochs);
        }
        Ok(told)
    }

    /// Were this copy to take over, its epoch has to be above all that its source has: also above those that it
    /// does not come to.
    fn hear_epochs(&self, core: &Rc<Core>, epochs: &[Epoch]) {
        if let Some(newest) = epochs.iter().map(|told| told.epoch).max() {
            core.hear_epoch(self.key, newest);
        }
    }

    /// Fetches what the source, of whose `epochs` it told, has and waits for more.
    async fn tail(
        &self,
        core: &Rc<Core>,
        line: &Line,
        mut epochs: Vec<Epoch>,
    ) -> Result<Tail, Trouble> {
        let mut is_first = true;
        loop {
            if self.has_all(core)? {
                return Ok(Tail::Done);
            }
            let ask = self.ask(core, is_first)?;
            let reply = line
                .call(&ask, POLL + ASK_TIMEOUT)
                .await
                .map_err(Trouble::of)?;
            let answer = &reply.head;
            if !answer.epochs.is_empty() {
                epochs = kept(&answer.epochs);
                self.hear_epochs(core, &epochs);
                self.forget_unused(core, &epochs, answer.high_watermark)
                    .await?;
            }
            self.progress.hear(answer.high_watermark, answer.lag_bytes);
            if !reply.body().is_empty() && !core.place(self.key).map_err(Trouble::Again)?.has_files
            {
                return Ok(Tail::Behind);
            }
            self.expire(core, answer.log_start).await?;
            let appended = self.append(core, ask.offset, answer, reply.body(), &epochs);
            let appended = appended.await?;
            let Some(end) = appended else {
                let message = "an epoch began that the source has not told of yet";
                return Err(Trouble::Again(failure(
                    ErrorCode::SourceUnavailable,
                    message,
                )));
            };
            is_first = false;
            let is_level = answer.high_watermark <= end;
            let is_far = FILES_BYTES <= answer.lag_bytes && reply.body().len() < SHORT_BYTES;
            // Its bytes are in the log: whoever asks on has given back their room.
            drop(reply);
            if is_far && self.is_at_sealed(core, line).await? {
                return Ok(Tail::Behind);
            }
            if is_level || self.replica.until.is_some_and(|until| until <= end) {
                // Nothing else comes at once: the source hears next that all of it is durable here.
                core.durable(self.key, end).await.map_err(Trouble::Again)?;
                self.progress.reach(end);
            }
        }
    }

    /// If a whole sealed segment of the source begins where this log ends.
    async fn is_at_sealed(&self, core: &Rc<Core>, line: &Line) -> Result<bool, Trouble> {
        let origin = self.segments(core, line).await?;
        Ok(!self.wanted(core, &origin).await?.is_empty())
    }

    fn ask(&self, core: &Core, is_first: bool) -> Result<fetch::Request, Trouble> {
        let place = core.place(self.key).map_err(Trouble::Again)?;
        // The source compares them once, when this copy comes.
        let epochs = match is_first {
            true => told(&core.epochs(self.key).map_err(Trouble::Again)?),
            false => Vec::new(),
        };
        let advertised = core.shared.addresses.get();
        Ok(fetch::Request {
            topic: self.topic.clone(),
            id: self.key.topic,
            partition: self.key.partition,
            offset: place.log_end,
            max_bytes: FETCH_BYTES,
            min_bytes: 1,
            max_wait_ms: u32::try_from(POLL.as_millis()).unwrap_or(u32::MAX),
            last_epoch: None,
            follower: Some(fetch::Follower {
                copy: place.copy,
                end: place.durable.offset,
                chain: place.durable.chain,
                node: Some(core.shared.node),
                address: advertised.map(|addresses| addresses.advertised.clone()),
                epochs,
            }),
        })
    }

    /// Lets go of what the source has let go of.
    async fn expire(&self, core: &Rc<Core>, source_start: Offset) -> Result<(), Trouble> {
        let place = core.place(self.key).map_err(Trouble::Again)?;
        let lowest = source_start.min(place.durable.offset);
        if place.has_files && place.log_start < lowest {
            core.truncate(self.key, lowest)
                .await
                .map_err(Trouble::Again)?;
        }
        Ok(())
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
    /// What another node's refusal means.
    pub(super) fn of(why: Failure) -> Self {
        let is_final = [
            ErrorCode::Diverged,
            ErrorCode::TopicChanged,
            ErrorCode::UnknownTopic,
            ErrorCode::UnknownPartition,
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
