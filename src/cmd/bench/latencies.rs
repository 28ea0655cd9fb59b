//! Latencies in microseconds, as they are gathered and told.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

pub(super) use crate::quantity::micros;

/// Latencies of one kind.
pub(super) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(super) fn new() -> anyhow::Result<Self> {
        const US_MAX: u64 = 24 * 3_600_000_000;
        const DIGITS: u8 = 3;
        Ok(Self(Histogram::new_with_bounds(1, US_MAX, DIGITS)?))
    }

    pub(super) fn add(&mut self, took: Duration) {
        self.0.saturating_record(micros(took));
    }

    /// As rows of a table, each name behind `what`.
    pub(super) fn rows(&self, what: &str) -> Vec<Vec<String>> {
        let row = |(name, us): (&str, u64)| vec![format!("{what} {name}"), format!("{us} us")];
        self.quantiles().map(row).to_vec()
    }

    pub(super) fn json(&self) -> Value {
        let [p50, p99, p999, max] = self.quantiles().map(|(_, us)| us);
        json!({"count": self.0.len(), "p50": p50, "p99": p99, "p99.9": p999, "max": max})
    }

    pub(super) fn quantiles(&self) -> [(&'static str, u64); 4] {
        let at = |quantile| self.0.value_at_quantile(quantile);
        [
            ("p50", at(0.5)),
            ("p99", at(0.99)),
            ("p99.9", at(0.999)),
            ("max", self.0.max()),
        ]
    }
}
