//! The partition itself: one log, who waits at its end, and when its groups start.

use corelog_record::{Chain, Offset, Timestamp};
use corelog_storage::Now;
use corelog_storage::disk::Dir;
use corelog_storage::log::{FlushDone, Log};

use super::changing::Changing;
use super::effect::{Answer, Effect, Effects, Failed, Refusal};
use super::group::{Accepted, BULK_BYTES, Group, Start};
use super::input::{Appetite, Input, Policy, Seek, Token};
use super::laws::Bounds;
use super::replication::Replication;
use super::snapshot::Taking;
use super::upkeep::Upkeep;
use super::waiters::Waiters;

/// One log and all that is decided about it; owned by one core, touched by one thread.
pub(crate) struct Partition<D: Dir> {
    pub(super) log: Log<D>,
    /// Tells this opening of the log from earlier ones: their completions are discarded.
    pub(super) generation: u32,
    pub(super) policy: Policy,
    /// Where the last snapshot ends, and the chain there.
    pub(super) snapshotted: Option<(Offset, Chain)>,
    /// Every follower holds all below.
    pub(super) replicated: Offset,
    pub(super) upkeep: Upkeep,
    /// The snapshot that is being taken, if one is.
    pub(super) taking: Option<Taking<D>>,
    /// The change of the log that is being made, if one is.
    pub(super) changing: Option<Changing>,
    pub(super) group: Group,
    pub(super) waiters: Waiters,
    pub(super) is_closing: bool,
    is_fence_told: bool,
    pub(super) bounds: Bounds,
}

impl<D: Dir> Partition<D> {
    /// Takes over an opened log.
    pub(crate) fn new(log: Log<D>, generation: u32, policy: Policy, now: Timestamp) -> Self {
        let bounds = bounds_of(&log, policy.replication);
        bounds.assert_ordered();
        Self {
            log,
            generation,
            policy,
            snapshotted: None,
            replicated: Offset::ZERO,
            upkeep: Upkeep::new(now),
            taking: None,
            changing: None,
            group: Group::default(),
            waiters: Waiters::default(),
            is_closing: false,
            is_fence_told: false,
            bounds,
        }
    }

    /// Decides what an input does and says what is to be performed.
    pub(crate) fn step(
        &mut self,
        input: Input<'_, D>,
        now: impl Into<Now>,
        effects: &mut Effects<D>,
    ) {
        let now = now.into();
        if self.is_closing
            && let Some(token) = input.newcomer()
        {
            return effects.refuse(token, Refusal::Closing);
        }
        match input {
            Input::Produce {
                token,
                batches,
                level,
            } => {
                self.produce(token, batches, level, now.time, effects);
            }
            Input::Copy {
                token,
                batches,
                segment_base,
            } => self.copy(token, batches, segment_base, now.time, effects),
            Input::Change { token, change } => self.change(token, *change, now, effects),
            Input::Fetch {
                token,
                from,
                appetite,
            } => self.fetch(token, from, appetite, effects),
            Input::Unpark { token } => self.waiters.unpark(token),
            Input::LookAgain => self.wake_all(effects),
            Input::Find { token, seek } => self.find(token, seek, effects),
            Input::Truncate { token, lowest } => self.truncate(token, lowest, now, effects),
            Input::AbandonTruncation { token } => self.abandon_truncation(token, effects),
            Input::Commit => self.commit(effects),
            Input::Flushed { generation, done } => {
                if generation == self.generation {
                    self.flushed(*done, now, effects);
                }
            }
            Input::Chored { generation, done } => {
                if generation == self.generation {
                    self.chored(*done, now, effects);
                }
            }
            Input::Tick => self.tick(now, effects),
            Input::Ticked => self.ticked(now, effects),
            Input::TakeSnapshot { token, target } => {
                self.take_snapshot(token, target, now, effects);
            }
            Input::AbandonChange { token } => self.abandon_change(token),
            Input::AbandonSnapshot { token } => self.abandon_snapshot(token, effects),
            Input::Snapshotted { last } => self.snapshotted = last,
            Input::Replicated { upto } => self.replicated = upto,
            Input::Heard { epoch } => self.log.hear_epoch(epoch),
            Input::Scrub { token, bytes_max } => self.scrub(token, bytes_max, now.time, effects),
            Input::ScrubRead {
                token,
                generation,
                done,
            } => self.scrub_read(token, generation, *done, now, effects),
            Input::Policy { policy, options } => {
                if self.policy.replication != policy.replication {
                    // Whoever waits may be at the wrong place by now.
                    self.wake_all(effects);
                    self.refuse_truncations(effects);
                }
                self.policy = policy;
                self.log.set_options(options);
                self.tick(now, effects);
            }
            Input::Close => {
                self.is_closing = true;
                self.wake_all(effects);
                self.refuse_truncations(effects);
                self.refuse_snapshot(effects);
                self.refuse_change(effects);
            }
        }
        self.assert_laws();
        self.wake_ended(effects);
    }

    /// Bytes of batches that wait for the disk or are on their way to it.
    pub(crate) fn unflushed_bytes(&self) -> usize {
        self.log.pending_bytes() + self.log.in_flight_bytes()
    }

    /// Bytes of memory held for readers of the tail.
    pub(crate) fn tail_bytes(&self) -> usize {
        self.log.tail_bytes()
    }

    /// As [`Log::bound_groups`].
    pub(crate) fn bound_groups(&mut self, bytes_max: usize) {
        self.log.bound_groups(bytes_max);
    }

    /// Gives the oldest of what is held for readers back.
    pub(crate) fn shed_tail(&mut self) {
        self.log.shed_tail();
    }

    /// If a flush or a chore is still to be handed back.
    pub(crate) fn has_outstanding(&self) -> bool {
        self.group.is_in_flight() || self.upkeep.is_busy()
    }

    /// Gives the log back, to be closed, and what was accepted and is lost unless it becomes durable then.
    ///
    /// # Panics
    /// If a flush or a chore is still to be handed back.
    pub(crate) fn into_log(self) -> (Log<D>, Accepted) {
        assert!(
            !self.has_outstanding(),
            "a log is closed only when its disk is quiet"
        );
        (self.log, self.group.into_accepted())
    }

    fn fetch(&mut self, token: Token, from: Offset, appetite: Appetite, effects: &mut Effects<D>) {
        let Bounds {
            log_start,
            high_watermark,
            ..
        } = self.bounds;
        let valid = log_start..high_watermark;
        let lowest = match appetite.is_replica {
            true => self.log.floor_place().offset,
            false => log_start,
        };
        if let Some(offset) = self.differs_from(from, appetite.last_epoch) {
            return effects.refuse(token, Refusal::OtherLog { from: offset });
        }
        if from < lowest || self.log.log_end() < from {
            return effects.refuse(token, Refusal::OutOfRange { valid });
        }
        if from > high_watermark {
            return effects.refuse(token, Refusal::PastHighWatermark { valid });
        }
        // What a consumer may not read was refused above.
        let plan = match self.log.plan_copy(from, high_watermark, appetite.bytes_max) {
            Ok(plan) => plan,
            Err(error) => return effects.refuse(token, error.into()),
        };
        let missing = appetite.missing(&plan, high_watermark);
        let has_ended = || from < self.log.base_at(high_watermark);
        let is_parked = appetite.may_park && 0 < missing && !has_ended();
        if is_parked {
            self.waiters.park(token, from, missing);
        }
        if from < high_watermark && !is_parked {
            let answer = Answer::Read {
                plan,
                log_start,
                high_watermark,
            };
            return effects.answer(token, answer);
        }
        let last = self.log.segments().next_back();
        let answer = Answer::Nothing {
            log_start,
            high_watermark,
            segment_base: last.map_or(log_start, |segment| segment.base),
            is_parked,
        };
        effects.answer(token, answer);
    }

    fn find(&mut self, token: Token, seek: Seek, effects: &mut Effects<D>) {
        let Bounds {
            log_start,
            high_watermark,
            ..
        } = self.bounds;
        let answer = match seek {
            Seek::Earliest => Answer::Found {
                offset: log_start,
                log_start,
                high_watermark,
            },
            Seek::Latest => Answer::Found {
                offset: high_watermark,
                log_start,
                high_watermark,
            },
            Seek::Time(time) => Answer::Search {
                plan: self.log.plan_find_time(time, high_watermark),
                log_start,
                high_watermark,
            },
        };
        effects.answer(token, answer);
    }

    fn commit(&mut self, effects: &mut Effects<D>) {
        if !self.group.commit() || self.log.is_fenced() || self.is_closing {
            return;
        }
        match self.log.plan_flush() {
            Some(plan) => {
                let bytes = self.log.in_flight_bytes();
                let is_slight = self.group.started(bytes, self.log.pending_bytes());
                effects.push(Effect::Flush {
                    next_pace: self.group.next_pace(),
                    is_slight,
                    generation: self.generation,
                    plan: Box::new(plan),
                });
            }
            None if self.log.pending_bytes() > 0 => self.group.held(),
            None => {}
        }
    }

    fn flushed(&mut self, done: FlushDone<D>, now: Now, effects: &mut Effects<D>) {
        let before = self.bounds.high_watermark;
        self.group.landed();
        match self.log.complete_flush(done, now.time) {
            Ok(flushed) => {
                let start = self.group.next(flushed.durable);
                effects.push(Effect::Durable {
                    upto: flushed.durable,
                    bytes: flushed.bytes,
                });
                match start {
                    Some(_) if BULK_BYTES <= self.log.pending_bytes() => self.commit(effects),
                    start => push_start(start, effects),
                }
                let after = self.policy.replication.high_watermark(flushed.durable);
                if before < after {
                    let wake = |token| effects.push(Effect::Wake { token });
                    self.waiters.advance(flushed.bytes as u64, wake);
                }
                self.upkeep_after_flush(now, effects);
            }
            Err(error) if error.is_shortage() && !self.log.is_fenced() => {
                // The group stays pending: a chore that finds space, or descriptors, lets it go out.
                push_start(self.group.next(self.bounds.durable), effects);
                self.group.held();
                effects.push(Effect::Full { error });
                self.upkeep_after_flush(now, effects);
            }
            Err(error) => self.fence(Failed::Flush, error, effects),
        }
    }

    /// Whoever waits in a segment that has ended gets no more than there is, however it came to its end.
    fn wake_ended(&mut self, effects: &mut Effects<D>) {
        if 0 < self.waiters.count() {
            let border = self.log.base_at(self.bounds.high_watermark);
            self.waiters
                .wake_below(border, |token| effects.push(Effect::Wake { token }));
        }
    }

    /// Nothing more is written until the partition is reopened; told once.
    pub(super) fn fence(
        &mut self,
        failed: Failed,
        error: corelog_storage::Error,
        effects: &mut Effects<D>,
    ) {
        assert!(
            self.log.is_fenced(),
            "a failed write left the log open for writes"
        );
        if std::mem::replace(&mut self.is_fence_told, true) {
            return;
        }
        let accepted_lost = self.group.fence();
        self.refuse_truncations(effects);
        self.refuse_snapshot(effects);
        self.refuse_change(effects);
        effects.push(Effect::Fenced {
            failed,
            accepted_lost,
            error,
        });
    }

    /// Whoever is parked looks again.
    pub(super) fn wake_all(&mut self, effects: &mut Effects<D>) {
        self.waiters
            .wake_all(|token| effects.push(Effect::Wake { token }));
    }

    fn assert_laws(&mut self) {
        let bounds = bounds_of(&self.log, self.policy.replication);
        bounds.assert_ordered();
        bounds.assert_follows(&self.bounds);
        self.bounds = bounds;
    }
}

pub(super) fn bounds_of<D: Dir>(log: &Log<D>, replication: Replication) -> Bounds {
    Bounds {
        log_start: log.log_start(),
        high_watermark: replication.high_watermark(log.durable()),
        durable: log.durable(),
        log_end: log.log_end(),
    }
}

/// Asks the core to start the group.
pub(super) fn push_start<D: Dir>(start: Option<Start>, effects: &mut Effects<D>) {
    match start {
        None => {}
        Some(Start::Now(pace)) => effects.push(Effect::Commit(pace)),
        Some(Start::Soon) => effects.push(Effect::CommitSoon),
    }
}

#[cfg(test)]
mod tests {
    use corelog_storage::disk::memory::MemoryDir;

    use super::*;

    /// A node has thousands, and each had the room of a scrub's place.
    #[test]
    fn a_partition_has_no_room_for_what_is_rarely_under_way() {
        let bytes = size_of::<Partition<MemoryDir>>();
        assert!(bytes <= 2 << 10, "{bytes}");
    }
}
