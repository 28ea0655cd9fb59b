//! What is under way, and what breaks the laws of the disk.

use ::std::fmt;
use ::std::ops::Range;

use super::{Faults, Operation};

/// A law broken by the program, not by the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Breach {
    /// Two operations under way changed the same block: which of them wins, nobody knows.
    Overlap {
        /// The file, as it was called when it was opened.
        name: String,
        /// The operation that came second.
        operation: Operation,
        /// The bytes that it changes.
        range: Range<u64>,
        /// The operation that was under way.
        other: Operation,
        /// The bytes that that one changes.
        other_range: Range<u64>,
    },
    /// A write went where no space was prepared: it may fail for want of space, and waits for
    /// metadata.
    Unprepared {
        /// The file, as it was called when it was opened.
        name: String,
        /// The bytes without space.
        range: Range<u64>,
    },
}

impl Breach {
    /// The file, as it was called when it was opened.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Overlap { name, .. } | Self::Unprepared { name, .. } => name,
        }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overlap {
                name,
                operation,
                range,
                other,
                other_range,
            } => write!(
                f,
                "{operation:?} of {name} at {range:?} while {other:?} at {other_range:?} is under way"
            ),
            Self::Unprepared { name, range } => {
                write!(
                    f,
                    "a write of {name} at {range:?}, where no space is prepared"
                )
            }
        }
    }
}

/// Operations under way that change files.
#[derive(Debug, Default)]
pub(super) struct Flights {
    flying: Vec<Flying>,
    numbers: u64,
}

#[derive(Debug)]
struct Flying {
    number: u64,
    file: u64,
    operation: Operation,
    range: Range<u64>,
}

/// An operation under way. Dropped, it is over.
#[derive(Debug)]
pub(super) struct Flight {
    number: u64,
    faults: Faults,
}

impl Flights {
    /// Adds an operation. Returns its number, and one that it gets in the way of.
    pub(super) fn add(
        &mut self,
        file: u64,
        operation: Operation,
        range: Range<u64>,
    ) -> (u64, Option<(Operation, Range<u64>)>) {
        let overlaps = |other: &&Flying| {
            other.file == file && other.range.start < range.end && range.start < other.range.end
        };
        let other = self.flying.iter().find(overlaps);
        let other = other.map(|other| (other.operation, other.range.clone()));
        self.numbers += 1;
        let number = self.numbers;
        self.flying.push(Flying {
            number,
            file,
            operation,
            range,
        });
        (number, other)
    }

    pub(super) fn remove(&mut self, number: u64) {
        self.flying.retain(|flying| flying.number != number);
    }
}

impl Flight {
    pub(super) fn new(number: u64, faults: Faults) -> Self {
        Self { number, faults }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.faults.land(self.number);
    }
}
