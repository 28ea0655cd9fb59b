//! A histogram of durations in fixed buckets, with one writer.

use std::sync::atomic::{AtomicU64, Ordering};

/// Upper bounds of the buckets, in microseconds; one more bucket takes what is longer.
const BOUNDS_US: [u64; 16] = [
    50, 100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 51_200, 102_400, 204_800, 409_600,
    819_200, 1_638_400,
];

/// A histogram of durations; only its core writes it.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

/// A histogram as read at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistogramSnapshot {
    /// Upper bound of a bucket in microseconds (None: no bound) and how many durations fell
    /// into it, not cumulated.
    pub buckets: Vec<(Option<u64>, u64)>,
    /// The sum of all durations, in microseconds.
    pub sum_us: u64,
}

impl Histogram {
    /// Counts one duration, in microseconds.
    pub(crate) fn observe(&self, duration_us: u64) {
        let bucket = BOUNDS_US.partition_point(|bound| *bound < duration_us);
        super::counters::add(&self.buckets[bucket], 1);
        super::counters::add(&self.sum_us, duration_us);
    }

    pub(crate) fn snapshot(&self) -> HistogramSnapshot {
        let bounds = BOUNDS_US.iter().copied().map(Some).chain([None]);
        let counts = self
            .buckets
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        HistogramSnapshot {
            buckets: bounds.zip(counts).collect(),
            sum_us: self.sum_us.load(Ordering::Relaxed),
        }
    }
}

impl HistogramSnapshot {
    /// How many durations were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_bucket_that_bounds_it() {
        let histogram = Histogram::default();
        for duration_us in [0, 50, 51, 10_000_000] {
            histogram.observe(duration_us);
        }
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.buckets[0], (Some(50), 2));
        assert_eq!(snapshot.buckets[1], (Some(100), 1));
        assert_eq!(snapshot.buckets[BOUNDS_US.len()], (None, 1));
        assert_eq!(snapshot.count(), 4);
        assert_eq!(snapshot.sum_us, 10_000_101);
    }
}
