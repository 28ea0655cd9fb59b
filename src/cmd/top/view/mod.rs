//! What there is to see: one file for the rows of each view.
//!
//! ```text
//! core        how busy each core is, what waits there, how long its syncs take
//! topic       partitions of a topic taken together
//! partition   rates, size and lag of each
//! connection  who is connected, and what moves
//! copy        what is copied from other nodes, and by them
//! slow        the slowest acknowledgements, and where their time went
//! ```
//!
//! A row is what the node told, with the rates that two polls give. It knows its columns, what is
//! searched by a filter, and its details; how these are drawn it does not know.

pub(super) mod connection;
pub(super) mod copy;
pub(super) mod core;
pub(super) mod partition;
pub(super) mod slow;
pub(super) mod topic;

use std::fmt;

use clap::ValueEnum;

use super::column::{Column, Kind};
use super::picture::Picture;
use super::theme::Tone;
use crate::output::fit;

/// The views, in the order of their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum View {
    Cores,
    Topics,
    Partitions,
    Connections,
    Clones,
    Slowest,
}

/// What the rows of another view are narrowed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Core(u64),
    Topic(String),
}

impl fmt::Display for Scope {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Core(core) => write!(out, "core {core}"),
            Self::Topic(topic) => write!(out, "topic {topic}"),
        }
    }
}

/// A row of a view.
pub(super) trait Row: Sized + 'static {
    /// Its columns, the one it is sorted by at first among them.
    const COLUMNS: &'static [Column<Self>];
    /// The heading of the column it is sorted by at first.
    const SORT: &'static str;
    /// What it means that there are none.
    const NONE: &'static str;

    /// What names it from poll to poll.
    fn key(&self) -> String;

    /// The words that a filter is looked for in.
    fn words(&self) -> Vec<&str>;

    /// True if it belongs to what a view is narrowed to.
    fn is_within(&self, _scope: &Scope) -> bool {
        true
    }

    /// What its row leads to, if that is not its details.
    fn leads_to(&self) -> Option<Scope> {
        None
    }

    /// All that is known of it.
    fn facts(&self, picture: &Picture) -> Vec<Fact>;
}

/// One thing that is known, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fact {
    pub(super) name: String,
    pub(super) told: String,
    pub(super) tone: Tone,
}

/// A fact that is as it should be.
#[expect(
    clippy::needless_pass_by_value,
    reason = "callers hand over what they made for it"
)]
pub(super) fn fact(name: &str, told: impl ToString) -> Fact {
    Fact {
        name: name.to_owned(),
        told: crate::output::printable(&told.to_string()),
        tone: Tone::Plain,
    }
}

impl Fact {
    /// The same in a tone.
    pub(super) fn toned(mut self, tone: Tone) -> Self {
        self.tone = tone;
        self
    }

    /// The same in lines of at most `width` characters where it can be broken, the first of them
    /// with its name.
    pub(super) fn lines(&self, width: usize) -> Vec<Self> {
        if self.told.chars().count() <= width {
            return vec![self.clone()];
        }
        let names = std::iter::once(&*self.name).chain(std::iter::repeat(""));
        let lines = fit::lines(&self.told, width).into_iter().zip(names);
        lines
            .map(|(line, name)| fact(name, line).toned(self.tone))
            .collect()
    }
}

impl View {
    /// All of them.
    pub(super) const ALL: [Self; 6] = [
        Self::Cores,
        Self::Topics,
        Self::Partitions,
        Self::Connections,
        Self::Clones,
        Self::Slowest,
    ];

    /// Its place among them.
    pub(super) const fn index(self) -> usize {
        self as usize
    }

    /// Its name.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Cores => "Cores",
            Self::Topics => "Topics",
            Self::Partitions => "Partitions",
            Self::Connections => "Connections",
            Self::Clones => "Clones",
            Self::Slowest => "Slowest",
        }
    }

    /// The columns it can be sorted by: their places, and their names for `--sort`.
    pub(super) fn sorts(self) -> Vec<(usize, String)> {
        fn names<R: Row>() -> Vec<(usize, String)> {
            let columns = R::COLUMNS.iter().enumerate();
            let sorted = columns.filter(|(_, column)| column.kind != Kind::Drawing);
            sorted
                .map(|(index, column)| (index, column.sort_name()))
                .collect()
        }
        match self {
            Self::Cores => names::<core::Core>(),
            Self::Topics => names::<topic::Topic>(),
            Self::Partitions => names::<partition::Partition>(),
            Self::Connections => names::<connection::Connection>(),
            Self::Clones => names::<copy::Copy>(),
            Self::Slowest => names::<slow::Slow>(),
        }
    }

    /// The column it is sorted by at first.
    pub(super) fn sort_at_first(self) -> usize {
        fn at_first<R: Row>() -> usize {
            let mut heads = R::COLUMNS.iter().map(|column| column.head);
            heads.position(|head| head == R::SORT).unwrap_or_default()
        }
        match self {
            Self::Cores => at_first::<core::Core>(),
            Self::Topics => at_first::<topic::Topic>(),
            Self::Partitions => at_first::<partition::Partition>(),
            Self::Connections => at_first::<connection::Connection>(),
            Self::Clones => at_first::<copy::Copy>(),
            Self::Slowest => at_first::<slow::Slow>(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_view_is_sorted_at_first_by_a_column_it_has() {
        fn check<R: Row>(view: View) {
            assert_eq!(R::COLUMNS[view.sort_at_first()].head, R::SORT);
            let mut names: Vec<_> = view.sorts().into_iter().map(|(_, name)| name).collect();
            let count = names.len();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), count, "two columns of one name");
            assert!(R::COLUMNS.iter().any(|column| column.rank == 0));
        }
        check::<core::Core>(View::Cores);
        check::<topic::Topic>(View::Topics);
        check::<partition::Partition>(View::Partitions);
        check::<connection::Connection>(View::Connections);
        check::<copy::Copy>(View::Clones);
        check::<slow::Slow>(View::Slowest);
        for (index, view) in View::ALL.into_iter().enumerate() {
            assert_eq!(view.index(), index);
        }
    }
}
