//! How much was moved how fast.

use std::time::Duration;

use crate::quantity::Amount;

/// Counts over a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rates {
    records: u64,
    bytes: u64,
    pub(super) seconds: f64,
    pub(super) records_per_s: f64,
    pub(super) mib_per_s: f64,
}

impl Rates {
    /// The rates of so many records and bytes in `took`.
    #[expect(clippy::cast_precision_loss, reason = "rates for people")]
    pub(super) fn of(records: u64, bytes: u64, took: Duration) -> Self {
        let seconds = took.as_secs_f64().max(1e-9);
        let mib = bytes as f64 / f64::from(1 << 20);
        let (records_per_s, mib_per_s) = (records as f64 / seconds, mib / seconds);
        Self {
            records,
            bytes,
            seconds,
            records_per_s,
            mib_per_s,
        }
    }

    /// The rates as rows of a table.
    pub(super) fn rows(&self) -> Vec<Vec<String>> {
        let row = |name: &str, value: String| vec![name.to_owned(), value];
        vec![
            row("records", self.records.to_string()),
            row("bytes", Amount(self.bytes).to_string()),
            row("seconds", format!("{:.3}", self.seconds)),
            row("records/s", format!("{:.0}", self.records_per_s)),
            row("MiB/s", format!("{:.1}", self.mib_per_s)),
        ]
    }
}
