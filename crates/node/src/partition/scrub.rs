//! Scrubbing, piece by piece: the core reads a piece whenever it likes, the log knows what is next.

use corelog_record::Timestamp;
use corelog_storage::Now;
use corelog_storage::disk::Dir;
use corelog_storage::log::ScrubDone;

use super::effect::{Answer, Effects, Refusal};
use super::input::Token;
use super::state::Partition;

impl<D: Dir> Partition<D> {
    pub(super) fn scrub(
        &mut self,
        token: Token,
        bytes_max: usize,
        now: Timestamp,
        effects: &mut Effects<D>,
    ) {
        match self.log.plan_scrub(now, bytes_max) {
            Ok(plan) => effects.answer(
                token,
                Answer::Scrub {
                    generation: self.generation,
                    plan: plan.map(Box::new),
                },
            ),
            Err(error) => effects.refuse(token, error.into()),
        }
    }

    pub(super) fn scrub_read(
        &mut self,
        token: Token,
        generation: u32,
        done: ScrubDone<D>,
        now: Now,
        effects: &mut Effects<D>,
    ) {
        if generation != self.generation || self.is_closing {
            return effects.refuse(token, Refusal::Closing);
        }
        let scrubbed = self.log.complete_scrub(done, now.time);
        self.tell_events(effects);
        effects.answer(token, Answer::Scrubbed(Box::new(scrubbed)));
        // The manifest is to remember what was found, and that a pass has ended.
        self.next_chore(now, effects);
    }
}
