//! Scale curves: one node, one thing varied at a time, everything else as it was.
//!
//! | varied | load | what is told |
//! |---|---|---|
//! | partitions | durable, 10 × 100 B, 64 connections that go over all partitions | records/s, p99, memory |
//! | connections | durable, one record of 1 KiB in flight each, 16 partitions | records/s, p99, memory |
//! | record size | accepted, batches of 1 MiB, built by our own client | MiB/s, records/s |
//! | batch size | durable, records of 1 KiB, 4 batches in flight | MiB/s, p50 |
//! | cores | accepted, 1,000 × 1 KiB, 4 producers on 4 partitions, our own client | MiB/s, p99 |
//! | log length | one record in flight behind so many MiB, after a clean stop and start | start, seek, p50 |
//!
//! Each point has a server of its own on an empty folder, and each partition a batch before; rounds go over all points,
//! and medians are told, from the least to the most.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use serde_json::Value;

use crate::contender::{Contender as _, Level, Produce};
use crate::contenders::{Client, Corelog};
use crate::machine;
use crate::progress::Progress;
use crate::shown::{self, shown};

/// All curves of a run.
#[derive(Serialize)]
pub struct Curves {
    pub machine: Value,
    pub command: String,
    #[serde(flatten)]
    pub progress: Progress,
    pub is_quick: bool,
    pub curves: Vec<Curve>,
}

#[derive(Serialize)]
pub struct Curve {
    pub id: &'static str,
    title: &'static str,
    /// What is varied, with its unit.
    axis: &'static str,
    /// What is told of each point.
    told: Vec<&'static str>,
    points: Vec<Point>,
}

#[derive(Serialize)]
struct Point {
    x: f64,
    cores: u32,
    is_own_client: bool,
    /// MiB of 1 KiB records that the log holds before.
    filled_mib: u64,
    load: Produce,
    /// What was measured, by name, of each round.
    rounds: Vec<BTreeMap<&'static str, f64>>,
    errors: Vec<String>,
}

impl Curves {
    /// Measures all points once.
    ///
    /// # Errors
    /// If there is no folder to be had; what goes wrong with a point is noted.
    pub fn measure(&mut self, program: &Path, scratch: &Path) -> Result<()> {
        for curve in &mut self.curves {
            for point in &mut curve.points {
                let folder = scratch.join("point");
                fs::create_dir_all(&folder)?;
                let tells_memory = curve.told.contains(&RESIDENT);
                let measured = point.measure(program, &folder, tells_memory);
                fs::remove_dir_all(&folder)?;
                match measured {
                    Ok(measured) => {
                        println!("{} {}: {measured:.1?}", curve.id, point.x);
                        point.rounds.push(measured);
                    }
                    Err(error) => {
                        println!("{} {}: {error:#}", curve.id, point.x);
                        point.errors.push(format!("{error:#}"));
                    }
                }
            }
        }
        Ok(())
    }

    /// Checks that no point went wrong in any round.
    ///
    /// # Errors
    /// What did first: a curve with gaps is none, whatever its other points say.
    pub fn check(&self) -> Result<()> {
        for curve in &self.curves {
            for point in &curve.points {
                if let Some(error) = point.errors.first() {
                    bail!("{} {}: {error}", curve.id, point.x);
                }
            }
        }
        Ok(())
    }
}

impl Point {
    fn measure(
        &self,
        program: &Path,
        folder: &Path,
        tells_memory: bool,
    ) -> Result<BTreeMap<&'static str, f64>> {
        const TOPIC: &str = "bench";
        let client = if self.is_own_client {
            Client::Own
        } else {
            Client::Plain
        };
        let mut node = Corelog::new(program, client).with_cores(self.cores);
        // Elsewhere what a virtual machine takes to find memory would be measured: ten times as long, now and then. A start that
        // is measured takes none before it serves.
        if tells_memory || self.filled_mib > 0 {
            node = node.with_memory_as_needed();
        }
        let mut measured = BTreeMap::new();
        node.start(folder, &self.load)?;
        let resident =
            |node: &Corelog| node.process().map_or(0, |process| process.resident_bytes());
        let idle = resident(&node);
        node.create(TOPIC, self.load.partitions)?;
        if self.filled_mib > 0 {
            node.produce(TOPIC, &filling(self.filled_mib))?;
            node.stop()?;
            let started = Instant::now();
            node.start(folder, &self.load)?;
            measured.insert(START, started.elapsed().as_secs_f64() * 1e3);
            measured.insert(SEEK, node.seek_p50_us(TOPIC)?);
        }
        if self.load.partitions > 1 {
            node.produce(TOPIC, &first_of_each(&self.load))?;
        }
        let figures = node.produce(TOPIC, &self.load)?;
        measured.insert(MIB_PER_S, figures.mib_per_s());
        measured.insert(RECORDS_PER_S, figures.records_per_s() / 1e3);
        measured.insert(P50, figures.p50_us.context("no latency")?);
        measured.insert(P99, figures.p99_us.context("no latency")?);
        measured.insert(ACKS, figures.acks as f64);
        let over_idle = resident(&node).saturating_sub(idle);
        measured.insert(RESIDENT, over_idle as f64 / f64::from(1 << 20));
        node.stop()?;
        Ok(measured)
    }
}

/// A batch for each partition: what its first one takes, which makes its files, is another matter than the next.
fn first_of_each(load: &Produce) -> Produce {
    Produce {
        batches: load.partitions.max(load.clients).into(),
        seconds_max: 600.0,
        ..*load
    }
}

/// What makes a log long.
fn filling(mib: u64) -> Produce {
    let load = load(Level::Accepted, 1024, 1024);
    Produce {
        batches: mib,
        window: 8,
        seconds_max: 600.0,
        ..load
    }
}

fn load(level: Level, record_bytes: usize, batch_records: usize) -> Produce {
    Produce {
        level,
        record_bytes,
        batch_records,
        clients: 1,
        partitions: 1,
        window: 1,
        rate: None,
        batches: 0,
        seconds_max: 0.0,
    }
}

/// The curves with nothing measured yet.
pub fn planned(is_quick: bool) -> Vec<Curve> {
    use Level::{Accepted, Durable};
    let (seconds_max, shorter) = if is_quick { (0.5, 8) } else { (3.0, 1) };
    let point = |x, load: Produce| Point {
        x,
        cores: 1,
        is_own_client: false,
        filled_mib: 0,
        load: Produce {
            seconds_max,
            ..load
        },
        rounds: Vec::new(),
        errors: Vec::new(),
    };
    let own = |point: Point| Point {
        is_own_client: true,
        ..point
    };
    let bulk = |load: Produce| TOTAL_BYTES / shorter / load.batch_bytes();
    let partitions = [1u32, 4, 16, 64, 256, 1024, 4096, 10_000].map(|partitions| {
        let each = Produce {
            clients: 64,
            partitions,
            batches: u64::MAX >> 8,
            ..load(Durable, 100, 10)
        };
        point(f64::from(partitions), each)
    });
    let connections = [1u32, 4, 16, 64, 256, 1000, 2000].map(|clients| {
        let each = Produce {
            clients,
            partitions: 16,
            batches: u64::MAX >> 8,
            ..load(Durable, 1024, 1)
        };
        point(f64::from(clients), each)
    });
    let record_sizes = (2..=10).map(|power| 4usize.pow(power));
    let record_sizes = record_sizes.map(|bytes| {
        let each = load(Accepted, bytes, (1 << 20) / bytes);
        let batches = bulk(each);
        own(point(
            bytes as f64,
            Produce {
                batches,
                window: 8,
                ..each
            },
        ))
    });
    let batch_sizes = [1usize, 4, 16, 64, 256, 1000, 4000, 7000].map(|records| {
        let each = load(Durable, 1024, records);
        let batches = bulk(each);
        point(
            records as f64,
            Produce {
                batches,
                window: 4,
                ..each
            },
        )
    });
    let cores = [1u32, 2].map(|cores| {
        let each = Produce {
            clients: 4,
            partitions: 4,
            window: 8,
            ..load(Accepted, 1024, 1000)
        };
        let batches = bulk(each);
        Point {
            cores,
            ..own(point(f64::from(cores), Produce { batches, ..each }))
        }
    });
    let lengths = [1u64, 16, 128, 512, 2048, 8192, 20_480].map(|mib| {
        let each = Produce {
            batches: u64::MAX >> 8,
            ..load(Durable, 1024, 1)
        };
        Point {
            filled_mib: mib / if mib > 16 { shorter * shorter } else { 1 },
            ..point(mib as f64, each)
        }
    });
    let curve = |id, title, axis, told: &[&'static str], points: Vec<Point>| Curve {
        id,
        title,
        axis,
        told: told.to_vec(),
        points,
    };
    vec![
        curve(
            "partitions",
            "Partitions: durable batches of 10 × 100 B from 64 connections",
            "partitions",
            &[RECORDS_PER_S, P99, RESIDENT],
            partitions.into(),
        ),
        curve(
            "connections",
            "Connections: durable, one record of 1 KiB in flight each, 16 partitions",
            "connections",
            &[RECORDS_PER_S, P99, RESIDENT],
            connections.into(),
        ),
        curve(
            "record-size",
            "Record size: accepted, batches of 1 MiB, 1 producer, our own client",
            "bytes of a record",
            &[MIB_PER_S, RECORDS_PER_S],
            record_sizes.collect(),
        ),
        curve(
            "batch-size",
            "Batch size: durable, records of 1 KiB, 1 client with 4 batches in flight",
            "records of a batch",
            &[MIB_PER_S, P50, P99],
            batch_sizes.into(),
        ),
        curve(
            "cores",
            "Cores: accepted, 1,000 × 1 KiB, 4 producers, 4 partitions, our own client",
            "cores",
            &[MIB_PER_S, P99],
            cores.into(),
        ),
        curve(
            "log-length",
            "Log length: after a clean stop; then durable, one record of 1 KiB in flight",
            "MiB in the log before",
            &[START, SEEK, P50],
            lengths.into(),
        ),
    ]
}

/// The medians as Markdown.
pub fn markdown(curves: &Curves) -> String {
    let mut out = String::new();
    let said = |key: &str| curves.machine[key].as_str().unwrap_or_default().to_owned();
    let (date, rounds) = (said("date"), &curves.progress);
    let shortened = match curves.is_quick {
        true => ", **shortened to try things out: no figure counts**",
        false => "",
    };
    out.push_str("# How a node scales\n\n");
    // A string takes whatever is written.
    let _ = writeln!(
        out,
        "{date}, `{}`, medians of {rounds} (least to most){shortened}; {}. Times of acknowledgements are of closed loops; \
         behind a p99 stands how many of a round took longer, where they are fewer than ten.",
        curves.command,
        machine::programs(&curves.machine),
    );
    for curve in &curves.curves {
        let _ = writeln!(out, "\n## {}\n", curve.title);
        let _ = writeln!(out, "| {} | {} |", curve.axis, curve.told.join(" | "));
        let _ = writeln!(out, "|---|{}", "---|".repeat(curve.told.len()));
        for point in &curve.points {
            let told: Vec<_> = curve.told.iter().map(|name| point.shown(name)).collect();
            let _ = writeln!(out, "| {} | {} |", point.x, told.join(" | "));
        }
        for point in &curve.points {
            for error in &point.errors {
                let _ = writeln!(out, "\n- {}: {error}", point.x);
            }
        }
    }
    out
}

impl Point {
    fn shown(&self, name: &str) -> String {
        let values = |name| -> Vec<_> {
            let rounds = self.rounds.iter().enumerate();
            let values = rounds.filter_map(|(round, told)| Some((round, *told.get(name)?)));
            values.collect()
        };
        let few = match name {
            P99 => shown::beyond(&values(ACKS), 0.99),
            _ => String::new(),
        };
        match shown(&values(name)) {
            none if none.is_empty() => "–".into(),
            shown => format!("{shown}{few}"),
        }
    }
}

const MIB_PER_S: &str = "MiB/s";
const RECORDS_PER_S: &str = "thousand records/s";
const P50: &str = "p50 µs";
const P99: &str = "p99 µs";
/// Acknowledgements that were timed.
const ACKS: &str = "acknowledgements";
const RESIDENT: &str = "resident MiB over idle";
const START: &str = "start ms";
const SEEK: &str = "seek p50 µs";
/// Of values, where batches are large.
const TOTAL_BYTES: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    /// A run of which every point had failed ended well.
    #[test]
    fn a_run_of_which_a_point_failed_is_none() {
        let mut curves = Curves {
            machine: Value::Null,
            command: String::new(),
            progress: Progress::of_rounds(1),
            is_quick: true,
            curves: planned(true),
        };
        curves.check().unwrap();
        curves.curves[1].points[2].errors = vec!["nobody answers".to_owned()];
        let error = curves.check().unwrap_err().to_string();
        assert_eq!(error, "connections 16: nobody answers");
    }
}
