//! What the clients of one workload counted.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use hdrhistogram::Histogram;

use crate::contender::Figures;

/// What is not counted, of all threads of a workload together: were each to end it for itself, records of the first to
/// end it would be held against the time of the last.
pub struct WarmUp {
    batches: u64,
    deadline: Instant,
    acked: AtomicU64,
    over: OnceLock<Instant>,
}

impl WarmUp {
    /// It is over after so many batches or so much time, whichever comes first.
    pub fn new(batches: u64, time: Duration) -> Self {
        let now = Instant::now();
        let over = match batches {
            0 => OnceLock::from(now),
            _ => OnceLock::new(),
        };
        Self {
            batches,
            deadline: now + time,
            acked: AtomicU64::new(0),
            over,
        }
    }

    /// Whether a batch that was acknowledged `now` is counted.
    fn is_over(&self, now: Instant) -> bool {
        if self.over.get().is_some() {
            return true;
        }
        let acked = self.acked.fetch_add(1, Ordering::Relaxed) + 1;
        if self.batches <= acked || self.deadline <= now {
            self.over.get_or_init(|| now);
        }
        false
    }
}

/// What one thread counted, or all of them.
pub struct Tally {
    ended: Option<Instant>,
    records: u64,
    records_total: u64,
    latency_us: Histogram<u64>,
}

impl Tally {
    pub fn new() -> Result<Self> {
        Ok(Self {
            ended: None,
            records: 0,
            records_total: 0,
            latency_us: Histogram::new_with_bounds(1, LATENCY_US_MAX, 3)?,
        })
    }

    /// Counts a batch that was acknowledged.
    pub fn acked(&mut self, records: u64, (begun, now): (Instant, Instant), warm_up: &WarmUp) {
        self.records_total += records;
        if warm_up.is_over(now) {
            self.ended = Some(now);
            self.records += records;
            let us = (now - begun).as_micros() as u64;
            self.latency_us.saturating_record(us);
        }
    }

    /// Counts records that were read.
    pub fn read(&mut self, records: u64, now: Instant) {
        self.ended = Some(now);
        self.records += records;
        self.records_total += records;
    }

    /// Adds what another thread counted.
    pub fn add(&mut self, other: &Self) -> Result<()> {
        self.ended = self.ended.max(other.ended);
        self.records += other.records;
        self.records_total += other.records_total;
        self.latency_us.add(&other.latency_us)?;
        Ok(())
    }

    /// What it comes to.
    pub fn figures(&self, record_bytes: usize, warm_up: &WarmUp) -> Figures {
        let time = warm_up.over.get().zip(self.ended);
        let us = |quantile| {
            let is_there = !self.latency_us.is_empty();
            is_there.then(|| self.latency_us.value_at_quantile(quantile) as f64)
        };
        Figures {
            records: self.records,
            bytes: self.records * record_bytes as u64,
            seconds: time.map_or(f64::NAN, |(over, ended)| (ended - *over).as_secs_f64()),
            records_total: self.records_total,
            acks: self.latency_us.len(),
            p50_us: us(0.5),
            p99_us: us(0.99),
            p999_us: us(0.999),
            how: "the client of bench/compare".into(),
        }
    }
}

const LATENCY_US_MAX: u64 = 60_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_count_from_when_all_of_them_have_warmed_up() {
        let warm_up = WarmUp::new(3, Duration::from_secs(3600));
        let (mut first, mut second) = (Tally::new().unwrap(), Tally::new().unwrap());
        let begun = Instant::now();
        let at = |seconds| (begun, begun + Duration::from_secs(seconds));
        first.acked(10, at(1), &warm_up);
        first.acked(10, at(2), &warm_up);
        second.acked(10, at(3), &warm_up);
        first.acked(10, at(4), &warm_up);
        second.acked(10, at(5), &warm_up);
        first.add(&second).unwrap();
        let figures = first.figures(1, &warm_up);
        assert_eq!((figures.records, figures.records_total), (20, 50));
        assert!((figures.seconds - 2.0).abs() < 1e-9);
    }
}
