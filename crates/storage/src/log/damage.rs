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
use crate::format::damage::{EDIT_MAX, Known, Place, key, place};
use crate::format::edit::{Edit, Settings};

/// Damage that reads have met and the log has not heard of yet; shared with the plans of reads.
#[derive(Debug, Clone, Default)]
pub(super) struct Found(Rc<RefCell<Vec<Damage>>>);

impl Found {
    /// Notes the damage that a read came to, if it did, unless too much waits: who reads there again meets it again.
    pub(super) fn met<T>(&self, read: Result<T, Error>) -> Result<T, Error> {
        if let Err(Error::Damaged { from, to, segment }) = read {
            let (damage, mut found) = (Damage { from, to, segment }, self.0.borrow_mut());
            if found.len() < FOUND_MAX && !found.contains(&damage) {
                found.push(damage);
            }
        }
        read
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
        if found.to <= self.log_start {
            return false;
        }
        let Some(mut changed) = self.damage.join(found, is_apart) else {
            return false;
        };
        // All of it is to be remembered; what the disk did not give is not, unless it lies in what is.
        let held = self.unread.iter().filter(|unread| found.holds(unread));
        changed.extend(held.map(|unread| (unread.segment, unread.from)));
        self.unread.retain(|unread| !found.holds(unread));
        self.unwrite(changed);
        self.events.note(Event::Damage(found));
        true
    }

    /// The known damage of a segment.
    pub(super) fn damage_of(&self, segment: Offset) -> Vec<Damage> {
        self.damage.of(segment).to_vec()
    }

    /// Forgets damage of a segment that was read whole since it was known, and every byte of it right: what was read wrongly
    /// before was not the disk's. It is in order. The next chores have the manifest forget it.
    pub(super) fn forget_damage(&mut self, gone: &[Damage]) {
        let is_gone = |known: &Damage| gone.binary_search_by_key(&known.key(), Damage::key).is_ok();
        let places = self.keep_damage(|known| !is_gone(known));
        self.unwrite(places);
    }

    /// Keeps only the damage for which `is_kept` holds, and what of it no manifest is to remember. Returns where the other
    /// begins.
    pub(super) fn keep_damage(&mut self, is_kept: impl Fn(&Damage) -> bool) -> Vec<Place> {
        let places = self.damage.keep(&is_kept);
        self.unread.retain(is_kept);
        places
    }

    /// Notes that the manifest may remember something else of all damage than is known.
    pub(super) fn unwrite_all(&mut self) {
        let known = self.damage.iter().map(|known| (known.segment, known.from));
        let settings = self.manifest.get().map(|it| it.state().settings());
        let remembered = settings.into_iter().flatten();
        let remembered = remembered.filter_map(|(key, _)| place(key));
        let places = known.chain(remembered).collect();
        self.unwrite(places);
    }

    /// Notes that the manifest may remember something else of damage at these places than is known.
    fn unwrite(&mut self, places: Vec<Place>) {
        self.unwritten.extend(places);
    }

    /// Damage that the manifest does not remember yet, or still does.
    pub(super) fn plan_damage(&mut self) -> Option<Work<D>> {
        self.pass_over_written();
        let places = self.unwritten.iter().take(EDIT_MAX);
        let changes: BTreeMap<_, _> = places
            .filter_map(|at| Some((key(*at), read_at(&self.damage, &self.unread, *at)?)))
            .collect();
        if changes.is_empty() || !matches!(self.manifest, Held::Here(_)) {
            return None;
        }
        self.edit(Edit::Settings(Settings { changes }))
    }

    /// Leaves of what is to be written what the manifest has already. What was not given is not to be remembered, nor is what was
    /// remembered before to be forgotten.
    pub(super) fn pass_over_written(&mut self) {
        let Held::Here(manifest) = &self.manifest else {
            return;
        };
        let (damage, unread) = (&self.damage, &self.unread);
        let known = manifest.state().settings();
        self.unwritten.retain(|at| {
            let read = read_at(damage, unread, *at);
            read.is_some_and(|to| known.get(&key(*at)) != to.as_ref())
        });
    }
}

/// Where damage ends that was read at a place, as the manifest tells it; none inside if there is none. None if all that is known
/// there was not given.
fn read_at(damage: &Known, unread: &[Damage], at: Place) -> Option<Option<String>> {
    let here = damage.at(at);
    let read = here.iter().rfind(|it| !unread.contains(it));
    match read {
        None if !here.is_empty() => None,
        read => Some(read.map(|it| it.to.to_string())),
    }
}

/// So many ranges wait to be noted at most.
const FOUND_MAX: usize = 64;
