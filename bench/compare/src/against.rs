//! What a run says against the node, written for each, so that nobody picks: where a peer does better, and what is durable here
//! beside what is accepted there.

use std::fmt::Write as _;

use crate::contender::Level;
use crate::result::{ECHO, Measured, OURS, Results};
use crate::shown::{self, median, shown};
use crate::workload::{Kind, Workload};
use crate::yardstick;

/// Both, as Markdown.
pub fn write(results: &Results, out: &mut String) -> std::fmt::Result {
    worse(results, out)?;
    durable_beside_accepted(results, out)
}

/// All figures of ours that are worse than a peer's by the median of the ratios within rounds.
fn worse(results: &Results, out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "## What of ours is worse than a peer's\n\n\
         All that is by the median of the ratios within rounds, however little; where 1 lies within the range, rounds differ.\n\n\
         | workload | peer | figure | ours | theirs | ours to theirs |\n|---|---|---|---|---|---|"
    )?;
    for workload in &results.workloads {
        for peer in peers(results) {
            for figure in figures(workload) {
                let ours = results.ours(workload.id, &figure.of);
                let theirs = results.values(workload.id, peer, &figure.of);
                let ratios = ratios(&ours, &theirs);
                let acks = |one: &Measured| one.figures.acks as f64;
                let acks = [
                    results.ours(workload.id, acks),
                    results.values(workload.id, peer, acks),
                ];
                let few = match figure.quantile > 0.0 {
                    true => shown::beyond(&acks.concat(), figure.quantile),
                    false => String::new(),
                };
                let two_digits = figure.name == CPU;
                let shown = if two_digits { shown::ratio } else { shown };
                if median(&ratios).is_some_and(|ratio| figure.is_worse(ratio)) {
                    writeln!(
                        out,
                        "| `{}` | {peer} | {}{} | {} | {} | {} |",
                        workload.id,
                        figure.name,
                        few,
                        shown(&ours),
                        shown(&theirs),
                        shown::ratio(&ratios)
                    )?;
                }
            }
        }
    }
    writeln!(out)
}

/// The promise of ours that holds where a server is killed, as theirs does, beside each workload of which there are both.
fn durable_beside_accepted(results: &Results, out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "## Ours durable to theirs accepted\n\n\
         What peers acknowledge as accepted is in the page cache, so that only a crash of the machine loses it, but for what \
         Redis puts off writing for up to 2 s while it syncs. What ours acknowledges so is in its memory, and a kill of it loses that, too. Here is what ours says is on the disk beside what they say is accepted.\n"
    )?;
    let peers: Vec<_> = peers(results).collect();
    writeln!(
        out,
        "| ours to theirs | {} |\n|---|{}",
        peers.join(" | "),
        "---|".repeat(peers.len())
    )?;
    for durable in of_level(results, Level::Durable) {
        let like = |accepted: &&Workload| is_like(durable, accepted);
        let Some(accepted) = of_level(results, Level::Accepted).find(like) else {
            continue;
        };
        // What both are compared by alone: with other windows, latencies are no matter of the promise.
        for figure in figures(durable).take(1) {
            let ours = results.ours(durable.id, &figure.of);
            let cell = |peer| {
                let theirs = results.values(accepted.id, peer, &figure.of);
                shown::ratio(&ratios(&ours, &theirs))
            };
            let cells: Vec<_> = peers.iter().copied().map(cell).collect();
            writeln!(
                out,
                "| `{}` ({} in flight) to `{}` ({}), {} | {} |",
                durable.id,
                durable.load.window,
                accepted.id,
                accepted.load.window,
                figure.name,
                cells.join(" | ")
            )?;
        }
    }
    writeln!(out)
}

fn of_level(results: &Results, level: Level) -> impl Iterator<Item = &Workload> {
    let all = results.workloads.iter();
    all.filter(move |one| one.kind == Kind::Produce && one.load.level == level)
}

/// Whether both send the same, whatever is in flight.
fn is_like(one: &Workload, other: &Workload) -> bool {
    let of = |workload: &Workload| {
        let load = &workload.load;
        let shape = (load.record_bytes, load.batch_records, load.rate.is_some());
        (shape, load.clients, load.partitions)
    };
    of(one) == of(other)
}

/// Contenders that are neither ours nor a yardstick.
fn peers(results: &Results) -> impl Iterator<Item = &'static str> {
    let names = results.contenders.iter().map(|who| who.name);
    names.filter(|name| !name.starts_with(OURS) && ![yardstick::BARE, ECHO].contains(name))
}

/// Something that a workload is measured by.
struct Figure {
    name: &'static str,
    /// What part of the acknowledgements a latency is above.
    quantile: f64,
    of: Box<dyn Fn(&Measured) -> f64>,
    /// Whether more is better.
    is_rate: bool,
}

impl Figure {
    fn is_worse(&self, ratio: f64) -> bool {
        if self.is_rate {
            ratio < 1.0
        } else {
            ratio > 1.0
        }
    }
}

/// All of them: what contenders are compared by, latencies, the server's processor time.
fn figures(workload: &Workload) -> impl Iterator<Item = Figure> {
    let metric = workload.metric;
    let first = Figure {
        name: metric.unit(),
        quantile: 0.0,
        of: Box::new(move |one| one.value(metric)),
        is_rate: metric.is_rate(),
    };
    let quantiles = workload.quantiles().iter();
    let quantiles = quantiles.filter(move |(name, ..)| *name != metric.unit());
    let quantiles = quantiles.map(|&(name, quantile, of)| Figure {
        name,
        quantile,
        of: Box::new(move |one| of(&one.figures).unwrap_or(f64::NAN)),
        is_rate: false,
    });
    let cpu = Figure {
        name: CPU,
        quantile: 0.0,
        of: Box::new(|one| one.server_cpu_s_per_gib),
        is_rate: false,
    };
    [first].into_iter().chain(quantiles).chain([cpu])
}

/// Those that are ratios: of a short run both servers' processor time may be none. If theirs alone is, ours is worse.
fn ratios(ours: &[(usize, f64)], theirs: &[(usize, f64)]) -> Vec<(usize, f64)> {
    let ratios = shown::ratios(ours, theirs).into_iter();
    ratios.filter(|(_, ratio)| !ratio.is_nan()).collect()
}

const CPU: &str = "server's CPU s/GiB";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::Figures;
    use crate::result::Who;
    use crate::workload::row;

    fn results(workloads: &[&str], measured: Vec<Measured>) -> Results {
        Results {
            contenders: ["Corelog", "Corelog, plain client", "bare", "Redis Streams"]
                .map(Who::named)
                .into(),
            workloads: workloads.iter().map(|id| row(id)).collect(),
            measured,
            ..Results::default()
        }
    }

    /// The list was made by hand, and left out what its own table had.
    #[test]
    fn all_that_is_worse_than_a_peers_is_listed_and_nothing_else() {
        let of = |contender, round, rate, p99_us, cpu| Measured {
            records_per_s: rate,
            server_cpu_s_per_gib: cpu,
            figures: Figures {
                acks: 900,
                p50_us: Some(100.0),
                p99_us: Some(p99_us),
                ..Figures::default()
            },
            ..Measured::nothing("durable-64x16", contender, round)
        };
        let results = results(
            &["durable-64x16"],
            vec![
                of("Corelog", 0, 80.0, 144.0, 1.0),
                of("Corelog", 1, 90.0, 130.0, 1.0),
                of("Corelog, plain client", 0, 1.0, 9_000.0, 9.0),
                of("bare", 0, 1_000.0, 1.0, 0.1),
                of("Redis Streams", 0, 100.0, 100.0, 2.0),
                of("Redis Streams", 1, 100.0, 100.0, 2.0),
            ],
        );
        let mut out = String::new();
        worse(&results, &mut out).unwrap();
        let rows: Vec<_> = out.lines().filter(|line| line.contains('`')).collect();
        assert_eq!(
            rows,
            [
                "| `durable-64x16` | Redis Streams | records/s | 85 (80 to 90) | 100 (100 to 100) | 0.85 (0.80 to 0.90) |",
                "| `durable-64x16` | Redis Streams | p99 µs (9 beyond) | 137 (130 to 144) | 100 (100 to 100) | 1.37 (1.30 to 1.44) |",
            ]
        );
    }

    #[test]
    fn what_ours_has_on_the_disk_stands_beside_what_theirs_has_in_the_page_cache() {
        let of = |workload, contender, mib_per_s| Measured {
            mib_per_s,
            ..Measured::nothing(workload, contender, 0)
        };
        let results = results(
            &[
                "produce-1k-1",
                "produce-1k-4",
                "consume-1k-4",
                "durable-1k-4",
            ],
            vec![
                of("produce-1k-4", "Corelog", 2_800.0),
                of("durable-1k-4", "Corelog", 1_600.0),
                of("produce-1k-1", "Redis Streams", 1.0),
                of("produce-1k-4", "Redis Streams", 400.0),
                of("durable-1k-4", "Redis Streams", 200.0),
            ],
        );
        let mut out = String::new();
        durable_beside_accepted(&results, &mut out).unwrap();
        let row = "| `durable-1k-4` (4 in flight) to `produce-1k-4` (8), MiB/s | 4.00 |";
        assert!(out.contains(row), "{out}");
        assert!(!out.contains("to `produce-1k-1`"), "{out}");
    }
}
