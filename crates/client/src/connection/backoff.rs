//! How long to wait before trying again.

use std::time::Duration;

/// Exponential backoff with full jitter: the n-th wait is drawn evenly from the upper half of
/// `first · 2^n`, at most `max`. Clients cut off by the same restart do not come back as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first wait's upper bound.
    pub first: Duration,
    /// No wait is longer.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(20),
            max: Duration::from_secs(2),
        }
    }
}

impl Backoff {
    /// The wait after `failure_count` failures in a row (0 waits not at all).
    pub(crate) fn wait(&self, failure_count: u32) -> Duration {
        if failure_count == 0 {
            return Duration::ZERO;
        }
        let doublings = (failure_count - 1).min(20);
        let upper = self.first.saturating_mul(1 << doublings).min(self.max);
        upper.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_stay_in_the_upper_half_and_below_the_maximum() {
        let backoff = Backoff {
            first: Duration::from_millis(10),
            max: Duration::from_secs(1),
        };
        assert_eq!(backoff.wait(0), Duration::ZERO);
        for failures in 1..100 {
            let upper = Duration::from_millis(10 << (failures - 1).min(10)).min(backoff.max);
            let wait = backoff.wait(failures);
            assert!(upper / 2 <= wait, "{failures}: {wait:?}");
            assert!(wait <= upper, "{failures}: {wait:?}");
        }
    }
}
