//! Which disks were seen.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::hash::{Hash, Hasher};

use super::super::model::Model;
use super::kind::Kind;

/// Distinct disks, by their hash.
#[derive(Debug, Default)]
pub(in super::super) struct Tally {
    of_kind: BTreeMap<Kind, HashSet<u64>>,
    /// Left by a crash during or after the recovery of another one.
    again: HashSet<u64>,
    judged: HashSet<(u64, u64)>,
    recoveries: usize,
}

impl Tally {
    /// Notes a disk that a power cut during an operation of `kind` may leave. Returns whether it
    /// has to be judged: it was not yet, with these promises.
    pub(super) fn note(&mut self, kind: Kind, hash: u64, promised: &Model) -> bool {
        self.of_kind.entry(kind).or_default().insert(hash);
        let mut hasher = DefaultHasher::new();
        promised.hash(&mut hasher);
        self.judged.insert((hash, hasher.finish()))
    }

    /// Notes a disk that a second crash may leave.
    pub(super) fn note_again(&mut self, hash: u64) {
        self.again.insert(hash);
    }

    /// Notes that a log was opened.
    pub(super) fn note_recovery(&mut self) {
        self.recoveries += 1;
    }

    /// Takes in what another one saw.
    pub(super) fn absorb(&mut self, other: Self) {
        for (kind, hashes) in other.of_kind {
            self.of_kind.entry(kind).or_default().extend(hashes);
        }
        self.again.extend(other.again);
        self.recoveries += other.recoveries;
    }

    /// Distinct disks of `kind`.
    pub(super) fn distinct(&self, kind: Kind) -> usize {
        self.of_kind.get(&kind).map_or(0, HashSet::len)
    }

    /// Distinct disks of all kinds.
    pub(super) fn first(&self) -> usize {
        self.of_kind
            .values()
            .flatten()
            .collect::<HashSet<_>>()
            .len()
    }

    /// Distinct disks of all kinds and of second crashes.
    pub(super) fn total(&self) -> usize {
        let all = self.of_kind.values().flatten().chain(&self.again);
        all.collect::<HashSet<_>>().len()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (total, again) = (self.total(), self.again.len());
        write!(f, "{total} distinct disks, {again} of second crashes, ")?;
        writeln!(f, "{} logs opened", self.recoveries)?;
        for (kind, hashes) in &self.of_kind {
            writeln!(f, "  {:>8}  {kind:?}", hashes.len())?;
        }
        Ok(())
    }
}
