//! What a partition does beside its requests: seals, marks, removals, expiry, truncation. The
//! core calls with the time; there is no background thread. One chore is in flight at a time.

use corelog_record::{ByteSize, Offset, Timestamp};
use corelog_storage::disk::Dir;
use corelog_storage::log::{Chore, ChoreDone, ChorePlan, Hold, SealTime};
use corelog_storage::{Error, Now};

use super::activity::Activity;
use super::effect::{Answer, Effect, Effects, Failed, Refusal};
use super::input::{Held, Token};
use super::replication::Replication;
use super::state::{Partition, push_start};

/// Truncations that wait for a chore to end; a client waits for its answer, so one is usual. One edit does all of them.
const TRUNCATIONS_MAX: usize = 16;

/// What is in flight and what waits for it.
#[derive(Debug)]
pub(super) struct Upkeep {
    is_chore_in_flight: bool,
    is_tick_armed: bool,
    activity: Activity,
    /// The truncations whose edit is in flight.
    truncating: Vec<Token>,
    /// What retention lets go of is on its way.
    is_expiring: bool,
    /// The last chore was theirs: others go before the next such one.
    has_truncated: bool,
    waiting: Vec<(Token, Offset)>,
}

impl Upkeep {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            is_chore_in_flight: false,
            is_tick_armed: false,
            activity: Activity::new(now),
            truncating: Vec::new(),
            is_expiring: false,
            has_truncated: false,
            waiting: Vec::new(),
        }
    }

    pub(super) fn is_busy(&self) -> bool {
        self.is_chore_in_flight
    }
}

/// When a partition wants to be looked at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Soon: it has something to do.
    Busy,
    /// When this time has come.
    Until(Timestamp),
    /// When something happens to it.
    Idle,
}

impl<D: Dir> Partition<D> {
    /// When it wants to be looked at again, although nothing happens to it.
    pub(crate) fn rest(&self) -> Rest {
        if self.is_closing || self.log.is_fenced() {
            return Rest::Idle;
        }
        let is_asked = !self.upkeep.waiting.is_empty() || self.changing.is_some();
        let is_settled = self.log.is_settled() && !is_asked;
        if !is_settled || self.has_outstanding() {
            return Rest::Busy;
        }
        let age_ms = self.policy.retention_age_ms;
        let expires = age_ms.zip(self.log.oldest_seal()).map(|(age_ms, seal)| {
            let age_ms = i64::try_from(age_ms).unwrap_or(i64::MAX);
            match seal {
                // Expired is what is older, by a millisecond at least.
                SealTime::Known(sealed) => sealed.saturating_add_millis(age_ms.saturating_add(1)),
                SealTime::Doubted(sealed) => sealed,
            }
        });
        let times = [self.log.roll_at(), expires];
        times
            .into_iter()
            .flatten()
            .min()
            .map_or(Rest::Idle, Rest::Until)
    }

    pub(super) fn truncate(
        &mut self,
        token: Token,
        lowest: Offset,
        now: Now,
        effects: &mut Effects<D>,
    ) {
        // It starts no chore any more: waiting would be for ever.
        if self.log.is_fenced() {
            return effects.refuse(token, Refusal::Fenced);
        }
        let status = self.status();
        if lowest > status.high_watermark {
            let valid = status.log_start..status.high_watermark;
            return effects.refuse(token, Refusal::OutOfRange { valid });
        }
        if self.upkeep.waiting.len() >= TRUNCATIONS_MAX {
            return effects.refuse(token, Refusal::Busy);
        }
        self.upkeep.waiting.push((token, lowest));
        self.next_chore(now, effects);
    }

    /// Nobody waits any longer for a truncation to begin. One whose edit is on its way ends by itself.
    pub(super) fn abandon_truncation(&mut self, token: Token, effects: &mut Effects<D>) {
        let waiting = &mut self.upkeep.waiting;
        if let Some(at) = waiting.iter().position(|(other, _)| *other == token) {
            waiting.remove(at);
            effects.refuse(token, Refusal::Busy);
        }
    }

    pub(super) fn chored(&mut self, done: ChoreDone<D>, now: Now, effects: &mut Effects<D>) {
        assert!(
            self.upkeep.is_chore_in_flight,
            "a chore ended that had not started"
        );
        self.upkeep.is_chore_in_flight = false;
        self.upkeep.is_expiring = false;
        let truncating = std::mem::take(&mut self.upkeep.truncating);
        let completed = self.log.complete_chore(done, now.time);
        self.tell_events(effects);
        match completed {
            Ok(chore) => {
                if let Chore::Snapshotted {
                    log_start,
                    end,
                    chain,
                    segments,
                    bytes,
                } = chore
                {
                    let answer = Answer::Snapshotted {
                        log_start,
                        end,
                        chain,
                        segments,
                        bytes,
                    };
                    self.linked(Ok(answer), effects);
                }
                self.changed(Ok(chore), effects);
                self.tell_truncated(truncating, effects);
                push_start(self.group.released(), effects);
                self.next_chore(now, effects);
            }
            Err(error) if self.is_linking() && !self.log.is_fenced() => {
                // It says nothing of the log: whoever asked for the snapshot decides.
                self.linked(Err(error.into()), effects);
                push_start(self.group.released(), effects);
                self.next_chore(now, effects);
            }
            Err(error) if self.is_changing() && !self.log.is_fenced() => {
                self.changed(Err(error.into()), effects);
                push_start(self.group.released(), effects);
                self.next_chore(now, effects);
            }
            Err(error) => {
                for token in truncating {
                    let refusal = match error {
                        Error::StorageFull { .. } => Refusal::StorageFull,
                        Error::OutOfFiles { .. } => Refusal::Busy,
                        _ => Refusal::InDoubt,
                    };
                    effects.refuse(token, refusal);
                }
                if self.log.is_fenced() {
                    self.linked(Err(Refusal::Fenced), effects);
                    self.changed(Err(Refusal::InDoubt), effects);
                    self.fence(Failed::Chore, error, effects);
                } else {
                    // Nothing that was promised is harmed: the next tick tries again.
                    effects.push(Effect::ChoreFailed { error });
                    push_start(self.group.released(), effects);
                }
            }
        }
    }

    /// The tick that was armed. Only that one makes room for the next: others come from time to time as well,
    /// and each would leave one more behind.
    pub(super) fn ticked(&mut self, now: Now, effects: &mut Effects<D>) {
        self.upkeep.is_tick_armed = false;
        self.tick(now, effects);
    }

    pub(super) fn tick(&mut self, now: Now, effects: &mut Effects<D>) {
        self.log.roll_if_due(now.time);
        self.tell_events(effects);
        self.next_chore(now, effects);
    }

    /// What happened to the log since the last time, once each.
    pub(super) fn tell_events(&mut self, effects: &mut Effects<D>) {
        for event in self.log.take_events() {
            effects.push(Effect::Event { event });
        }
    }

    pub(super) fn upkeep_after_flush(&mut self, now: Now, effects: &mut Effects<D>) {
        self.upkeep.activity.flushed(now.time);
        self.next_chore(now, effects);
        self.arm_tick(effects);
    }

    /// If the log's start is being moved, as a client asked or by retention.
    pub(crate) fn is_start_moving(&self) -> bool {
        !self.upkeep.truncating.is_empty() || self.upkeep.is_expiring
    }

    /// The partition closes, is fenced, or has another owner by now: waiting truncations will not happen.
    pub(super) fn refuse_truncations(&mut self, effects: &mut Effects<D>) {
        for token in self.take_waiting() {
            effects.refuse(token, self.refusal_at_end());
        }
    }

    /// Why nothing waits any longer: the partition is fenced, or closes, or another node's.
    pub(super) fn refusal_at_end(&self) -> Refusal {
        match (self.log.is_fenced(), self.is_closing) {
            (true, _) => Refusal::Fenced,
            (_, true) => Refusal::Closing,
            _ => Refusal::NotOwner,
        }
    }

    /// Starts the next due chore. A truncation goes first, as a client waits for it, but not behind another one: those
    /// that keep coming would hold up all else.
    pub(super) fn next_chore(&mut self, now: Now, effects: &mut Effects<D>) {
        if self.upkeep.is_chore_in_flight || self.log.is_fenced() || self.is_closing {
            return;
        }
        let has_truncated = std::mem::take(&mut self.upkeep.has_truncated);
        if !has_truncated && self.start_truncation(effects) {
            return;
        }
        if !self.start_due(now, effects) && has_truncated {
            self.start_truncation(effects);
        }
    }

    /// Starts what else is due: what a client waits for, then what the log needs, then expiry; true if there is
    /// something. On a full disk expiry goes first: space that is asked for at every turn would let nothing go that gives
    /// some.
    fn start_due(&mut self, now: Now, effects: &mut Effects<D>) -> bool {
        let asked = self.plan_change(now, effects);
        if let Some(plan) = asked.or_else(|| self.plan_snapshot(effects)) {
            self.start_chore(plan, effects);
            return true;
        }
        let is_over = self.upkeep.activity.is_over(now.time);
        let is_idle = is_over && self.log.pending_bytes() == 0 && !self.has_outstanding();
        if self.log.is_full() && self.start_retention(now, effects) {
            return true;
        }
        if let Some(plan) = self.log.plan_chore(now, is_idle) {
            self.start_chore(plan, effects);
            return true;
        }
        if !is_idle && self.upkeep.activity.is_recent(now.time) {
            self.arm_tick(effects);
        }
        self.start_retention(now, effects)
    }

    /// Starts to let go of what is no longer to be kept; true if there is something.
    fn start_retention(&mut self, now: Now, effects: &mut Effects<D>) -> bool {
        match self.plan_retention(now.time) {
            Ok(Some(plan)) => {
                self.upkeep.is_expiring = true;
                self.start_chore(plan, effects);
                return true;
            }
            // A read-only log keeps what it has; a busy one is asked again at the next tick.
            Ok(None) | Err(Error::Busy | Error::ReadOnly { .. }) => {}
            Err(error) => effects.push(Effect::ChoreFailed { error }),
        }
        false
    }

    /// Starts the one edit that does all truncations that wait, unless they have nothing to do; true if so. Records go
    /// first that wait for the `add` of their store: the truncations' turn comes when these have landed.
    fn start_truncation(&mut self, effects: &mut Effects<D>) -> bool {
        if self.log.is_add_waiting() {
            return false;
        }
        let highest = |waiting: &[(Token, Offset)]| {
            let by_offset = waiting.iter().max_by_key(|(_, lowest)| *lowest);
            by_offset.copied()
        };
        while let Some((token, lowest)) = highest(&self.upkeep.waiting) {
            match self.log.plan_truncate(lowest) {
                Ok(Some(plan)) => {
                    self.upkeep.truncating = self.take_waiting();
                    self.upkeep.has_truncated = true;
                    self.start_chore(plan, effects);
                    return true;
                }
                Ok(None) => {
                    let waiting = self.take_waiting();
                    self.tell_truncated(waiting, effects);
                }
                // A flush has what the edit needs: the truncations' turn comes when that lands.
                Err(Error::Busy) => return false,
                Err(error) => {
                    self.upkeep.waiting.retain(|(other, _)| *other != token);
                    effects.refuse(token, error.into());
                }
            }
        }
        false
    }

    fn take_waiting(&mut self) -> Vec<Token> {
        let waiting = self.upkeep.waiting.drain(..);
        waiting.map(|(token, _)| token).collect()
    }

    fn tell_truncated(&self, tokens: Vec<Token>, effects: &mut Effects<D>) {
        let log_start = self.log.log_start();
        for token in tokens {
            match self.policy.replication {
                // Whoever owns it by now has let go of nothing.
                Replication::Replaced => effects.refuse(token, Refusal::NotOwner),
                _ => effects.answer(token, Answer::Truncated { log_start }),
            }
        }
    }

    fn plan_retention(&mut self, now: Timestamp) -> Result<Option<ChorePlan<D>>, Error> {
        let hold = self.hold();
        if let Some(age_ms) = self.policy.retention_age_ms {
            let since = now.saturating_sub_millis(age_ms.try_into().unwrap_or(i64::MAX));
            let plan = self.log.plan_expire(since, hold)?;
            if plan.is_some() {
                return Ok(plan);
            }
        }
        match self.policy.retention_bytes {
            Some(bytes) => self.log.plan_expire_to(ByteSize::from_bytes(bytes), hold),
            None => Ok(None),
        }
    }

    fn hold(&self) -> Hold {
        let upto = match self.policy.held {
            Held::Nothing => return Hold::NONE,
            Held::Unsnapshotted => self.snapshotted_upto(),
            Held::Unreplicated => self.replicated,
            Held::All => Offset::ZERO,
        };
        Hold {
            upto,
            bytes_max: self.policy.hold_bytes.map(ByteSize::from_bytes),
        }
    }

    /// All below is in a snapshot. Nothing is, unless the log still has what that has at its end: it may have
    /// been cut below, and gone on otherwise.
    fn snapshotted_upto(&self) -> Offset {
        let last = self.snapshotted;
        let is_here = |&(end, chain): &_| self.log.chain_at_border(end) == Some(chain);
        last.filter(is_here).map_or(Offset::ZERO, |(end, _)| end)
    }

    /// False once the log has no more what its last snapshot has at its end, which holds nothing back then. What
    /// retention let go of since is in it all the same.
    pub(crate) fn has_what_was_snapshotted(&self) -> bool {
        self.snapshotted
            .is_none_or(|(end, _)| end < self.log.log_start() || self.snapshotted_upto() == end)
    }

    fn start_chore(&mut self, plan: ChorePlan<D>, effects: &mut Effects<D>) {
        assert!(
            !self.upkeep.is_chore_in_flight,
            "two chores of one partition in flight"
        );
        self.upkeep.is_chore_in_flight = true;
        effects.push(Effect::Chore {
            generation: self.generation,
            plan: Box::new(plan),
        });
    }

    fn arm_tick(&mut self, effects: &mut Effects<D>) {
        if !std::mem::replace(&mut self.upkeep.is_tick_armed, true) {
            effects.push(Effect::Tick(self.upkeep.activity.tick()));
        }
    }
}
