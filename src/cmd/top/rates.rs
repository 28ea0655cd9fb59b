//! Rates: differences of what a node counts between two polls.

use std::time::Duration;

use serde::Deserialize;

/// Durations in buckets, as a node counts them since its start.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Histogram {
    /// A bucket's upper bound in microseconds, if it has one, and how many fell into it.
    pub(super) buckets: Vec<(Option<u64>, u64)>,
}

/// The time between two polls of one run of a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gap {
    seconds: f64,
}

impl Gap {
    /// The gap between two polls that are so far apart; none if no time passed.
    pub(super) fn of(apart: Duration) -> Option<Self> {
        let seconds = apart.as_secs_f64();
        (seconds > 0.0).then_some(Self { seconds })
    }

    /// How much a counter grew each second; none if it fell, as with what was made anew under the
    /// same name.
    pub(super) fn rate(self, before: u64, now: u64) -> Option<f64> {
        let grown = now.checked_sub(before)?;
        Some(number(grown) / self.seconds)
    }
}

impl Histogram {
    /// What fell into each bucket since `before`; none if the buckets are others, or one fell.
    pub(super) fn since(&self, before: &Self) -> Option<Self> {
        if self.buckets.len() != before.buckets.len() {
            return None;
        }
        let pairs = self.buckets.iter().zip(&before.buckets);
        let grown = pairs.map(|((bound, now), (bound_before, before))| {
            let is_same = bound == bound_before;
            Some((*bound, now.checked_sub(*before).filter(|_| is_same)?))
        });
        let buckets = grown.collect::<Option<_>>()?;
        Some(Self { buckets })
    }

    /// Both together; one that has no buckets counts nothing.
    pub(super) fn and(&self, other: &Self) -> Self {
        if self.buckets.is_empty() {
            return other.clone();
        }
        let others = other.buckets.iter().map(|(_, count)| *count);
        let sums = self.buckets.iter().zip(others.chain(std::iter::repeat(0)));
        Self {
            buckets: sums.map(|((bound, a), b)| (*bound, a + b)).collect(),
        }
    }

    /// The duration in microseconds that this share of all stays below, taken to be spread evenly
    /// within a bucket; none if there are none. What has no upper bound is told by its lower one.
    pub(super) fn quantile(&self, share: f64) -> Option<f64> {
        let total: u64 = self.buckets.iter().map(|(_, count)| count).sum();
        if total == 0 {
            return None;
        }
        let wanted = number(total) * share;
        let (mut below, mut lower) = (0, 0);
        for (bound, count) in &self.buckets {
            let reached = below + count;
            let Some(upper) = bound else { break };
            if *count > 0 && number(reached) >= wanted {
                let into = (wanted - number(below)).max(0.0) / number(*count);
                return Some(number(lower) + into * number(upper - lower));
            }
            (below, lower) = (reached, *upper);
        }
        Some(number(lower))
    }
}

/// A count as a number to calculate with; beyond 2^53 it is rounded.
#[expect(
    clippy::cast_precision_loss,
    reason = "figures for people; 2^53 bytes are 9 petabytes"
)]
pub(super) fn number(count: u64) -> f64 {
    count as f64
}

/// The sum of what is known; none if nothing is.
pub(super) fn sum(rates: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    rates
        .flatten()
        .fold(None, |sum, rate| Some(sum.unwrap_or_default() + rate))
}

/// The sum of all; none if one is not known, or there are none.
pub(super) fn whole_sum(rates: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    rates.reduce(|sum, rate| Some(sum? + rate?)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(counts: [u64; 3]) -> Histogram {
        let bounds = [Some(100), Some(200), None];
        Histogram {
            buckets: bounds.into_iter().zip(counts).collect(),
        }
    }

    #[test]
    fn a_rate_is_what_was_added_over_the_time_between_two_polls() {
        let gap = Gap::of(Duration::from_secs(2)).unwrap();
        assert_eq!(gap.rate(100, 300), Some(100.0));
        assert_eq!(gap.rate(100, 100), Some(0.0));
        assert!(Gap::of(Duration::ZERO).is_none());
    }

    #[test]
    fn a_counter_that_fell_has_no_rate() {
        let gap = Gap::of(Duration::from_secs(1)).unwrap();
        assert_eq!(gap.rate(100, 99), None);
        assert_eq!(histogram([1, 0, 0]).since(&histogram([2, 0, 0])), None);
        assert_eq!(histogram([1, 0, 0]).since(&Histogram::default()), None);
        assert_eq!(sum([None, None].into_iter()), None);
        assert_eq!(sum([Some(1.0), None, Some(2.0)].into_iter()), Some(3.0));
    }

    #[test]
    fn a_sum_of_all_is_not_known_where_one_is_not() {
        assert_eq!(whole_sum([Some(1.0), Some(2.0)].into_iter()), Some(3.0));
        assert_eq!(whole_sum([Some(1.0), None, Some(2.0)].into_iter()), None);
        assert_eq!(whole_sum([None, Some(2.0)].into_iter()), None);
        assert_eq!(whole_sum(std::iter::empty()), None);
    }

    #[test]
    fn a_quantile_lies_within_its_bucket() {
        assert_eq!(histogram([0, 0, 0]).quantile(0.99), None);
        assert_eq!(histogram([100, 0, 0]).quantile(0.5), Some(50.0));
        assert_eq!(histogram([50, 50, 0]).quantile(0.99), Some(198.0));
        assert_eq!(histogram([0, 1, 99]).quantile(0.99), Some(200.0));
        let late = histogram([9, 9, 9]).since(&histogram([9, 4, 9])).unwrap();
        assert_eq!(late, histogram([0, 5, 0]));
        assert_eq!(late.and(&histogram([1, 1, 1])), histogram([1, 6, 1]));
        assert_eq!(Histogram::default().and(&late), late);
    }
}
