//! Taking a snapshot: the active segment is rolled, and once all below is sealed, a chore gives
//! every file a second name in the snapshot's directory.

use corelog_record::Offset;
use corelog_storage::disk::Dir;
use corelog_storage::log::ChorePlan;
use corelog_storage::{Error, Now};

use super::effect::{Answer, Effects, Refusal};
use super::input::Token;
use super::state::{Partition, push_start};

/// A snapshot that is being taken.
#[derive(Debug)]
pub(super) struct Taking<D> {
    token: Token,
    /// It holds all below this, once it has begun.
    upto: Option<Offset>,
    target: D,
    /// Its chore is on the way.
    is_linking: bool,
}

impl<D: Dir> Partition<D> {
    pub(super) fn take_snapshot(
        &mut self,
        token: Token,
        target: D,
        now: Now,
        effects: &mut Effects<D>,
    ) {
        if self.taking.is_some() {
            return effects.refuse(token, Refusal::Busy);
        }
        self.taking = Some(Taking {
            token,
            upto: None,
            target,
            is_linking: false,
        });
        self.begin_snapshot(effects);
        self.next_chore(now, effects);
    }

    /// Begins the snapshot that is asked for. It waits while the end of the log is being changed, or too much waits to be
    /// sealed: it ends a segment.
    fn begin_snapshot(&mut self, effects: &mut Effects<D>) {
        let Some(taking) = self.taking.as_mut().filter(|taking| taking.upto.is_none()) else {
            return;
        };
        match self.log.begin_snapshot() {
            Ok(upto) => {
                taking.upto = Some(upto);
                // What was accepted and not yet flushed is in it, too.
                if self.log.pending_bytes() > 0 {
                    push_start(self.group.want(), effects);
                }
            }
            Err(Error::Busy) => {}
            Err(error) => {
                effects.refuse(taking.token, error.into());
                self.taking = None;
            }
        }
    }

    /// Nobody waits any longer for the snapshot to begin. Links that are on their way end by
    /// themselves: what came of them is told then.
    pub(super) fn abandon_snapshot(&mut self, token: Token, effects: &mut Effects<D>) {
        let is_mine = |taking: &mut Taking<D>| taking.token == token && !taking.is_linking;
        if let Some(taking) = self.taking.take_if(is_mine) {
            effects.refuse(taking.token, Refusal::NotSealed);
        }
    }

    /// The chore that links what is in the snapshot, once all of that is sealed.
    pub(super) fn plan_snapshot(&mut self, effects: &mut Effects<D>) -> Option<ChorePlan<D>> {
        self.begin_snapshot(effects);
        let taking = self.taking.as_mut().filter(|taking| !taking.is_linking)?;
        match self.log.plan_snapshot(taking.upto?, taking.target.clone()) {
            Ok(plan) => {
                taking.is_linking = plan.is_some();
                plan
            }
            Err(Error::Busy) => None,
            Err(error) => {
                effects.refuse(taking.token, error.into());
                self.taking = None;
                None
            }
        }
    }

    /// True while the chore in flight is the snapshot's.
    pub(super) fn is_linking(&self) -> bool {
        self.taking.as_ref().is_some_and(|taking| taking.is_linking)
    }

    /// The snapshot's chore has ended, if there was one.
    pub(super) fn linked(&mut self, linked: Result<Answer<D>, Refusal>, effects: &mut Effects<D>) {
        let Some(taking) = self.taking.take_if(|taking| taking.is_linking) else {
            return;
        };
        match linked {
            Ok(answer) => effects.answer(taking.token, answer),
            Err(refusal) => effects.refuse(taking.token, refusal),
        }
    }

    /// The partition closes or is fenced: what is not being linked yet will not be.
    pub(super) fn refuse_snapshot(&mut self, effects: &mut Effects<D>) {
        if let Some(taking) = self.taking.take_if(|taking| !taking.is_linking) {
            effects.refuse(taking.token, self.refusal_at_end());
        }
    }
}

#[cfg(test)]
mod tests;
