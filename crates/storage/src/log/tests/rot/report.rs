//! How each kind of rot was met.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::harm::Harm;

/// How a change was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Met {
    /// All is served as it was.
    Served,
    /// What is bad is told as damage; all else is served.
    Damaged,
    /// What is not served went to quarantine, as torn or as a file that nothing names.
    Quarantined,
    /// The partition does not open, and says why.
    Refused,
    /// Records newer than the mark are gone without a trace: nothing had witnessed them.
    Unwitnessed,
}

#[derive(Default)]
pub(super) struct Report(BTreeMap<Harm, BTreeMap<Met, usize>>);

impl Report {
    pub(super) fn note(&mut self, harm: Harm, met: Met) {
        *self.0.entry(harm).or_default().entry(met).or_default() += 1;
    }

    /// How often something was met so.
    pub(super) fn count(&self, met: Met) -> usize {
        self.0.values().filter_map(|counts| counts.get(&met)).sum()
    }

    pub(super) fn total(&self) -> usize {
        self.0.values().flat_map(BTreeMap::values).sum()
    }

    /// Whether the structure occurs.
    pub(super) fn has(&self, structure: &str) -> bool {
        self.0.keys().any(|(name, _)| name.starts_with(structure))
    }

    /// As a table.
    pub(super) fn markdown(&self) -> String {
        let mut text = String::from(
            "| what | how | changes | served | damaged | quarantined | refused | unwitnessed |\n\
             |---|---|---|---|---|---|---|---|\n",
        );
        for ((what, how), counts) in &self.0 {
            let count = |met| counts.get(&met).copied().unwrap_or(0);
            let all: usize = counts.values().sum();
            let _infallible = writeln!(
                text,
                "| {what} | {how} | {all} | {} | {} | {} | {} | {} |",
                count(Met::Served),
                count(Met::Damaged),
                count(Met::Quarantined),
                count(Met::Refused),
                count(Met::Unwitnessed),
            );
        }
        text
    }
}
