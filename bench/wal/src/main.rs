//! Appends a second of the embedded log, okaywal and commitlog, by turns in one run, as a Markdown
//! table: medians, and the median of the ratios of each round.
//!
//! ```text
//! cargo run --release -- [FOLDER] [ROUNDS] [CASE]
//! ```
//!
//! CASE leaves out those whose first two columns do not hold it.

mod contenders;

use std::path::{Path, PathBuf};

use contenders::{Contender, Load, Result};

/// A row of the table.
struct Case {
    name: &'static str,
    record_bytes: usize,
    batch: usize,
    /// Bytes of records in all without syncs; with them, how many calls.
    amount: usize,
    is_synced: bool,
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments
        .next()
        .map_or_else(|| PathBuf::from("target/logs"), PathBuf::from);
    let rounds: usize = arguments.next().map_or(Ok(7), |rounds| rounds.parse())?;
    let wanted = arguments.next().unwrap_or_default();
    println!(
        "| case | records | corelog | okaywal | commitlog | commitlog + fdatasync | to okaywal | to commitlog |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for case in cases() {
        if case.title().contains(&wanted) {
            row(&case, &folder, rounds)?;
        }
    }
    Ok(())
}

impl Case {
    /// The first two columns of its row.
    fn title(&self) -> String {
        let Self {
            name,
            record_bytes,
            batch,
            ..
        } = self;
        format!("{name} | {batch} × {record_bytes} B")
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let streams = [
        ("4 MiB, no sync", 4 << 20),
        ("256 MiB, no sync", 256 << 20),
        ("1 GiB, no sync", 1 << 30),
    ];
    for (name, amount) in streams {
        for batch in [1, 100] {
            for record_bytes in [100, 1024] {
                cases.push(Case {
                    name,
                    record_bytes,
                    batch,
                    amount,
                    is_synced: false,
                });
            }
        }
    }
    for (batch, amount) in [(1, 1_000), (100, 500)] {
        for record_bytes in [100, 1024] {
            cases.push(Case {
                name: "a sync after each",
                record_bytes,
                batch,
                amount,
                is_synced: true,
            });
        }
    }
    cases
}

fn row(case: &Case, folder: &Path, rounds: usize) -> Result<()> {
    let record = vec![0x5a; case.record_bytes];
    let calls = match case.is_synced {
        true => case.amount,
        false => case.amount / case.record_bytes / case.batch,
    };
    let load = Load {
        record: &record,
        batch: case.batch,
        calls,
        is_synced: case.is_synced,
    };
    let mut all = [Contender::Corelog, Contender::Okaywal, Contender::Commitlog].to_vec();
    if case.is_synced {
        all.push(Contender::CommitlogSynced);
    }
    let mut rates = vec![Vec::new(); all.len()];
    for round in 0..rounds {
        // Each round begins with another one.
        for turn in 0..all.len() {
            let number = (round + turn) % all.len();
            let folder = folder.join(format!("{number}-{round}"));
            let seconds = all[number].run(&folder, load)?;
            std::fs::remove_dir_all(&folder)?;
            rates[number].push((calls * case.batch) as f64 / seconds);
        }
    }
    let ratio = |other: usize| {
        let pairs = rates[0].iter().zip(&rates[other]);
        median(pairs.map(|(ours, theirs)| ours / theirs).collect())
    };
    let shown: Vec<_> = rates
        .iter()
        .map(|rates| thousands(median(rates.clone())))
        .collect();
    let synced = shown.get(3).map_or("", String::as_str);
    // Without syncs there is but one commitlog; with them, the durable one is the like.
    let to_commitlog = ratio(all.len() - 1);
    println!(
        "| {} | {} | {} | {} | {synced} | {:.2} | {to_commitlog:.2} |",
        case.title(),
        shown[0],
        shown[1],
        shown[2],
        ratio(1),
    );
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Appends a second, in thousands.
fn thousands(rate: f64) -> String {
    format!("{:.1} k/s", rate / 1000.0)
}
