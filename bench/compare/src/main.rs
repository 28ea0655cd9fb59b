//! Compares a node with the peers that are installed, with `bench/bare` and with the machine's raw limits,
//! by turns in one run, and writes what it saw into a folder: a table for people and all of it as JSON.
//!
//! ```text
//! main         options, rounds and turns
//! workload     what everybody is put through
//! contender    what an adapter has to do
//! contenders/  the adapters
//! load         the clients of everything but ourselves
//! tally        what they count
//! payload      what they send, and how a reader checks it
//! process      servers: started, watched, ended
//! raw          the machine's limits
//! machine      what the machine is
//! result       what was measured
//! report       the table
//! curves       how a node scales, without peers
//! ```

mod contender;
mod contenders;
mod curves;
mod load;
mod machine;
mod payload;
mod process;
mod raw;
mod report;
mod result;
mod tally;
mod workload;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use serde::Serialize;
use serde_json::json;

use contender::{Consume, Contender, Figures};
use curves::Curves;
use result::{Measured, Results, Who};
use workload::{Kind, Turn, Workload};

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
    #[arg(long, value_delimiter = ',')]
    with: Vec<String>,
    /// The node.
    #[arg(long, env = "CORELOG")]
    corelog: PathBuf,
    /// The yardstick.
    #[arg(long, env = "BARE")]
    bare: PathBuf,
    /// A folder that is not there yet, on the disk to be measured; removed again.
    #[arg(long)]
    scratch: PathBuf,
    /// Where to leave what was seen.
    #[arg(long)]
    out: PathBuf,
}

fn main() -> Result<()> {
    let mut options = Options::parse();
    if options.quick {
        options.rounds = 1;
    }
    create(&options.scratch)?;
    options.scratch = options.scratch.canonicalize()?;
    let written = match options.curves {
        true => scale(&options).and_then(|curves| {
            let text = curves::markdown(&curves);
            write(&options.out, "curves", &curves, &text)
        }),
        false => run(&options).and_then(|results| {
            let text = report::markdown(&results);
            write(&options.out, "compare", &results, &text)
        }),
    };
    fs::remove_dir_all(&options.scratch)?;
    written?;
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

/// Leaves `name.json` and `name.md`.
fn write(out: &Path, name: &str, all: &impl Serialize, text: &str) -> Result<()> {
    fs::create_dir_all(out)?;
    let path = |ending: &str| out.join(format!("{name}.{ending}"));
    fs::write(path("json"), serde_json::to_vec_pretty(all)?)?;
    Ok(fs::write(path("md"), text)?)
}

/// Whether a name begins as one of those that are wanted, if any are named.
fn is_wanted(name: &str, wanted: &[String]) -> bool {
    let starts = |start: &String| name.to_lowercase().starts_with(&start.to_lowercase());
    wanted.is_empty() || wanted.iter().any(starts)
}

fn scale(options: &Options) -> Result<Curves> {
    let mut curves = Curves {
        machine: machine::describe(&options.scratch),
        rounds: options.rounds,
        is_quick: options.quick,
        curves: curves::planned(options.quick),
    };
    let is_curve = |curve: &curves::Curve| is_wanted(curve.id, &options.only);
    curves.curves.retain(is_curve);
    curves::run(
        &options.corelog,
        &options.scratch,
        options.rounds,
        &mut curves,
    )?;
    Ok(curves)
}

fn run(options: &Options) -> Result<Results> {
    let mut turns = workload::turns(options.quick);
    for turn in &mut turns {
        // What is consumed has to be produced first.
        let is_turn = turn
            .workloads
            .iter()
            .any(|row| is_wanted(row.id, &options.only));
        turn.workloads.retain(|_| is_turn);
    }
    turns.retain(|turn| !turn.workloads.is_empty());
    let (fio_bytes, seconds) = if options.quick {
        (256 << 20, 1)
    } else {
        (1 << 30, 3)
    };
    let mut results = Results {
        machine: machine::describe(&options.scratch),
        command: std::env::args().skip(1).collect::<Vec<_>>().join(" "),
        rounds: options.rounds,
        is_quick: options.quick,
        raw_commands: raw::commands(fio_bytes, seconds),
        workloads: turns
            .iter()
            .flat_map(|turn| turn.workloads.clone())
            .collect(),
        ..Results::default()
    };
    let mut contenders = Vec::new();
    for contender in contenders::all(&options.corelog, &options.bare) {
        match contender.version() {
            _ if !is_wanted(contender.name(), &options.with) => {}
            Ok(version) => {
                results.contenders.push(Who::of(&*contender, version));
                contenders.push(contender);
            }
            Err(error) => results.absent.push((contender.name(), error.to_string())),
        }
    }
    let mut steal = machine::steal((0.0, 0.0)).1;
    for round in 0..options.rounds {
        println!(
            "round {} of {}, load {}",
            round + 1,
            options.rounds,
            machine::load_average()
        );
        let limits = raw::measure(&options.scratch, &options.bare, fio_bytes, seconds)?;
        println!("{limits:#?}");
        for workload in turns.iter_mut().flat_map(|turn| &mut turn.workloads) {
            workload.load.is_zero_copy = raw::is_zero_copy_faster(&limits);
        }
        results.raw.push(limits);
        for turn in &turns {
            // Each round begins with another one.
            for number in 0..contenders.len() {
                let number = (round + number) % contenders.len();
                take_turn(&mut *contenders[number], turn, round, options, &mut results)?;
            }
        }
        let (share, now) = machine::steal(steal);
        steal = now;
        results.noise.push(json!({
            "load_average": machine::load_average(),
            "stolen_share": share,
        }));
    }
    Ok(results)
}

/// Lets a contender do the workloads of a turn, and notes what they came to or why they did not.
fn take_turn(
    contender: &mut dyn Contender,
    turn: &Turn,
    round: usize,
    options: &Options,
    results: &mut Results,
) -> Result<()> {
    let name = contender.name();
    let mut can = Vec::new();
    for workload in &turn.workloads {
        let promise = contender.promise(turn.level).err();
        match promise.or_else(|| contender.cannot(workload)) {
            Some(reason) => results.note(name, workload.id, reason),
            None => can.push(workload),
        }
    }
    if can.is_empty() {
        return Ok(());
    }
    let folder = options.scratch.join("turn");
    fs::create_dir_all(&folder)?;
    let mut measured = Vec::new();
    machine::warm_memory()?;
    let ended = perform(contender, &can, round, &folder, &mut measured);
    let stopped = contender.stop();
    for one in &measured {
        println!("{one}");
    }
    results.measured.extend(measured);
    if let Err(error) = ended.and(stopped) {
        let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
        let last: Vec<_> = log.lines().rev().take(3).collect();
        let reason = format!("round {}: {error:#} {last:?}", round + 1);
        println!("{name}, {}: {reason}", can[0].id);
        results.note(name, can[0].id, reason);
    }
    fs::remove_dir_all(&folder).context("cannot remove what a server left")
}

fn perform(
    contender: &mut dyn Contender,
    workloads: &[&Workload],
    round: usize,
    folder: &Path,
    measured: &mut Vec<Measured>,
) -> Result<()> {
    const TOPIC: &str = "bench";
    contender.start(folder, &workloads[0].load)?;
    let mut records = 0;
    for workload in workloads {
        let load = &workload.load;
        let mut resident_before = 0;
        let mut cpu = cpu_seconds(contender);
        let figures: Figures = match workload.kind {
            Kind::Produce => {
                contender.warm_up(load)?;
                contender.create(TOPIC, load.partitions)?;
                cpu = cpu_seconds(contender);
                contender.produce(TOPIC, load)?
            }
            Kind::Consume => consume(contender, TOPIC, workload, records, false)?,
            Kind::ConsumeCold => {
                contender.create(TOPIC, load.partitions)?;
                let produced = contender.produce(TOPIC, load)?;
                contender.stop()?;
                drop_from_cache(folder)?;
                contender.start(folder, load)?;
                cpu = cpu_seconds(contender);
                consume(contender, TOPIC, workload, produced.records_total, true)?
            }
            Kind::Fill => {
                std::thread::sleep(SETTLE);
                resident_before = resident_bytes(contender);
                contender.create(TOPIC, load.partitions)?;
                contender.fill(TOPIC, load)?
            }
        };
        records = figures.records_total;
        // What was put off until after the last answer counts, too.
        std::thread::sleep(SETTLE);
        let bytes = (records * load.record_bytes as u64) as f64;
        measured.push(Measured {
            round,
            workload: workload.id,
            contender: contender.name(),
            mib_per_s: figures.mib_per_s(),
            records_per_s: figures.records_per_s(),
            server_cpu_s_per_gib: match workload.kind {
                Kind::Fill => f64::NAN,
                _ => (cpu_seconds(contender) - cpu) / bytes * f64::from(1 << 30),
            },
            resident_mib: resident_bytes(contender).saturating_sub(resident_before) as f64
                / f64::from(1 << 20),
            figures,
        });
        if workload.id == "accepted-one"
            && let Some(echo) = contender.echo(load)
        {
            let figures = echo?;
            measured.push(Measured::of_echo(round, workload.id, figures));
        }
    }
    Ok(())
}

fn consume(
    contender: &mut dyn Contender,
    topic: &str,
    workload: &Workload,
    records: u64,
    is_cold: bool,
) -> Result<Figures> {
    let load = Consume {
        produced: workload.load,
        is_cold,
        records,
    };
    contender.consume(topic, &load)
}

fn cpu_seconds(contender: &dyn Contender) -> f64 {
    contender
        .process()
        .map_or(f64::NAN, |process| process.cpu_seconds())
}

fn resident_bytes(contender: &dyn Contender) -> u64 {
    contender
        .process()
        .map_or(0, |process| process.resident_bytes())
}

/// Leaves nothing of the files below `folder` in the page cache.
fn drop_from_cache(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            drop_from_cache(&path)?;
        } else if path.is_file() {
            let file = fs::File::open(&path)?;
            file.sync_all()?;
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        }
    }
    Ok(())
}

/// How long a server is left alone before its processor time and memory are read.
const SETTLE: Duration = Duration::from_millis(200);
