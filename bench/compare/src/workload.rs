//! What every contender is put through.
//!
//! A turn is one start of a server on an empty folder, with what is done to it until it is stopped:
//! contenders take turns, so that what disturbs the machine disturbs all of them.

use serde::Serialize;

use crate::contender::{Level, Produce, Quantile};

/// One start of a server.
pub struct Turn {
    pub level: Level,
    pub workloads: Vec<Workload>,
}

/// A row of the result.
#[derive(Clone, Serialize)]
pub struct Workload {
    pub id: &'static str,
    pub title: &'static str,
    /// What contenders are compared by.
    pub metric: Metric,
    pub kind: Kind,
    pub load: Produce,
}

impl Workload {
    /// The latencies that are told of it.
    pub fn quantiles(&self) -> &'static [(&'static str, f64, Quantile)] {
        const ALL: [(&str, f64, Quantile); 3] = [
            ("p50 µs", 0.5, |figures| figures.p50_us),
            ("p99 µs", 0.99, |figures| figures.p99_us),
            ("p99.9 µs", 0.999, |figures| figures.p999_us),
        ];
        let told = match (self.kind, self.load.rate) {
            (Kind::Produce, Some(_)) => 3,
            (Kind::Produce, None) => 2,
            _ => 0,
        };
        &ALL[..told]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    MibPerS,
    RecordsPerS,
    /// The median of latencies.
    P50Us,
    /// Resident memory over that of the idle server.
    ResidentMib,
}

impl Metric {
    pub fn unit(self) -> &'static str {
        match self {
            Self::MibPerS => "MiB/s",
            Self::RecordsPerS => "records/s",
            Self::P50Us => "p50 µs",
            Self::ResidentMib => "MiB",
        }
    }

    /// Whether more is better.
    pub fn is_rate(self) -> bool {
        matches!(self, Self::MibPerS | Self::RecordsPerS)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Batches are sent.
    Produce,
    /// What the workload before it produced is read.
    Consume,
    /// The load is produced, the server stopped and its files dropped from the page cache; what is
    /// measured is reading all of it after a new start.
    ConsumeCold,
    /// One record is sent to each partition.
    Fill,
}

/// All turns. With `is_quick` they are shorter, to see whether everything works.
pub fn turns(is_quick: bool) -> Vec<Turn> {
    let (shorter, seconds_max) = if is_quick { (8, 1.0) } else { (1, 4.0) };
    let load = move |level, record_bytes, batch_records, clients, partitions, window| {
        let batch_bytes = (record_bytes * batch_records) as u64;
        let batches = match batch_records {
            1 if clients == 1 => SINGLE_BATCHES,
            1 => CROWD_BATCHES,
            _ => TOTAL_BYTES / batch_bytes,
        };
        Produce {
            level,
            record_bytes,
            batch_records,
            clients,
            partitions,
            window,
            rate: None,
            batches: (batches / shorter).max(u64::from(clients)),
            seconds_max,
        }
    };
    let row = |id, title, metric, kind, load| Workload {
        id,
        title,
        metric,
        kind,
        load,
    };
    use Kind::{Consume, ConsumeCold, Fill, Produce as Send};
    use Level::{Accepted, Durable};
    use Metric::{MibPerS, P50Us, RecordsPerS, ResidentMib};
    let turn = |level, workloads| Turn { level, workloads };
    let both = |rows: [(_, _); 2], metric, load| {
        let [(id, title), (read_id, read_title)] = rows;
        let rows = vec![
            row(id, title, metric, Send, load),
            row(read_id, read_title, metric, Consume, load),
        ];
        turn(Accepted, rows)
    };
    let mut cold = load(Accepted, 1024, 1024, 1, 1, 8);
    cold.batches *= 2;
    // What is read is to be as much for a server that takes it slowly.
    cold.seconds_max = 120.0;
    let mut paced = load(Durable, 1024, 1, 8, 1, 1);
    paced.rate = Some(PACED_RATE);
    paced.batches = PACED_BATCHES / shorter;
    // Far longer than the schedule: what was due and never sent would be missing where it was slowest.
    paced.seconds_max = 60.0;
    let mut each = load(Accepted, 100, 1, 1, 1000, 1);
    each.batches = 1000;
    each.seconds_max = 30.0;
    vec![
        both(
            [
                (
                    "produce-1k-1",
                    "Produce, accepted, 1,000 × 1 KiB, 1 producer, 8 batches in flight",
                ),
                ("consume-1k-1", "Consume, warm, 1 KiB, 1 consumer"),
            ],
            MibPerS,
            load(Accepted, 1024, 1000, 1, 1, 8),
        ),
        both(
            [
                (
                    "produce-1k-4",
                    "Produce, accepted, 1,000 × 1 KiB, 4 producers on 4 partitions, 8 batches in flight each",
                ),
                (
                    "consume-1k-4",
                    "Consume, warm, 1 KiB, 4 consumers of 4 partitions",
                ),
            ],
            MibPerS,
            load(Accepted, 1024, 1000, 4, 4, 8),
        ),
        both(
            [
                (
                    "produce-100-1",
                    "Produce, accepted, 1,000 × 100 B, 1 producer, 8 batches in flight",
                ),
                ("consume-100-1", "Consume, warm, 100 B, 1 consumer"),
            ],
            RecordsPerS,
            load(Accepted, 100, 1000, 1, 1, 8),
        ),
        both(
            [
                (
                    "produce-100-4",
                    "Produce, accepted, 1,000 × 100 B, 4 producers on 4 partitions, 8 batches in flight each",
                ),
                (
                    "consume-100-4",
                    "Consume, warm, 100 B, 4 consumers of 4 partitions",
                ),
            ],
            RecordsPerS,
            load(Accepted, 100, 1000, 4, 4, 8),
        ),
        turn(
            Accepted,
            vec![row(
                "accepted-one",
                "Produce, accepted, one record of 1 KiB in flight",
                P50Us,
                Send,
                load(Accepted, 1024, 1, 1, 1, 1),
            )],
        ),
        turn(
            Durable,
            vec![row(
                "durable-one",
                "Produce, durable, one record of 1 KiB in flight",
                P50Us,
                Send,
                load(Durable, 1024, 1, 1, 1, 1),
            )],
        ),
        turn(
            Durable,
            vec![row(
                "durable-paced",
                "Produce, durable, one record of 1 KiB at a time on a fixed schedule of 1,000 a second from 8 connections (open loop)",
                P50Us,
                Send,
                paced,
            )],
        ),
        turn(
            Durable,
            vec![row(
                "durable-64x1",
                "Produce, durable, 64 clients with one record of 1 KiB each, 1 partition",
                RecordsPerS,
                Send,
                load(Durable, 1024, 1, 64, 1, 1),
            )],
        ),
        turn(
            Durable,
            vec![row(
                "durable-64x16",
                "Produce, durable, 64 clients with one record of 1 KiB each, 16 partitions",
                RecordsPerS,
                Send,
                load(Durable, 1024, 1, 64, 16, 1),
            )],
        ),
        turn(
            Durable,
            vec![row(
                "durable-1k-1",
                "Produce, durable, 1,000 × 1 KiB, 1 client, 4 batches in flight",
                MibPerS,
                Send,
                load(Durable, 1024, 1000, 1, 1, 4),
            )],
        ),
        turn(
            Durable,
            vec![row(
                "durable-1k-4",
                "Produce, durable, 1,000 × 1 KiB, 4 clients on 4 partitions, 4 batches in flight each",
                MibPerS,
                Send,
                load(Durable, 1024, 1000, 4, 4, 4),
            )],
        ),
        turn(
            Accepted,
            vec![row(
                "consume-cold",
                "Consume, cold: 2 GiB of 1 KiB after a new start, nothing in the page cache, 1 consumer",
                MibPerS,
                ConsumeCold,
                cold,
            )],
        ),
        turn(
            Accepted,
            vec![row(
                "partitions-1000",
                "Resident memory of 1,000 partitions with one record of 100 B each, over the idle server",
                ResidentMib,
                Fill,
                each,
            )],
        ),
    ]
}

/// The row that is called so.
#[cfg(test)]
pub fn row(id: &str) -> Workload {
    let mut rows = turns(false).into_iter().flat_map(|turn| turn.workloads);
    rows.find(|row| row.id == id).expect("a row is called so")
}

/// Of values, in workloads of large batches.
const TOTAL_BYTES: u64 = 1 << 30;
const SINGLE_BATCHES: u64 = 10_000;
const CROWD_BATCHES: u64 = 200_000;
/// Batches a second of an open loop, and all of them.
const PACED_RATE: f64 = 1000.0;
const PACED_BATCHES: u64 = 10_000;
