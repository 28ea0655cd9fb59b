//! What the clients of one workload counted.

use std::time::Instant;

use anyhow::Result;
use hdrhistogram::Histogram;

use crate::contender::Figures;

/// What was counted, without the warm-up.
pub struct Tally {
    /// Batches and seconds that warm up, whichever are over first.
    pub warm_up: (u64, f64),
    begun: Instant,
    started: Option<Instant>,
    ended: Option<Instant>,
    batches: u64,
    records: u64,
    records_total: u64,
    latency_us: Histogram<u64>,
}

impl Tally {
    pub fn new() -> Result<Self> {
        Ok(Self {
            warm_up: (0, 0.0),
            begun: Instant::now(),
            started: None,
            ended: None,
            batches: 0,
            records: 0,
            records_total: 0,
            latency_us: Histogram::new_with_bounds(1, LATENCY_US_MAX, 3)?,
        })
    }

    /// Counts a batch that was acknowledged.
    pub fn acked(&mut self, records: u64, begun: Instant, now: Instant) {
        self.batches += 1;
        self.records_total += records;
        let is_warm =
            self.batches > self.warm_up.0 || self.begun.elapsed().as_secs_f64() > self.warm_up.1;
        if !is_warm {
            self.started = Some(now);
            return;
        }
        self.started.get_or_insert(begun);
        self.ended = Some(now);
        self.records += records;
        let us = (now - begun).as_micros() as u64;
        self.latency_us.saturating_record(us);
    }

    /// Counts records that were read.
    pub fn read(&mut self, records: u64, now: Instant) {
        self.started.get_or_insert(self.begun);
        self.ended = Some(now);
        self.records += records;
        self.records_total += records;
    }

    /// Adds what another thread counted.
    pub fn add(&mut self, other: &Self) -> Result<()> {
        self.started = self.started.max(other.started);
        self.ended = self.ended.max(other.ended);
        self.records += other.records;
        self.records_total += other.records_total;
        self.latency_us.add(&other.latency_us)?;
        Ok(())
    }

    /// What it comes to.
    pub fn figures(&self, record_bytes: usize) -> Figures {
        let time = self.started.zip(self.ended);
        let us = |quantile| {
            let is_there = !self.latency_us.is_empty();
            is_there.then(|| self.latency_us.value_at_quantile(quantile) as f64)
        };
        Figures {
            records: self.records,
            bytes: self.records * record_bytes as u64,
            seconds: time.map_or(f64::NAN, |(started, ended)| (ended - started).as_secs_f64()),
            records_total: self.records_total,
            p50_us: us(0.5),
            p99_us: us(0.99),
            how: "the client of bench/compare".into(),
        }
    }
}

const LATENCY_US_MAX: u64 = 60_000_000;
