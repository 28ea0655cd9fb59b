//! Damage, and how a manifest remembers it: as a setting of the partition, `damage.<segment>.<from>` = `<to>`, all
//! three offsets in decimal.

use std::ops::{Deref, Range};

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
        (key((self.segment, self.from)), Some(self.to.to_string()))
    }

    /// Whether all of `other` lies in it.
    pub(crate) fn holds(&self, other: &Self) -> bool {
        self.segment == other.segment && self.from <= other.from && other.to <= self.to
    }

    /// Whether the two are one range, or none is between them.
    fn touches(&self, other: &Self) -> bool {
        self.segment == other.segment && self.from <= other.to && other.from <= self.to
    }

    /// Where it stands among others.
    pub(crate) fn key(&self) -> (Offset, Offset, Offset) {
        (self.segment, self.from, self.to)
    }
}

/// Known damage, in order: by segment, and in each by offset. There may be a range for each other batch of a large segment,
/// so none is looked for from the first on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    all: Vec<Damage>,
    /// Whether a range may lie in another that is kept apart from it: where they end does not rise then as where they begin.
    is_nested: bool,
}

impl Deref for Known {
    type Target = [Damage];

    fn deref(&self) -> &[Damage] {
        &self.all
    }
}

impl FromIterator<Damage> for Known {
    fn from_iter<I: IntoIterator<Item = Damage>>(all: I) -> Self {
        let mut all: Vec<_> = all.into_iter().collect();
        all.sort_unstable_by_key(Damage::key);
        let mut known = Self::default();
        for damage in all {
            known.join(damage, |_| false);
        }
        known
    }
}

impl Known {
    /// Adds a range: as one with those of its segment that it touches and that are not kept apart. A rotten segment that is
    /// read batch by batch is one range, not as many as it has batches. Returns where ranges begin that begin there no more,
    /// or end elsewhere now; `None` if all of it lies in one of them.
    pub(crate) fn join(
        &mut self,
        found: Damage,
        is_apart: impl Fn(&Damage) -> bool,
    ) -> Option<Vec<Place>> {
        let range = self.near(&found);
        let near = self.all.get(range.clone()).unwrap_or_default();
        if near.iter().any(|known| known.holds(&found)) {
            return None;
        }
        let (mut joined, mut apart, mut changed) = (found, Vec::new(), Vec::new());
        for known in near {
            if !found.touches(known) || is_apart(known) {
                apart.push(*known);
                continue;
            }
            joined.from = joined.from.min(known.from);
            joined.to = joined.to.max(known.to);
            changed.push((known.segment, known.from));
        }
        changed.push((joined.segment, joined.from));
        self.is_nested |= apart.iter().any(|known| joined.holds(known));
        let at = apart.partition_point(|known| known.key() < joined.key());
        apart.insert(at, joined);
        self.all.splice(range, apart);
        Some(changed)
    }

    /// The damage of a segment.
    pub(crate) fn of(&self, segment: Offset) -> &[Damage] {
        self.all.get(self.range_of(segment)).unwrap_or_default()
    }

    /// The damage of a segment that begins at `from`.
    pub(crate) fn at(&self, (segment, from): Place) -> &[Damage] {
        let start = self
            .all
            .partition_point(|known| (known.segment, known.from) < (segment, from));
        let behind = self.all.get(start..).unwrap_or_default();
        let count = behind.partition_point(|known| (known.segment, known.from) == (segment, from));
        behind.get(..count).unwrap_or_default()
    }

    /// Whether this very range is known.
    pub(crate) fn has(&self, damage: &Damage) -> bool {
        self.all
            .binary_search_by_key(&damage.key(), Damage::key)
            .is_ok()
    }

    /// Whether `offset` lies in damage of `segment`.
    pub(crate) fn covers(&self, segment: Offset, offset: Offset) -> bool {
        let near = self.near(&Damage {
            from: offset,
            to: offset,
            segment,
        });
        let mut near = self.all.get(near).unwrap_or_default().iter();
        near.any(|known| known.from <= offset && offset < known.to)
    }

    /// Keeps those for which `is_kept` holds. Returns where the others begin.
    pub(crate) fn keep(&mut self, is_kept: impl Fn(&Damage) -> bool) -> Vec<Place> {
        let gone = self.all.iter().filter(|known| !is_kept(known));
        let gone = gone.map(|known| (known.segment, known.from)).collect();
        self.all.retain(is_kept);
        gone
    }

    /// Forgets damage from `offset` on: other bytes will stand there.
    pub(crate) fn cut(&mut self, offset: Offset) {
        cut(&mut self.all, offset);
    }

    /// Where those of a segment lie that touch `found`; others may lie between them.
    fn near(&self, found: &Damage) -> Range<usize> {
        let range = self.range_of(found.segment);
        let of = self.all.get(range.clone()).unwrap_or_default();
        let end = of.partition_point(|known| known.from <= found.to);
        let start = match self.is_nested {
            true => 0,
            false => of.partition_point(|known| known.to < found.from),
        };
        range.start + start.min(end)..range.start + end
    }

    fn range_of(&self, segment: Offset) -> Range<usize> {
        let start = self.all.partition_point(|known| known.segment < segment);
        let end = self.all.partition_point(|known| known.segment <= segment);
        start..end
    }
}

/// Forgets damage from `offset` on: other bytes will stand there.
pub(crate) fn cut(known: &mut Vec<Damage>, offset: Offset) {
    known.retain(|damage| damage.from < offset);
    for damage in known {
        damage.to = damage.to.min(offset);
    }
}

/// A segment, and where damage of it begins.
pub(crate) type Place = (Offset, Offset);

/// The place of the damage that a setting called `key` is of.
pub(crate) fn place(key: &str) -> Option<Place> {
    let (segment, from) = key.strip_prefix(PREFIX)?.split_once('.')?;
    Some((offset(segment)?, offset(from)?))
}

/// What the setting is called that remembers damage at a place.
pub(crate) fn key((segment, from): Place) -> String {
    format!("{PREFIX}{segment}.{from}")
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

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;

    fn range(rng: &mut Rng) -> Damage {
        let from = rng.u64(0..60);
        let to = from + rng.u64(1..8);
        let [from, to] = [from, to].map(|at| Offset::new(at).unwrap());
        let segment = Offset::new(100 * rng.u64(0..3)).unwrap();
        Damage { from, to, segment }
    }

    /// Adds a range by looking at each one. Whether it was new.
    fn add(all: &mut Vec<Damage>, found: Damage, apart: &[Damage]) -> bool {
        if all.iter().any(|known| known.holds(&found)) {
            return false;
        }
        let mut joined = found;
        all.retain(|known| {
            let is_met = found.touches(known) && !apart.contains(known);
            if is_met {
                joined.from = joined.from.min(known.from);
                joined.to = joined.to.max(known.to);
            }
            !is_met
        });
        all.push(joined);
        all.sort_by_key(Damage::key);
        true
    }

    fn places(all: &[Damage]) -> Vec<Place> {
        all.iter().map(|it| (it.segment, it.from)).collect()
    }

    #[test]
    fn ranges_are_joined_as_by_looking_at_each_of_them() {
        let mut nested = 0;
        for seed in 0..2_000 {
            let mut rng = Rng::with_seed(seed);
            let (mut known, mut all, mut apart) = (Known::default(), Vec::new(), Vec::new());
            for _ in 0..40 {
                let found = range(&mut rng);
                match rng.u32(0..10) {
                    0 => {
                        known.cut(found.to);
                        cut(&mut all, found.to);
                    }
                    1 => {
                        let gone = known.keep(|known| known.from != found.from);
                        let before = places(&all);
                        all.retain(|known| known.from != found.from);
                        assert_eq!(gone.len(), before.len() - all.len());
                    }
                    choice => {
                        // What is kept apart from others is so from each of them.
                        if seed % 2 == 0 && choice < 4 {
                            apart.push(found);
                        }
                        let before = all.clone();
                        let is_apart = |known: &Damage| apart.contains(known);
                        let changed = known.join(found, is_apart);
                        assert_eq!(changed.is_some(), add(&mut all, found, &apart));
                        let changed = changed.unwrap_or_default();
                        let gone = before.iter().filter(|it| !all.contains(it));
                        let came = all.iter().filter(|it| !before.contains(it));
                        for it in gone.chain(came) {
                            assert!(changed.contains(&(it.segment, it.from)), "seed {seed}");
                        }
                    }
                }
                assert_eq!(known.to_vec(), all, "seed {seed}");
                nested += u32::from(known.is_nested);
                let is_in = |it: &&Damage| it.from <= found.from && found.from < it.to;
                let mut of = all.iter().filter(|it| it.segment == found.segment);
                assert_eq!(known.of(found.segment).len(), of.clone().count());
                assert_eq!(
                    known.covers(found.segment, found.from),
                    of.any(|it| is_in(&it))
                );
                assert_eq!(known.has(&found), all.contains(&found));
                let place = (found.segment, found.from);
                let at = all.iter().filter(|it| (it.segment, it.from) == place);
                assert_eq!(known.at(place).len(), at.count());
            }
        }
        assert!(1_000 < nested, "{nested}");
    }
}
