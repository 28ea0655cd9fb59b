//! Damage that was found before: the manifest remembers it, so that a clean stop does not hide it.
//!
//! Each range is a setting of the partition, see [`crate::format::damage`].

use std::collections::BTreeMap;
use std::error::Error as _;

use corelog_record::Offset;

use super::survey::Survey;
use super::{Findings, Recovery};
use crate::Error;
use crate::disk::Dir;
use crate::format::damage as format;
use crate::format::edit::{Edit, Settings};
use crate::format::state::State;
use crate::log::{Damage, Event};
use crate::store::Store;

impl Findings {
    /// Whether the log ends where it is not known to: it is read-only, and the disk did not give all of it.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.read_only_from.is_some() && !self.unread.is_empty()
    }
}

impl<D: Dir> Recovery<D> {
    /// The damage that the manifest remembers, of what is still there.
    pub(super) fn remembered(&self) -> Vec<Damage> {
        known_damage(self.manifest.state())
    }

    /// Notes damage, unless it is known already.
    pub(super) fn note_damage(&mut self, found: Damage) {
        let unread = &self.findings.unread;
        let is_unread = |known: &Damage| unread.contains(known) && !found.holds(known);
        let is_apart = |known: &Damage| unread.contains(&found) || is_unread(known);
        if found.join(&mut self.findings.damage, is_apart) {
            self.findings.events.note(Event::Damage(found));
        }
    }

    /// Tells what the disk did not give where `survey` stopped, if that is why it did.
    pub(super) fn note_unread(&mut self, store: &Store<D>, survey: &Survey<D>) {
        if let Some(unread) = survey.unread() {
            let why = unread.error.source();
            self.findings.events.note(Event::Unread {
                file: store.name().to_owned(),
                position: survey.point().position,
                why: why.map_or_else(String::new, ToString::to_string),
            });
        }
    }

    /// Makes the manifest remember the damage found, but for what the disk did not give: it is asked again.
    pub(super) async fn remember(&mut self) -> Result<(), Error> {
        let known = self.remembered();
        let unread = &self.findings.unread;
        let is_new = |damage: &&Damage| !known.contains(damage) && !unread.contains(damage);
        let new = self.findings.damage.iter().filter(is_new);
        let new: Vec<_> = new.copied().collect();
        for edit in damage_edits(&new) {
            self.manifest.append(&edit).await?;
        }
        Ok(())
    }
}

/// The damage that a manifest remembers, of what is still there, lowest first.
pub(crate) fn known_damage(state: &State) -> Vec<Damage> {
    let all = state
        .settings()
        .iter()
        .filter_map(|(key, value)| parse(key, value));
    let is_there = |damage: &Damage| {
        let segments = state.segments();
        let is_named = segments
            .iter()
            .any(|segment| segment.base == damage.segment);
        is_named && state.log_start() < damage.to
    };
    let mut known = Vec::new();
    for damage in all.filter(is_there) {
        // Ranges that are told as one by now stand beside it until the log has let go of them.
        damage.join(&mut known, |_| false);
    }
    known
}

/// The edits by which a manifest remembers `damage`.
pub(crate) fn damage_edits(damage: &[Damage]) -> Vec<Edit> {
    let edit = |damage: &[Damage]| {
        let changes = damage.iter().map(|d| (key(d), Some(d.to.to_string())));
        Edit::Settings(Settings {
            changes: changes.collect::<BTreeMap<_, _>>(),
        })
    };
    damage.chunks(EDIT_DAMAGES_MAX).map(edit).collect()
}

/// The setting that remembers `damage`, but for its end.
pub(crate) fn key(damage: &Damage) -> String {
    format::key(damage.segment, damage.from)
}

fn parse(key: &str, value: &str) -> Option<Damage> {
    let (segment, from) = format::parse(key)?;
    let to = value.parse().ok().and_then(Offset::new)?;
    Some(Damage { from, to, segment })
}

/// So many ranges fit into one edit, whatever their offsets.
pub(crate) const EDIT_DAMAGES_MAX: usize = 32;
