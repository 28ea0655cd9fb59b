//! A segment, as far as a manifest knows it.

use corelog_record::{Chain, Offset, Ordinal};

use crate::format::edit::{Point, Seal};

/// A segment that a manifest names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The offset of its first record.
    pub base: Offset,
    /// The ordinal of its first batch.
    pub ordinal: Ordinal,
    /// The chain before its first batch.
    pub chain: Chain,
    /// Which of its files holds: 0 is `<base>.log`, n is `<base>.<n>.log`.
    pub generation: u32,
    /// What it holds, once it is sealed.
    pub seal: Option<Seal>,
}

impl Segment {
    /// Where it begins.
    #[must_use]
    pub fn start(&self) -> Point {
        Point {
            offset: self.base,
            ordinal: self.ordinal,
            chain: self.chain,
        }
    }
}
