//! What a replica needs: copies appended, and changes of a whole log, one at a time, each durable
//! before it is told.

use corelog_protocol::message::ack::Level;
use corelog_record::{HistoryId, Offset, Timestamp};
use corelog_storage::disk::Dir;
use corelog_storage::format::edit::Point;
use corelog_storage::intake::Ready;
use corelog_storage::log::lineage::Common;
use corelog_storage::log::{Begin, Chore, ChorePlan};
use corelog_storage::{Error, Now};

use super::effect::{Answer, Effect, Effects, Refusal};
use super::input::Token;
use super::state::{Partition, bounds_of, push_start};

/// A change of a whole log.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// A log without records, or one that gives up all it has, becomes a copy of a history from here on.
    Adopt { history: HistoryId, start: Point },
    /// An epoch begins at the end.
    Epoch(Begin),
    /// Segments that were received go to the end.
    Install(Vec<Ready>),
    /// A segment that was received takes the place of a damaged one.
    Replace(Ready),
    /// What the log has beyond this goes to quarantine, and its epochs are forgotten.
    Rejoin(Common),
    /// The last segment, which had ended, goes on.
    Unroll,
}

/// A change that waits for its turn, or is on its way to the disk.
#[derive(Debug)]
pub(super) struct Changing {
    token: Token,
    /// What waits; none while its chore is on the way.
    change: Option<Change>,
}

impl<D: Dir> Partition<D> {
    /// Appends what a source sent; it is told once it is in the log, and durable with the next group.
    pub(super) fn copy(
        &mut self,
        token: Token,
        batches: &[u8],
        segment_base: Offset,
        now: Timestamp,
        effects: &mut Effects<D>,
    ) {
        let appended = self.log.append_copied(batches, segment_base, now);
        self.appended(token, appended, Level::Durable, effects);
    }

    pub(super) fn change(
        &mut self,
        token: Token,
        change: Change,
        now: Now,
        effects: &mut Effects<D>,
    ) {
        if self.log.is_fenced() {
            return effects.refuse(token, Refusal::Fenced);
        }
        if self.changing.is_some() {
            return effects.refuse(token, Refusal::Busy);
        }
        let change = Some(change);
        self.changing = Some(Changing { token, change });
        // What it follows has to be on disk.
        if self.log.pending_bytes() > 0 {
            push_start(self.group.want(), effects);
        }
        self.next_chore(now, effects);
    }

    /// The chore of the change that waits, as soon as nothing is in its way.
    pub(super) fn plan_change(
        &mut self,
        now: Now,
        effects: &mut Effects<D>,
    ) -> Option<ChorePlan<D>> {
        let Changing { token, change } = self.changing.as_mut()?;
        let planned = match change.as_ref()? {
            Change::Adopt { history, start } => self.log.plan_adopt(*history, *start).map(Some),
            Change::Epoch(begin) => self.log.plan_epoch(*begin).map(Some),
            Change::Install(ready) => self.log.plan_install(ready.clone(), now).map(Some),
            Change::Replace(ready) => self.log.plan_replace(ready.clone(), now).map(Some),
            Change::Rejoin(common) => self.log.plan_rejoin(*common, now.time),
            Change::Unroll => self.log.plan_unroll(now.time),
        };
        match planned {
            Ok(Some(plan)) => {
                *change = None;
                Some(plan)
            }
            // A flush, or another chore, has what it needs: its turn comes when that lands.
            Err(Error::Busy) => None,
            Ok(None) => {
                let (token, log_end) = (*token, self.log.log_end());
                self.changing = None;
                let quarantined = Vec::new();
                let nothing = Chore::SuffixCut {
                    log_end,
                    quarantined,
                };
                effects.answer(token, Answer::Changed(nothing));
                None
            }
            Err(error) => {
                let token = *token;
                self.changing = None;
                effects.refuse(token, error.into());
                None
            }
        }
    }

    /// True while the chore in flight is a change's.
    pub(crate) fn is_changing(&self) -> bool {
        let changing = self.changing.as_ref();
        changing.is_some_and(|changing| changing.change.is_none())
    }

    /// Checks that a change could begin: that none waits or is in flight, perhaps of somebody who does not wait any more,
    /// and that none failed halfway.
    ///
    /// # Errors
    /// `Busy` or `Fenced`.
    pub(crate) fn check_takes_in(&self) -> Result<(), Refusal> {
        match self.changing {
            _ if self.log.is_fenced() => Err(Refusal::Fenced),
            Some(_) => Err(Refusal::Busy),
            None => Ok(()),
        }
    }

    /// Who asked for the change that waits for its turn, if one does.
    pub(crate) fn waiting_change(&self) -> Option<Token> {
        let changing = self.changing.as_ref();
        let waits = changing.filter(|changing| changing.change.is_some())?;
        Some(waits.token)
    }

    /// Nobody waits any longer for a change to begin.
    pub(super) fn abandon_change(&mut self, token: Token) {
        let waits = |changing: &mut Changing| changing.token == token && changing.change.is_some();
        self.changing.take_if(waits);
    }

    /// The change's chore has ended, if there was one.
    pub(super) fn changed(&mut self, changed: Result<Chore, Refusal>, effects: &mut Effects<D>) {
        let Some(changing) = self.changing.take_if(|changing| changing.change.is_none()) else {
            return;
        };
        // A copy for whose mark there was no space is one, although that is refused.
        self.moved(effects);
        match changed {
            Ok(chore) => effects.answer(changing.token, Answer::Changed(chore)),
            Err(refusal) => effects.refuse(changing.token, refusal),
        }
    }

    /// The partition closes or is fenced: what has not begun will not.
    pub(super) fn refuse_change(&mut self, effects: &mut Effects<D>) {
        if let Some(changing) = self.changing.take_if(|changing| changing.change.is_some()) {
            effects.refuse(changing.token, self.refusal_at_end());
        }
    }

    /// The log as a whole has changed: what may be read now, may have moved far, and back if it was
    /// asked to be cut.
    fn moved(&mut self, effects: &mut Effects<D>) {
        let before = self.bounds.high_watermark;
        let after = bounds_of(&self.log, self.policy.replication);
        if after.high_watermark == before {
            return;
        }
        if after.high_watermark < before {
            // It was asked to be cut: what was promised is in quarantine, and who followed has to follow anew.
            self.bounds = after;
            self.replicated = self.replicated.min(after.durable);
            let durable = after.durable;
            effects.push(Effect::Cut { durable });
        } else {
            let upto = after.durable;
            effects.push(Effect::Durable { upto, bytes: 0 });
        }
        self.wake_all(effects);
    }
}
