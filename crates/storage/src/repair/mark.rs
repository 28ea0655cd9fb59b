//! The mark that goes with the new manifest.

use corelog_record::LeaderEpoch;

use super::evidence::Evidence;
use super::walk::Walked;
use crate::format::mark::Slot;
use crate::format::state::State;

/// What is written into the mark, if anything is.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Before the manifest is: true with the old one and with the new one.
    pub(super) before: Option<Slot>,
    /// Behind it, in the place of a mark that tells of records which no store holds. As long as that is there, the old manifest is
    /// known to be no more than a part.
    pub(super) behind: Option<Slot>,
}

impl Marks {
    /// Those of a repair to `state`, which ends in the store `last`. No epoch is begun twice, so the mark has to know of all that
    /// the manifest forgets; and it is not clean then, that one above them begins.
    pub(super) fn of(evidence: &Evidence, state: &State, last: &Walked) -> Self {
        let last_of = |state: &State| state.epochs().last().map(|last| last.epoch);
        let told = last_of(state);
        let known = evidence.state.as_ref().and_then(last_of);
        let marked = evidence.mark.and_then(|slot| slot.epoch);
        let used = marked.max(known).max(told);
        let modest = || modest(evidence, last, used);
        let Some(mark) = evidence.mark else {
            return Self {
                before: (told < used).then(modest),
                behind: None,
            };
        };
        let raised = Slot {
            epoch: used,
            is_clean: false,
            ..mark
        };
        Self {
            before: Some(raised).filter(|raised| told < used && *raised != mark),
            behind: state.is_behind(&mark).then(modest),
        }
    }

    /// Up to which epoch none is begun again, by what is written last.
    pub(super) fn epoch(&self) -> Option<LeaderEpoch> {
        self.behind.or(self.before)?.epoch
    }
}

/// A mark that promises no byte of the last store, and knows which epochs were `used`.
fn modest(evidence: &Evidence, last: &Walked, used: Option<LeaderEpoch>) -> Slot {
    let store = (last.base, last.generation);
    Slot {
        epoch: used,
        ..last.start.slot(&evidence.header, store)
    }
}
