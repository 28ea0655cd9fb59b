//! Damage, and how a manifest remembers it: as a setting of the partition, `damage.<segment>.<from>` = `<to>`, all
//! three offsets in decimal.

use corelog_record::Offset;

use super::edit::{Edit, Settings};

/// Offsets that were promised and cannot be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damage {
    /// The first damaged offset.
    pub from: Offset,
    /// The first offset behind the damage, as far as is known.
    pub to: Offset,
    /// The base offset of the segment.
    pub segment: Offset,
}

impl Damage {
    /// What a setting remembers, if it is of damage.
    pub(crate) fn of(key: &str, value: &str) -> Option<Self> {
        let (segment, from) = place(key)?;
        let to = offset(value)?;
        Some(Self { from, to, segment })
    }

    /// The change of the settings that remembers it.
    pub(crate) fn setting(&self) -> (String, Option<String>) {
        let Self { from, to, segment } = self;
        (format!("{PREFIX}{segment}.{from}"), Some(to.to_string()))
    }

    /// Whether all of `other` lies in it.
    pub(crate) fn holds(&self, other: &Self) -> bool {
        self.segment == other.segment && self.from <= other.from && other.to <= self.to
    }

    /// Whether the two are one range, or none is between them.
    fn touches(&self, other: &Self) -> bool {
        self.segment == other.segment && self.from <= other.to && other.from <= self.to
    }

    /// Adds it to known ranges, which are in order: as one with those of its segment that it touches and that are not kept
    /// apart. A rotten segment that is read batch by batch is one range, not as many as it has batches. False if all of it
    /// lies in one of them.
    pub(crate) fn join(mut self, known: &mut Vec<Self>, is_apart: impl Fn(&Self) -> bool) -> bool {
        if known.iter().any(|known| known.holds(&self)) {
            return false;
        }
        let found = self;
        known.retain(|known| {
            let is_met = found.touches(known) && !is_apart(known);
            if is_met {
                self.from = self.from.min(known.from);
                self.to = self.to.max(known.to);
            }
            !is_met
        });
        let at = known.partition_point(|known| known.from < self.from);
        known.insert(at, self);
        true
    }
}

/// Forgets damage from `offset` on: other bytes will stand there.
pub(crate) fn cut(known: &mut Vec<Damage>, offset: Offset) {
    known.retain(|damage| damage.from < offset);
    for damage in known {
        damage.to = damage.to.min(offset);
    }
}

/// The segment and the first offset of the damage that a setting called `key` is of.
pub(crate) fn place(key: &str) -> Option<(Offset, Offset)> {
    let (segment, from) = key.strip_prefix(PREFIX)?.split_once('.')?;
    Some((offset(segment)?, offset(from)?))
}

fn offset(text: &str) -> Option<Offset> {
    text.parse().ok().and_then(Offset::new)
}

/// The edits by which a manifest remembers `damage`.
pub(crate) fn edits(damage: &[Damage]) -> Vec<Edit> {
    let edit = |damage: &[Damage]| {
        let changes = damage.iter().map(Damage::setting).collect();
        Edit::Settings(Settings { changes })
    };
    damage.chunks(EDIT_MAX).map(edit).collect()
}

/// So many ranges fit into one edit, whatever their offsets.
pub(crate) const EDIT_MAX: usize = 32;

const PREFIX: &str = "damage.";
