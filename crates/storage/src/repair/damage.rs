//! Which damage of the old manifest is still there.

use corelog_record::Offset;

use super::walk::Walked;
use crate::format::damage::{Damage, place};
use crate::format::state::State;

/// The settings of the old manifest, without the damage of what was read and is sound: it was repaired or cut off by edits
/// that are lost, and whoever stands there now must not be refused.
pub(super) fn settings(chosen: &[Walked], old: Option<&State>) -> Vec<(String, String)> {
    let settings = old.into_iter().flat_map(State::settings);
    let still = settings.filter_map(|(key, value)| {
        if place(key).is_none() {
            return Some((key.clone(), value.clone()));
        }
        let to = left(chosen, Damage::of(key, value)?)?;
        Some((key.clone(), to.to_string()))
    });
    still.collect()
}

/// Where damage ends by now; `None` if nothing of it is left.
fn left(chosen: &[Walked], Damage { from, to, segment }: Damage) -> Option<Offset> {
    let number = chosen.iter().position(|walked| walked.base == segment)?;
    let (walked, next) = (&chosen[number], chosen.get(number + 1));
    // Other bytes stand where the next store begins.
    let to = next.map_or(to, |next| next.base.min(to));
    let is_sound = walked.is_whole && to <= walked.end.offset;
    (from < to && !is_sound).then_some(to)
}
