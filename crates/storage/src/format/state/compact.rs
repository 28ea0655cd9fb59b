//! A state as edits again, for a manifest that is written anew.

use std::collections::BTreeMap;

use super::{Segment, State};
use crate::format::edit::{Edit, Generation, Scrubbed, Settings, Start};

impl State {
    /// The fewest edits that lead from a new state to this one.
    #[must_use]
    pub fn edits(&self) -> Vec<Edit> {
        let mut edits = vec![Edit::Restart(self.floor)];
        let adds = self
            .segments
            .iter()
            .map(|segment| Edit::Add(segment.start().into()));
        edits.extend(adds);
        if self.log_start != self.floor.offset {
            // Behind the first segment and before any end is known, so that none goes: a segment
            // sealed just at the log start stays until the next move.
            edits.insert(
                2,
                Edit::Truncate(Start {
                    start: self.log_start,
                }),
            );
        }
        for segment in &self.segments {
            if segment.generation > 0 {
                let Segment {
                    base, generation, ..
                } = *segment;
                edits.push(Edit::Generation(Generation { base, generation }));
            }
            edits.extend(segment.seal.clone().map(Edit::Seal));
        }
        edits.extend(self.epochs.iter().copied().map(Edit::Epoch));
        let settings = self.settings.iter();
        edits.extend(settings.map(|(key, value)| {
            let changes = BTreeMap::from([(key.clone(), Some(value.clone()))]);
            Edit::Settings(Settings { changes })
        }));
        let scrubbed = self.scrubbed.map(|time| Edit::Scrubbed(Scrubbed { time }));
        edits.extend(scrubbed);
        edits
    }
}
