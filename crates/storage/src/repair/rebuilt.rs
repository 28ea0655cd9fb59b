//! What the new manifest says.

use corelog_record::{Offset, Timestamp};

use super::damage;
use super::epochs::epochs;
use super::evidence::Evidence;
use super::plan::Known;
use super::refusal::Refusal;
use super::walk::Walked;
use crate::format::edit::{Add, Digest, Edit, Generation, Seal, Settings, Start};
use crate::format::mark::Slot;
use crate::format::state::State;

/// What the new manifest says.
pub(super) fn rebuilt(
    chosen: &[Walked],
    evidence: &Evidence,
    known: Known,
) -> Result<State, Refusal> {
    let mut state = State::new(evidence.header.history);
    let mut say = |edit: Edit| state.apply(&edit).map_err(Refusal::Broken).map(drop);
    let old = evidence.state.as_ref();
    for (number, walked) in chosen.iter().enumerate() {
        let start = walked.start.place();
        if number == 0 {
            say(Edit::Restart(start))?;
        }
        say(Edit::Add(Add::from(start)))?;
        if number == 0 {
            let last = chosen.last().map_or(start.offset, |last| last.end.offset);
            let log_start = old.map_or(Offset::ZERO, State::log_start).min(last);
            if start.offset < log_start {
                say(Edit::Truncate(Start { start: log_start }))?;
            }
        }
        if walked.generation > 0 {
            let (base, generation) = (walked.base, walked.generation);
            say(Edit::Generation(Generation { base, generation }))?;
        }
        let has_next = number + 1 < chosen.len();
        let may_end = has_next || !is_short(walked, evidence.mark.as_ref());
        let seal = seal(walked, may_end, old, known.now);
        let leads_on = chosen
            .get(number + 1)
            .is_none_or(|next| next.start.place() == walked.end.place());
        if let Some(seal) = seal.filter(|_| leads_on) {
            say(Edit::Seal(seal))?;
        }
    }
    for epoch in epochs(chosen, evidence, known.seed)? {
        say(Edit::Epoch(epoch))?;
    }
    for (key, value) in damage::settings(chosen, old) {
        let changes = [(key, Some(value))].into();
        say(Edit::Settings(Settings { changes }))?;
    }
    Ok(state)
}

/// The seal of a store: as it was, if the old manifest knows it, whatever lies behind its end by now; else a new one, if the
/// file ends with its last batch. So does each that was sealed, and a snapshot may mean the very file; one that is being written has
/// space behind.
fn seal(walked: &Walked, may_end: bool, old: Option<&State>, now: Timestamp) -> Option<Seal> {
    let (start, end) = (walked.start.place(), walked.end.place());
    let digest = Digest::original(start, end, walked.end.position.get());
    let known = old
        .into_iter()
        .flat_map(State::segments)
        .filter_map(|segment| segment.seal.as_ref())
        .find(|seal| seal.digest == digest);
    let max_timestamp = walked.end.max_timestamp;
    let new = || Seal {
        digest,
        max_timestamp,
        sealed: now,
    };
    let is_ended = may_end && walked.is_exact();
    known.cloned().or_else(|| is_ended.then(new))
}

/// Whether the mark tells of more than this store, the last one, holds of its segment: sealed, it would say that there
/// never was more.
fn is_short(walked: &Walked, mark: Option<&Slot>) -> bool {
    mark.is_some_and(|slot| slot.segment <= walked.base && walked.end.offset < slot.offset)
}
