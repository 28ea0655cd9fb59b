//! Compares a node with the peers that are installed, with `bench/bare` and with the machine's raw limits,
//! by turns in one run, and writes what it saw into a folder: a table for people and all of it as JSON.
//!
//! ```text
//! main         options
//! wanted       what a run is limited to
//! rounds       rounds and turns
//! workload     what everybody is put through
//! contender    what an adapter has to do
//! contenders/  the adapters
//! load         the clients of everything but ourselves
//! sending      what one of their connections sends
//! pace         when that is due, in an open loop
//! tally        what they count
//! payload      what they send, and how a reader checks it
//! process      servers: started, watched, ended
//! raw          the machine's limits
//! machine      what the machine is
//! result       what was measured
//! served       how servers were started
//! progress     how many rounds of it there are
//! report       the table
//! against      what it says against the node
//! yardstick    what in it is one
//! shown        how values of rounds are shown
//! median       of several
//! kept         where both are left
//! curves       how a node scales, without peers
//! ```

mod against;
mod contender;
mod contenders;
mod curves;
mod kept;
mod load;
mod machine;
mod median;
mod pace;
mod payload;
mod process;
mod progress;
mod raw;
mod report;
mod result;
mod rounds;
mod sending;
mod served;
mod shown;
mod tally;
mod wanted;
mod workload;
mod yardstick;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Parser;

use curves::Curves;
use kept::Kept;
use progress::Progress;
use wanted::is_wanted;

/// Compare a node with its peers.
#[derive(Parser)]
struct Options {
    /// How often everything is measured.
    #[arg(long, env = "ROUNDS", default_value_t = 5)]
    rounds: usize,
    /// One short round, to see whether everything works.
    #[arg(long)]
    quick: bool,
    /// Measure how a node scales instead: partitions, connections, sizes, cores, length.
    #[arg(long)]
    curves: bool,
    /// Only these workloads or curves, by the start of their names (with commas).
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only these contenders, by the start of their names (with commas).
    #[arg(long, value_delimiter = ',', conflicts_with = "curves")]
    with: Vec<String>,
    /// The node.
    #[arg(long, env = "CORELOG")]
    corelog: PathBuf,
    /// The yardstick.
    #[arg(long, env = "BARE")]
    bare: PathBuf,
    /// What was typed, for the record.
    #[arg(long, default_value = "compare")]
    command: String,
    /// Whether the node was built of this commit just now, and not named.
    #[arg(long)]
    built: bool,
    /// A folder that is not there yet, on the disk to be measured; removed again.
    #[arg(long)]
    scratch: PathBuf,
    /// Where to leave what was seen: a folder that has no results of another run.
    #[arg(long)]
    out: PathBuf,
}

fn main() -> Result<()> {
    let mut options = Options::parse();
    if options.quick {
        options.rounds = 1;
    }
    let measure = if options.curves { scale } else { rounds::run };
    let kept = Kept::new(
        &options.out,
        if options.curves { "curves" } else { "compare" },
    )?;
    create(&options.scratch)?;
    options.scratch = options.scratch.canonicalize()?;
    let measured = measure(&options, &kept);
    let removed = fs::remove_dir_all(&options.scratch).context("cannot remove what servers left");
    measured.and(removed)?;
    println!("kept in {}", options.out.display());
    Ok(())
}

/// Makes the folder for what servers write. It goes at the end, so what was there before is not for it.
fn create(scratch: &Path) -> Result<()> {
    if let Some(parent) = scratch.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::create_dir(scratch).with_context(|| format!("cannot create {}", scratch.display()))
}

/// Measures the curves, and keeps what there is of them after each round.
fn scale(options: &Options, kept: &Kept) -> Result<()> {
    let mut curves = Curves {
        command: options.command.clone(),
        machine: machine::describe(options),
        progress: Progress::of_rounds(options.rounds),
        is_quick: options.quick,
        curves: curves::planned(options.quick),
    };
    let ids: Vec<_> = curves.curves.iter().map(|curve| curve.id).collect();
    wanted::check("--only", &options.only, &ids)?;
    curves
        .curves
        .retain(|curve| is_wanted(curve.id, &options.only));
    for round in 0..options.rounds {
        println!("round {} of {}", round + 1, options.rounds);
        let ended = curves.measure(&options.corelog, &options.scratch);
        curves.progress.note(&ended);
        kept.write(&curves, &curves::markdown(&curves))?;
        ended?;
    }
    curves.check()
}
