//! Which blocks of a file have space on the disk.

use ::std::ops::Range;

/// A set of block indices, as ranges in order that do not touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Spans(Vec<Range<usize>>);

impl Spans {
    /// Adds all of `range`.
    pub(super) fn insert(&mut self, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        let first = self.0.partition_point(|span| span.end < range.start);
        let last = self.0.partition_point(|span| span.start <= range.end);
        let merged = self.0[first..last].iter().fold(range, |all, span| {
            all.start.min(span.start)..all.end.max(span.end)
        });
        self.0.splice(first..last, [merged]);
    }

    /// Drops all from `start` on.
    pub(super) fn cut(&mut self, start: usize) {
        self.0.retain(|span| span.start < start);
        if let Some(last) = self.0.last_mut() {
            last.end = last.end.min(start);
        }
    }

    /// The parts of `range` that are not in the set.
    pub(super) fn missing(&self, range: Range<usize>) -> Vec<Range<usize>> {
        let mut missing = Vec::new();
        let mut next = range.start;
        for span in &self.0 {
            if range.end <= span.start {
                break;
            }
            if next < span.start {
                missing.push(next..span.start);
            }
            next = next.max(span.end);
        }
        if next < range.end {
            missing.push(next..range.end);
        }
        missing
    }

    /// How many blocks are in the set.
    pub(super) fn count(&self) -> usize {
        self.0.iter().map(|span| span.end - span.start).sum()
    }
}
