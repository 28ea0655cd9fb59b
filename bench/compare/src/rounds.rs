//! Rounds by turns: the raw limits, then whatever each contender is put through.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::Options;
use crate::contender::{Consume, Contender, Figures};
use crate::kept::Kept;
use crate::progress::Progress;
use crate::result::{Measured, Results, Who};
use crate::served::Served;
use crate::wanted::{self, is_wanted};
use crate::workload::{self, Kind, Turn, Workload};
use crate::{contenders, machine, raw, report};

/// Measures all rounds and keeps what there is after each.
///
/// # Errors
/// If a round cannot go on, or what was measured cannot be kept; if nothing is wanted that there is.
pub fn run(options: &Options, kept: &Kept) -> Result<()> {
    let turns = turns(options)?;
    machine::check_unpaced()?;
    let raw_load = match options.quick {
        true => (256 << 20, 1),
        false => (1 << 30, 3),
    };
    let mut results = Results {
        machine: machine::describe(options),
        command: options.command.clone(),
        progress: Progress::of_rounds(options.rounds),
        is_quick: options.quick,
        raw_commands: raw::commands(raw_load.0, raw_load.1),
        workloads: turns
            .iter()
            .flat_map(|turn| turn.workloads.clone())
            .collect(),
        ..Results::default()
    };
    let mut contenders = contenders(options, &mut results)?;
    let mut steal = machine::steal((0.0, 0.0)).1;
    for round in 0..options.rounds {
        println!(
            "round {} of {}, load {}",
            round + 1,
            options.rounds,
            machine::load_average()
        );
        let ended = measure(
            round,
            raw_load,
            &turns,
            &mut contenders,
            options,
            &mut results,
        );
        let (share, now) = machine::steal(steal);
        steal = now;
        results.noise.push(json!({
            "load_average": machine::load_average(),
            "stolen_share": share,
        }));
        results.progress.note(&ended);
        if !results.measured.is_empty() {
            kept.write(&results, &report::markdown(&results))?;
        }
        ended?;
    }
    results.check_ours()
}

/// The turns of workloads that are wanted.
fn turns(options: &Options) -> Result<Vec<Turn>> {
    let mut turns = workload::turns(options.quick);
    let ids = turns.iter().flat_map(|turn| &turn.workloads);
    let ids: Vec<_> = ids.map(|row| row.id).collect();
    wanted::check("--only", &options.only, &ids)?;
    // What is consumed has to be produced first.
    turns.retain(|turn| {
        let mut rows = turn.workloads.iter();
        rows.any(|row| is_wanted(row.id, &options.only))
    });
    Ok(turns)
}

/// The contenders that are wanted and installed; who is not is noted.
fn contenders(options: &Options, results: &mut Results) -> Result<Vec<Box<dyn Contender>>> {
    let all = contenders::all(&options.corelog, &options.bare);
    let names: Vec<_> = all.iter().map(|contender| contender.name()).collect();
    wanted::check("--with", &options.with, &names)?;
    let mut contenders = Vec::new();
    for contender in all {
        match contender.version() {
            _ if !is_wanted(contender.name(), &options.with) => {}
            Ok(version) => {
                results.contenders.push(Who::of(&*contender, version));
                contenders.push(contender);
            }
            Err(error) => results.absent.push((contender.name(), error.to_string())),
        }
    }
    ensure!(
        !contenders.is_empty(),
        "none of those is there: {:?}",
        results.absent
    );
    Ok(contenders)
}

/// One round of all turns. Who comes behind whom is left to chance, and the same in each run: whoever leaves much behind
/// would be before the same one each time.
fn measure(
    round: usize,
    (fio_bytes, seconds): (u64, u64),
    turns: &[Turn],
    contenders: &mut [Box<dyn Contender>],
    options: &Options,
    results: &mut Results,
) -> Result<()> {
    let limits = raw::measure(&options.scratch, &options.bare, fio_bytes, seconds)?;
    println!("{limits:#?}");
    results.raw.push(limits);
    for (number, turn) in turns.iter().enumerate() {
        for contender in order(contenders.len(), (round, number)) {
            take_turn(&mut *contenders[contender], turn, round, options, results)?;
        }
    }
    Ok(())
}

/// In which order so many take a turn of a round.
fn order(count: usize, (round, turn): (usize, usize)) -> Vec<usize> {
    let mut order: Vec<_> = (0..count).collect();
    fastrand::Rng::with_seed((round * 1_000 + turn) as u64).shuffle(&mut order);
    order
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
    if let Some(served) = Served::read(contender, &folder) {
        results.keep_served(served);
    }
    let stopped = contender.stop();
    for one in &measured {
        println!("{one}");
    }
    let done = measured.iter().filter(|one| one.contender == name).count();
    results.measured.extend(measured);
    if let Err(error) = ended.and(stopped) {
        let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
        let last: Vec<_> = log.lines().rev().take(3).collect();
        let reason = format!("round {}: {error:#} {last:?}", round + 1);
        note_failure(results, name, &can, done, &reason);
    }
    fs::remove_dir_all(&folder).context("cannot remove what a server left")?;
    // What a file system has to do about that is not the next one's.
    rustix::fs::sync();
    std::thread::sleep(SETTLE);
    Ok(())
}

/// Notes why there is no figure of the workload behind those that were `done`, and of all behind that one: what was not
/// produced cannot be consumed. What fails when all were done is noted with the last one.
fn note_failure(
    results: &mut Results,
    name: &'static str,
    workloads: &[&Workload],
    done: usize,
    reason: &str,
) {
    let failed = done.min(workloads.len() - 1);
    for workload in &workloads[failed..] {
        println!("{name}, {}: {reason}", workload.id);
        results.fail(name, workload.id, reason.to_owned());
    }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Of a peer whose produce failed, the row of consuming had neither a figure nor a reason.
    #[test]
    fn what_fails_is_noted_in_all_rows_that_it_leaves_empty() {
        let turn = workload::turns(true).swap_remove(0);
        let rows: Vec<_> = turn.workloads.iter().collect();
        let noted = |done| {
            let mut results = Results::default();
            note_failure(&mut results, "Redis", &rows, done, "it has no room");
            let ids = results.notes.iter().map(|note| note.workload);
            ids.collect::<Vec<_>>()
        };
        assert_eq!(noted(0), ["produce-1k-1", "consume-1k-1"]);
        assert_eq!(noted(1), ["consume-1k-1"]);
        // The server was to end, and did not.
        assert_eq!(noted(2), ["consume-1k-1"]);
    }

    #[test]
    fn everybody_comes_behind_everybody_else_some_time() {
        let mut pairs = BTreeSet::new();
        for round in 0..5 {
            for turn in 0..10 {
                let order = order(6, (round, turn));
                assert_eq!(BTreeSet::from_iter(&order).len(), 6);
                pairs.extend(order.windows(2).map(|pair| (pair[0], pair[1])));
            }
        }
        assert_eq!(pairs.len(), 6 * 5);
    }
}
