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
        "| case | records | corelog | okaywal | okaywal, all kept | commitlog | commitlog + fdatasync | \
         to okaywal | to okaywal, all kept | to commitlog |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
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
        ("64 MiB, no sync", 64 << 20),
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
    let mut all = vec![Contender::Corelog, Contender::Okaywal, Contender::Commitlog];
    if case.is_synced {
        all.extend([Contender::OkaywalKept, Contender::CommitlogSynced]);
    }
    let mut rates = vec![Vec::new(); all.len()];
    // Each round begins with another one. The first is not counted: a virtual machine asks its host for
    // memory that it has not touched, which takes longer than all that is measured.
    for round in 0..=rounds {
        for turn in 0..all.len() {
            let number = (round + turn) % all.len();
            let folder = folder.join(format!("{number}-{round}"));
            let seconds = all[number].run(&folder, load)?;
            std::fs::remove_dir_all(&folder)?;
            if round > 0 {
                rates[number].push((calls * case.batch) as f64 / seconds);
            }
        }
    }
    let of = |contender| {
        let place = all.iter().position(|one| *one == contender)?;
        Some(&rates[place])
    };
    let rate = |contender| {
        let rates = of(contender).cloned();
        rates.map_or_else(String::new, |rates| thousands(median(rates)))
    };
    let ratio = |other| {
        let pairs = |theirs| rates[0].iter().zip(theirs);
        let ratios = of(other).map(|theirs| pairs(theirs).map(|(ours, theirs)| ours / theirs));
        ratios.map_or_else(String::new, |ratios| {
            format!("{:.2}", median(ratios.collect()))
        })
    };
    // With syncs, the commitlog that is durable is the like.
    let commitlog = match case.is_synced {
        true => Contender::CommitlogSynced,
        false => Contender::Commitlog,
    };
    println!(
        "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
        case.title(),
        rate(Contender::Corelog),
        rate(Contender::Okaywal),
        rate(Contender::OkaywalKept),
        rate(Contender::Commitlog),
        rate(Contender::CommitlogSynced),
        ratio(Contender::Okaywal),
        ratio(Contender::OkaywalKept),
        ratio(commitlog),
    );
    Ok(())
}

/// Of an even number the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = (values.len() - 1) / 2;
    (values[middle] + values[values.len() / 2]) / 2.0
}

/// Appends a second, in thousands.
fn thousands(rate: f64) -> String {
    format!("{:.1} k/s", rate / 1000.0)
}
