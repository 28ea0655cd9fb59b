//! Damage that is found while the log is open: readers get it at once, the manifest by a chore.

use std::collections::BTreeMap;

use super::held::Held;
use super::work::Work;
use super::{Damage, Event, Log};
use crate::disk::Dir;
use crate::format::edit::{Edit, Settings};
use crate::recovery::{EDIT_DAMAGES_MAX, damage_key};

impl<D: Dir> Log<D> {
    /// Notes damage: from now on reads inside answer [`super::ReadError::Damaged`], and the next
    /// chores have the manifest remember it. Returns whether it is new.
    pub fn note_damage(&mut self, found: Damage) -> bool {
        let is_inside = |known: &Damage| {
            known.segment == found.segment && known.from <= found.from && found.to <= known.to
        };
        if found.to <= self.log_start || self.damage.iter().any(is_inside) {
            return false;
        }
        let is_same =
            |known: &&mut Damage| (known.segment, known.from) == (found.segment, found.from);
        match self.damage.iter_mut().find(is_same) {
            Some(known) => known.to = found.to,
            None => {
                let at = self.damage.partition_point(|known| known.from < found.from);
                self.damage.insert(at, found);
            }
        }
        self.is_damage_unwritten = true;
        self.events.note(Event::Damage(found));
        true
    }

    /// Damage that the manifest does not remember yet.
    pub(super) fn plan_damage(&mut self) -> Option<Work<D>> {
        let Held::Here(manifest) = &self.manifest else {
            return None;
        };
        if !self.is_damage_unwritten {
            return None;
        }
        let known = manifest.state().settings();
        let to = |damage: &Damage| damage.to.to_string();
        let is_new = |damage: &&Damage| known.get(&damage_key(damage)) != Some(&to(damage));
        let new = self.damage.iter().filter(is_new).take(EDIT_DAMAGES_MAX);
        let changes: BTreeMap<_, _> = new
            .map(|damage| (damage_key(damage), Some(to(damage))))
            .collect();
        if changes.is_empty() {
            self.is_damage_unwritten = false;
            return None;
        }
        self.edit(Edit::Settings(Settings { changes }))
    }
}
