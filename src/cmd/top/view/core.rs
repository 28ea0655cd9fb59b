//! How busy each core is, what waits there, how long its syncs take.

use serde::Serialize;

use super::{Fact, Row, Scope, fact};
use crate::cmd::top::column::{Column, Value};
use crate::cmd::top::picture::Picture;
use crate::cmd::top::rates::{Gap, number};
use crate::cmd::top::theme::Tone;
use crate::cmd::top::{figure, told};

/// One core.
#[derive(Clone, Debug, Serialize)]
pub(in crate::cmd::top) struct Core {
    #[serde(flatten)]
    pub(in crate::cmd::top) told: told::Core,
    /// The share of the time that it was at work.
    pub(in crate::cmd::top) busy: Option<f64>,
    /// Appended by clients, or copied from other nodes.
    pub(in crate::cmd::top) records_per_s: Option<f64>,
    pub(in crate::cmd::top) in_bytes_per_s: Option<f64>,
    /// Fetched by clients, or sent as files.
    pub(in crate::cmd::top) out_bytes_per_s: Option<f64>,
    pub(in crate::cmd::top) requests_per_s: Option<f64>,
    pub(in crate::cmd::top) errors_per_s: Option<f64>,
    pub(in crate::cmd::top) syncs_per_s: Option<f64>,
    pub(in crate::cmd::top) hops_per_s: Option<f64>,
    pub(in crate::cmd::top) sync_p50_us: Option<f64>,
    pub(in crate::cmd::top) sync_p99_us: Option<f64>,
    pub(in crate::cmd::top) late_p99_us: Option<f64>,
    /// How busy it was, poll by poll; drawn, not told.
    #[serde(skip)]
    pub(in crate::cmd::top) busy_before: Vec<Option<f64>>,
}

impl Core {
    /// A core as it is told now, and as it was told a gap before.
    pub(in crate::cmd::top) fn of(now: &told::Core, before: Option<(&told::Core, Gap)>) -> Self {
        type Counter = fn(&told::Core) -> u64;
        let rate = |counter: Counter| {
            let (before, gap) = before?;
            gap.rate(counter(before), counter(now))
        };
        let both = |one: Counter, other: Counter| Some(rate(one)? + rate(other)?);
        let syncs = before.and_then(|(before, _)| now.sync_us.since(&before.sync_us));
        let late = before.and_then(|(before, _)| now.late_us.since(&before.late_us));
        Self {
            told: now.clone(),
            busy: rate(|core| core.busy_ms).map(|ms| (ms / 1e3).min(1.0)),
            records_per_s: both(|core| core.appended_records, |core| core.copied_records),
            in_bytes_per_s: rate(|core| {
                let copied = core.copied_bytes.saturating_add(core.installed_bytes);
                core.appended_bytes.saturating_add(copied)
            }),
            out_bytes_per_s: both(|core| core.fetched_bytes, |core| core.transferred_bytes),
            requests_per_s: rate(|core| core.requests),
            errors_per_s: rate(|core| core.errors),
            syncs_per_s: rate(|core| core.flushes),
            hops_per_s: rate(|core| core.hops),
            sync_p50_us: syncs.as_ref().and_then(|syncs| syncs.quantile(0.5)),
            sync_p99_us: syncs.as_ref().and_then(|syncs| syncs.quantile(0.99)),
            late_p99_us: late.and_then(|late| late.quantile(0.99)),
            busy_before: Vec::new(),
        }
    }

    /// Requests that wait for something else than data to come.
    fn queued(&self) -> u64 {
        let told = &self.told;
        told.in_flight_requests.saturating_sub(told.parked_fetches)
    }

    fn busy_tone(&self) -> Tone {
        match self.busy {
            Some(busy) if busy >= 0.95 => Tone::Bad,
            Some(busy) if busy >= 0.8 => Tone::Warn,
            _ => Tone::Plain,
        }
    }
}

impl Row for Core {
    const SORT: &'static str = "CORE";
    const NONE: &'static str = "the node tells of no core";
    const COLUMNS: &'static [Column<Self>] = &[
        Column::<Self>::figure("CORE", (4, 0), |core| Value::Exact(core.told.core)).ascending(),
        Column::<Self>::figure("BUSY", (4, 0), |core| Value::Share(core.busy))
            .toned(Self::busy_tone),
        Column::<Self>::drawing("LOAD", (10, 2), |core| Value::Bar(core.busy)).toned(|core| {
            match core.busy_tone() {
                Tone::Plain => Tone::Drawn,
                tone => tone,
            }
        }),
        Column::figure("QUEUE", (5, 0), |core| Value::Exact(core.queued())),
        Column::figure("REC/S", (5, 0), |core| Value::Count(core.records_per_s)),
        Column::figure("IN/S", (8, 0), |core| Value::Bytes(core.in_bytes_per_s)),
        Column::figure("OUT/S", (8, 0), |core| Value::Bytes(core.out_bytes_per_s)),
        Column::figure("FSYNC P99", (9, 0), |core| Value::Micros(core.sync_p99_us)),
        Column::figure("PARTS", (5, 1), |core| Value::Exact(core.told.partitions)),
        Column::figure("CONNS", (5, 3), |core| Value::Exact(core.told.connections)),
        Column::figure("PARKED", (6, 5), |core| {
            Value::Exact(core.told.parked_fetches)
        }),
        Column::figure("UNSYNCED", (8, 4), |core| {
            Value::Bytes(Some(number(core.told.unflushed_bytes)))
        }),
        Column::figure("FSYNC P50", (9, 6), |core| Value::Micros(core.sync_p50_us)),
        Column::figure("FSYNC/S", (7, 5), |core| Value::Count(core.syncs_per_s)),
        Column::figure("REQ/S", (5, 6), |core| Value::Count(core.requests_per_s)),
        Column::<Self>::figure("ERR/S", (5, 4), |core| Value::Count(core.errors_per_s)).toned(
            |core| match core.errors_per_s {
                Some(errors) if errors > 0.0 => Tone::Warn,
                _ => Tone::Plain,
            },
        ),
        Column::figure("HOPS/S", (6, 7), |core| Value::Count(core.hops_per_s)),
        Column::figure("LATE P99", (8, 6), |core| Value::Micros(core.late_p99_us)),
        Column::figure("STALLS", (6, 6), |core| Value::Exact(core.told.stalls)),
        Column::<Self>::drawing("BUSY BEFORE", (16, 8), |core| {
            Value::Spark(&core.busy_before)
        })
        .wide()
        .toned(|_| Tone::Drawn),
    ];

    fn key(&self) -> String {
        self.told.core.to_string()
    }

    fn words(&self) -> Vec<&str> {
        vec![&self.told.address, &self.told.advertised]
    }

    fn leads_to(&self) -> Option<Scope> {
        Some(Scope::Core(self.told.core))
    }

    fn facts(&self, _picture: &Picture) -> Vec<Fact> {
        let told = &self.told;
        let value = |value: Value<'_>| value.text(0);
        let bytes = |bytes: u64| figure::bytes(number(bytes));
        vec![
            fact("core", told.core),
            fact("address", &told.address),
            fact("advertised", &told.advertised),
            fact("busy", value(Value::Share(self.busy))).toned(self.busy_tone()),
            fact(
                "heartbeats late, p99",
                value(Value::Micros(self.late_p99_us)),
            ),
            fact("the latest", figure::micros(number(told.late_max_ms) * 1e3)),
            fact("stalls above 100 ms", told.stalls),
            fact("stuck for a second", told.stuck),
            fact("slow work", told.slow_work),
            fact("partitions", told.partitions),
            fact("fenced partitions", told.fenced_partitions).toned(match told.fenced_partitions {
                0 => Tone::Plain,
                _ => Tone::Bad,
            }),
            fact("connections", told.connections),
            fact("requests in flight", told.in_flight_requests),
            fact("parked fetches of them", told.parked_fetches),
            fact("waits for the disk", bytes(told.unflushed_bytes)),
            fact("kept for readers", bytes(told.kept_bytes)),
            fact(
                "records appended/s",
                value(Value::Count(self.records_per_s)),
            ),
            fact("bytes appended/s", value(Value::Bytes(self.in_bytes_per_s))),
            fact("bytes read/s", value(Value::Bytes(self.out_bytes_per_s))),
            fact("requests/s", value(Value::Count(self.requests_per_s))),
            fact("errors/s", value(Value::Count(self.errors_per_s))),
            fact("errors since the start", told.errors),
            fact(
                "sent to other cores/s",
                value(Value::Count(self.hops_per_s)),
            ),
            fact("refused by full lanes", told.lane_busy),
            fact("fsyncs/s", value(Value::Count(self.syncs_per_s))),
            fact("fsync p50", value(Value::Micros(self.sync_p50_us))),
            fact("fsync p99", value(Value::Micros(self.sync_p99_us))),
            fact("written since the start", bytes(told.flushed_bytes)),
        ]
    }
}
