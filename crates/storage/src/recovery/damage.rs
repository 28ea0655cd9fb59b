//! Damage that is found, and that was found before: the manifest remembers it, so that a clean stop does not hide it.

use corelog_record::Offset;

use super::survey::Survey;
use super::{Findings, Recovery};
use crate::Error;
use crate::disk::Dir;
use crate::format::damage::{self, Damage, Known, edits};
use crate::log::Event;
use crate::store::Store;

impl Findings {
    /// Whether the log is read-only, and the disk did not give all of it.
    pub(super) fn ends_before_unread(&self) -> bool {
        self.read_only_from.is_some() && !self.unread.is_empty()
    }

    /// Whether the disk did not give all of the segment that begins at `base`.
    pub(super) fn is_unread(&self, base: Offset) -> bool {
        self.unread.iter().any(|unread| unread.segment == base)
    }

    /// Forgets damage from `offset` on: other bytes will stand there.
    pub(super) fn cut_damage(&mut self, offset: Offset) {
        self.damage.cut(offset);
        damage::cut(&mut self.unread, offset);
    }
}

impl<D: Dir> Recovery<D> {
    /// Notes damage, unless it is known already.
    pub(super) fn note_damage(&mut self, found: Damage) {
        let unread = &self.findings.unread;
        let is_unread = |known: &Damage| unread.contains(known) && !found.holds(known);
        let is_apart = |known: &Damage| unread.contains(&found) || is_unread(known);
        if self.findings.damage.join(found, is_apart).is_some() {
            self.findings.events.note(Event::Damage(found));
        }
    }

    /// Has a `survey` step over what is bad, as [`Survey::resync`] does, and tells what the disk did not give on the way.
    pub(super) async fn resync(
        &mut self,
        store: &Store<D>,
        survey: &mut Survey<D>,
    ) -> Result<bool, Error> {
        let is_told = survey.unread().is_some();
        let is_over = self.reading(survey.resync()).await?;
        if !is_told {
            self.note_unread(store, survey);
        }
        Ok(is_over)
    }

    /// Tells what the disk did not give where `survey` stopped, if something.
    pub(super) fn note_unread(&mut self, store: &Store<D>, survey: &Survey<D>) {
        if let Some(unread) = survey.unread() {
            self.findings.events.note(Event::Unread {
                file: store.name().to_owned(),
                position: unread.position,
                why: unread.error.cause(),
            });
        }
    }

    /// Makes the manifest remember the damage found, but for what the disk did not give: it is asked again.
    pub(super) async fn remember(&mut self) -> Result<(), Error> {
        let known: Known = self.manifest.state().damage().into_iter().collect();
        let unread = &self.findings.unread;
        let is_new = |damage: &&Damage| !known.has(damage) && !unread.contains(damage);
        let new = self.findings.damage.iter().filter(is_new);
        let new: Vec<_> = new.copied().collect();
        for edit in edits(&new) {
            self.manifest.append(&edit).await?;
        }
        Ok(())
    }
}
