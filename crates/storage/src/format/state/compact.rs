//! A state as edits again, for a manifest that is written anew.

use std::collections::BTreeMap;

use super::{Segment, State};
use crate::format::edit::{Edit, Generation, Scrubbed, Settings, Start};

impl State {
    /// The fewest edits that lead from a new state to this one.
    #[must_use]
    pub fn edits(&self) -> Vec<Edit> {
        self.each_edit().collect()
    }

    /// The same, one by one: there may be two million.
    pub(crate) fn each_edit(&self) -> impl Iterator<Item = Edit> {
        let adds = self.segments.iter();
        let mut adds = adds.map(|segment| Edit::Add(segment.start().into()));
        let first = adds.next();
        // Behind the first segment and before any end is known, so that none goes: a segment
        // sealed just at the log start stays until the next move.
        let start = self.log_start;
        let moved = (start != self.floor.offset).then_some(Edit::Truncate(Start { start }));
        let begin = [Some(Edit::Restart(self.floor)), first, moved];
        let seals = self.segments.iter().flat_map(|segment| {
            let Segment {
                base, generation, ..
            } = *segment;
            let changed = Edit::Generation(Generation { base, generation });
            let seal = segment.seal.clone().map(Edit::Seal);
            (generation > 0).then_some(changed).into_iter().chain(seal)
        });
        let epochs = self.epochs.iter().copied().map(Edit::Epoch);
        let settings = self.settings.iter().map(|(key, value)| {
            let changes = BTreeMap::from([(key.clone(), Some(value.clone()))]);
            Edit::Settings(Settings { changes })
        });
        let scrubbed = self.scrubbed.map(|time| Edit::Scrubbed(Scrubbed { time }));
        let segments = begin.into_iter().flatten().chain(adds).chain(seals);
        segments.chain(epochs).chain(settings).chain(scrubbed)
    }
}
