//! The rows of an index in memory.

use std::ops::Range;

use super::{Builder, Rows, made};
use crate::disk::map::Map;
use crate::format::index::{self as format, Row};

/// The rows of an index that was loaded.
pub(crate) enum Loaded {
    /// The file, checked.
    Mapped(Map),
    /// Rebuilt from the store, because the file is missing or wrong.
    Rebuilt(Builder),
    /// The same, and the disk does not give all that may lead to more of them. They are not written, and made again once it
    /// gives the first of that, or the file, if they do not lead far enough.
    Partial(Builder, Lost),
}

/// What the disk did not give of what may lead to rows.
pub(crate) struct Lost {
    /// The first bytes of the store, if some of them.
    pub(super) of_store: Option<Range<u64>>,
    /// Whether it was the file of the rows, or some of them.
    pub(super) is_file: bool,
}

impl Loaded {
    /// What it counts in the table of maps, in bytes.
    pub(super) fn weight(&self) -> usize {
        MAP_BYTES + self.count() * format::ROW_BYTES
    }

    /// Whether there may be more once the disk gives all.
    pub(crate) fn is_partial(&self) -> bool {
        matches!(self, Self::Partial(..))
    }

    /// Whether there may be more now that the disk gives these bytes of the store.
    pub(crate) fn wait_for(&self, given: &Range<u64>) -> bool {
        let Self::Partial(_, Lost { of_store, .. }) = self else {
            return false;
        };
        let is_given = |lost: &Range<u64>| given.start <= lost.start && lost.end <= given.end;
        of_store.as_ref().is_some_and(is_given)
    }

    /// All rows, in memory.
    pub(crate) fn to_vec(&self) -> Vec<Row> {
        made::all(self).collect()
    }
}

impl Rows for Loaded {
    fn count(&self) -> usize {
        match self {
            Self::Mapped(map) => format::row_count(map),
            Self::Rebuilt(rows) | Self::Partial(rows, _) => rows.count(),
        }
    }

    fn row(&self, number: usize) -> Option<Row> {
        match self {
            Self::Mapped(map) => format::row(map, number)?.ok(),
            Self::Rebuilt(rows) | Self::Partial(rows, _) => rows.row(number),
        }
    }
}

/// What a map costs besides its rows, in bytes: its header, the rest of its last page, and what the
/// kernel keeps of it; the kernel also bounds how many there are.
const MAP_BYTES: usize = 16 << 10;
