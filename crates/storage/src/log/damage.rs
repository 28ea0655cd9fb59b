//! Damage that is found while the log is open: readers get it at once, the manifest by a chore.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use corelog_record::Offset;

use super::held::Held;
use super::work::Work;
use super::{Damage, Event, Log};
use crate::Error;
use crate::disk::Dir;
use crate::format::damage::{EDIT_MAX, place};
use crate::format::edit::{Edit, Settings};

/// Damage that reads have met and the log has not heard of yet; shared with the plans of reads.
#[derive(Debug, Clone, Default)]
pub(super) struct Found(Rc<RefCell<Vec<Damage>>>);

impl Found {
    /// Notes damage, unless too much waits: who reads there again meets it again.
    pub(super) fn note(&self, damage: Damage) {
        let mut found = self.0.borrow_mut();
        if found.len() < FOUND_MAX && !found.contains(&damage) {
            found.push(damage);
        }
    }
}

impl From<Damage> for Error {
    fn from(Damage { from, to, segment }: Damage) -> Self {
        Self::Damaged { from, to, segment }
    }
}

impl<D: Dir> Log<D> {
    /// Notes the damage that reads have met since this was last done.
    pub(super) fn note_found(&mut self) {
        let found = std::mem::take(&mut *self.found.0.borrow_mut());
        for damage in found {
            self.note_damage(damage);
        }
    }

    /// Notes damage: from now on reads inside answer [`super::ReadError::Damaged`], and the next
    /// chores have the manifest remember it. Returns whether it is new.
    ///
    /// It becomes one range with what it touches, but for what may be forgotten by itself.
    pub fn note_damage(&mut self, found: Damage) -> bool {
        self.scrub.met(&found);
        let (unread, scrub) = (&self.unread, &self.scrub);
        let is_unread = |known: &Damage| unread.contains(known) && !found.holds(known);
        let is_apart = |known: &Damage| is_unread(known) || scrub.may_forget(known);
        if found.to <= self.log_start || !found.join(&mut self.damage, is_apart) {
            return false;
        }
        // All of it is to be remembered; what the disk did not give is not, unless it lies in what is.
        self.unread.retain(|unread| !found.holds(unread));
        self.is_damage_unwritten = true;
        self.events.note(Event::Damage(found));
        true
    }

    /// The known damage of a segment.
    pub(super) fn damage_of(&self, segment: Offset) -> Vec<Damage> {
        let is_of = |known: &&Damage| known.segment == segment;
        self.damage.iter().filter(is_of).copied().collect()
    }

    /// Forgets damage of a segment that was read whole since it was known, and every byte of it right: what was read wrongly
    /// before was not the disk's. The next chores have the manifest forget it.
    pub(super) fn forget_damage(&mut self, gone: &[Damage]) {
        let before = self.damage.len();
        self.keep_damage(|known| !gone.contains(known));
        self.is_damage_unwritten |= self.damage.len() < before;
    }

    /// Keeps only the damage for which `is_kept` holds, and what of it no manifest is to remember.
    pub(super) fn keep_damage(&mut self, is_kept: impl Fn(&Damage) -> bool) {
        self.damage.retain(&is_kept);
        self.unread.retain(is_kept);
    }

    /// Damage that the manifest does not remember yet, or still does.
    pub(super) fn plan_damage(&mut self) -> Option<Work<D>> {
        let Held::Here(manifest) = &self.manifest else {
            return None;
        };
        if !self.is_damage_unwritten {
            return None;
        }
        let known = manifest.state().settings();
        let read = self.damage.iter().filter(|it| !self.unread.contains(it));
        let settings = read.map(Damage::setting);
        let new = settings.filter(|(key, to)| known.get(key) != to.as_ref());
        let is_known = |place| self.damage.iter().any(|d| (d.segment, d.from) == place);
        let is_stale = |key: &&String| place(key).is_some_and(|place| !is_known(place));
        let stale = known.keys().filter(is_stale);
        let changes = new.chain(stale.map(|key| (key.clone(), None)));
        let changes: BTreeMap<_, _> = changes.take(EDIT_MAX).collect();
        if changes.is_empty() {
            self.is_damage_unwritten = false;
            return None;
        }
        self.edit(Edit::Settings(Settings { changes }))
    }
}

/// So many ranges wait to be noted at most.
const FOUND_MAX: usize = 64;
