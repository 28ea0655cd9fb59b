//! The table: medians, from the least to the most, and the medians of the ratios within rounds.

use std::fmt::Write as _;

use crate::against;
use crate::contender::Quantile;
use crate::machine;
use crate::raw;
use crate::result::{ECHO, Measured, Results};
use crate::shown::{self, median, shown};
use crate::workload::{Kind, Workload};
use crate::yardstick;

/// All of it as Markdown.
pub fn markdown(results: &Results) -> String {
    let mut out = String::new();
    // A string takes whatever is written.
    let _ = write(results, &mut out);
    out
}

fn write(results: &Results, out: &mut String) -> std::fmt::Result {
    let machine = &results.machine;
    let said = |key: &str| machine[key].as_str().unwrap_or_default().to_owned();
    writeln!(out, "# A node beside its peers, {}\n", said("date"))?;
    writeln!(
        out,
        "{} by turns{}, medians (least to most). Written by `{}`, {}.\n",
        results.progress,
        if results.is_quick {
            ", **shortened to try things out: no figure counts**"
        } else {
            ""
        },
        results.command,
        machine::programs(machine),
    )?;
    writeln!(
        out,
        "{}, {} cores, {}; {}; {}; {}; congestion control {}.",
        said("processor"),
        machine["cores"],
        said("memory"),
        said("kernel"),
        said("file_system"),
        said("rustc"),
        said("congestion_control"),
    )?;
    for disk in machine["disks"].as_array().into_iter().flatten() {
        writeln!(
            out,
            "Disk {}: write cache {}, fua {}, sectors of {} (physical {}), scheduler {}.",
            disk["name"],
            disk["write_cache"],
            disk["fua"],
            disk["logical_sector"],
            disk["physical_sector"],
            disk["scheduler"]
        )?;
    }
    writeln!(out, "\n| raw limit of the same run | |\n|---|---|")?;
    for name in [
        raw::LOOPBACK,
        raw::LOOPBACK_ZERO_COPY,
        raw::WRITE,
        raw::READ,
        raw::SYNC_P50,
        raw::SYNC_P99,
        raw::BARE_SYNC_P50,
        raw::BARE_SYNC_P99,
        raw::BARE_DURABLE_P50,
        raw::BARE_DURABLE_P99,
    ] {
        writeln!(out, "| {name} | {} |", shown(&limits(results, name)))?;
    }
    writeln!(out, "\n`{}`\n", results.raw_commands.join("`, `"))?;
    contenders(results, out)?;
    served(results, out)?;
    writeln!(out, "{LEGEND}\n")?;
    against::write(results, out)?;
    for workload in &results.workloads {
        table(results, workload, out)?;
    }
    noise(results, out)
}

fn contenders(results: &Results, out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "| | version | settings | accepted means | durable means | consuming asks for |\n|---|---|---|---|---|---|"
    )?;
    for who in &results.contenders {
        let settings = match who.settings_accepted == who.settings_durable {
            true => who.settings_accepted.clone(),
            false => format!(
                "{}; durable: {}",
                who.settings_accepted, who.settings_durable
            ),
        };
        writeln!(
            out,
            "| {} | {} | {settings} | {} | {} | {} |",
            who.name, who.version, who.accepted, who.durable, who.asked
        )?;
    }
    for (name, reason) in &results.absent {
        writeln!(out, "| {name} | not there: {reason} | | | | |")?;
    }
    writeln!(out)
}

/// Folded away: what its settings are in short stands beside each contender.
fn served(results: &Results, out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "<details><summary>How servers were started, with the ports of their first turns</summary>\n\n```text"
    )?;
    for served in &results.served {
        writeln!(out, "{}: {}", served.contender, served.command)?;
        for (name, text) in &served.config_files {
            for line in text.lines() {
                writeln!(out, "    {name}: {line}")?;
            }
        }
    }
    writeln!(out, "```\n\n</details>\n")
}

fn table(results: &Results, workload: &Workload, out: &mut String) -> std::fmt::Result {
    let metric = workload.metric;
    let unit = metric.unit();
    writeln!(out, "## {}\n\n`{}`\n", workload.title, workload.id)?;
    let latencies = latencies(workload);
    let heads = latencies.iter().map(|(head, ..)| format!(" {head} |"));
    writeln!(
        out,
        "| | {unit} | ours to theirs |{} server's CPU s/GiB | |",
        heads.collect::<String>()
    )?;
    writeln!(
        out,
        "|---|---|---|---|---|{}",
        "---|".repeat(latencies.len())
    )?;
    let names = results.contenders.iter().map(|who| who.name);
    for name in names.clone().chain([ECHO]) {
        let values = results.values(workload.id, name, |one| one.value(metric));
        if values.is_empty() {
            continue;
        }
        let column = |of: &dyn Fn(&Measured) -> f64, digits: usize| {
            let values = results.values(workload.id, name, of);
            median(&values).map_or("".into(), |median| format!("{median:.digits$}"))
        };
        let latencies = latencies.iter();
        let latencies = latencies.map(|(_, quantile, of)| {
            let acks = results.values(workload.id, name, |one| one.figures.acks as f64);
            format!(
                " {}{} |",
                column(&|one| of(&one.figures).unwrap_or(f64::NAN), 0),
                shown::beyond(&acks, *quantile)
            )
        });
        let latency: String = latencies.collect();
        writeln!(
            out,
            "| {name} | {}{} | {} |{latency} {} | {} |",
            shown(&values),
            rounds(values.len(), results.raw.len()),
            ratio(results, workload, name),
            column(&|one| one.server_cpu_s_per_gib, 2),
            remark(results, workload, name),
        )?;
    }
    if let Some(over) = yardstick::over_floor(results, workload) {
        writeln!(out, "\n{over}")?;
    }
    let notes = results
        .notes
        .iter()
        .filter(|note| note.workload == workload.id);
    for note in notes {
        writeln!(out, "\n- {}: {}", note.contender, note.reason)?;
    }
    writeln!(out)
}

/// The columns of latencies of a workload: the head of each, with the kind of loop that it is of, and what stands in it.
fn latencies(workload: &Workload) -> Vec<(String, f64, Quantile)> {
    let kind = match workload.load.rate {
        Some(_) => "open",
        None => "closed",
    };
    let quantiles = workload.quantiles().iter();
    let quantiles =
        quantiles.map(|(name, share, of)| (format!("{name}, {kind} loop"), *share, *of));
    quantiles.collect()
}

/// The median of the ratios within rounds, of ours to theirs.
fn ratio(results: &Results, workload: &Workload, name: &str) -> String {
    let of = |one: &Measured| one.value(workload.metric);
    let theirs = results.values(workload.id, name, of);
    shown::ratio(&shown::ratios(&results.ours(workload.id, of), &theirs))
}

/// How many rounds a figure is of, if that is not all of them.
fn rounds(count: usize, all: usize) -> String {
    match count < all {
        true => format!(", {count} of {all} rounds"),
        false => String::new(),
    }
}

/// What has to be known beside a row.
fn remark(results: &Results, workload: &Workload, name: &str) -> String {
    let who = results.contenders.iter().find(|who| who.name == name);
    let promise = who.map(|who| match workload.load.level {
        crate::contender::Level::Accepted => who.accepted.clone(),
        crate::contender::Level::Durable => who.durable.clone(),
    });
    let is_produced = workload.kind == Kind::Produce;
    let promise = promise.filter(|_| is_produced).unwrap_or_default();
    let yardsticks = yardstick::remarks(results, workload, name);
    let short = shortfall(results, workload, name);
    let promise = Some(promise).filter(|promise| !promise.is_empty());
    let said = promise.into_iter().chain(yardsticks).chain(short);
    said.collect::<Vec<_>>().join("; ")
}

/// What was read where it was less than the load, since no more had been produced in the time for that.
fn shortfall(results: &Results, workload: &Workload, name: &str) -> Option<String> {
    if !matches!(workload.kind, Kind::Consume | Kind::ConsumeCold) {
        return None;
    }
    let load = &workload.load;
    let mib = |bytes: f64| bytes / f64::from(1 << 20);
    let all = mib((load.batches * load.batch_bytes()) as f64);
    let read = results.values(workload.id, name, |one| {
        mib(one.figures.records_total as f64 * load.record_bytes as f64)
    });
    let least = read.iter().map(|(_, mib)| *mib).reduce(f64::min)?;
    (least < all).then(|| format!("**read {} MiB of {all:.0}**", shown(&read)))
}

fn noise(results: &Results, out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "## Noise\n\n| round | load average | processor time taken by the host |\n|---|---|---|"
    )?;
    for (round, noise) in results.noise.iter().enumerate() {
        let stolen = noise["stolen_share"].as_f64().unwrap_or(0.0) * 100.0;
        writeln!(
            out,
            "| {} | {} | {stolen:.1} % |",
            round + 1,
            noise["load_average"]
        )?;
    }
    writeln!(
        out,
        "\nWhat ours was in the commands of the last round:\n\n```text"
    )?;
    for workload in &results.workloads {
        let ours = results.contenders.first().map_or("", |who| who.name);
        let mut measured = results.measured.iter().rev();
        let last = measured.find(|one| one.workload == workload.id && one.contender == ours);
        if let Some(one) = last {
            writeln!(out, "{}: {}", workload.id, one.figures.how)?;
        }
    }
    writeln!(out, "```")
}

fn limits(results: &Results, name: &str) -> Vec<(usize, f64)> {
    let limits = results.raw.iter().enumerate();
    limits
        .filter_map(|(round, limits)| Some((round, *limits.get(name)?)))
        .collect()
}

/// How ratios are to be read, and what latencies are of.
const LEGEND: &str = "\
*Ours to theirs* is the median of the ratios within rounds: above 1 is better in rows of MiB/s and records/s, and worse in \
those of µs and MiB. Latencies are of closed loops, but where a row says that it is an open one. In a closed loop whoever waits sends nothing \
meanwhile, so that a stall is counted once for each that was in flight, not for all that would have come. In an open one \
each counts from when it was due. Behind a quantile stands how many acknowledgements of a round took longer, where they are fewer than ten: \
what it says then is of one or two of them.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::Figures;
    use crate::workload::row;

    #[test]
    fn what_was_read_is_said_where_it_is_less_than_the_load() {
        let cold = row("consume-cold");
        let of = |records: [u64; 2]| Results {
            measured: (0..)
                .zip(records)
                .map(|(round, records)| Measured {
                    figures: Figures {
                        records_total: records,
                        ..Figures::default()
                    },
                    ..Measured::nothing(cold.id, "bare", round)
                })
                .collect(),
            ..Results::default()
        };
        assert_eq!(shortfall(&of([2 << 20; 2]), &cold, "bare"), None);
        let said = shortfall(&of([2 << 20, 1 << 20]), &cold, "bare").unwrap();
        assert_eq!(said, "**read 1,536 (1,024 to 2,048) MiB of 2048**");
    }

    #[test]
    fn a_figure_of_fewer_rounds_says_so() {
        assert_eq!(rounds(5, 5), "");
        assert_eq!(rounds(4, 5), ", 4 of 5 rounds");
    }

    #[test]
    fn latencies_say_what_kind_of_loop_they_are_of() {
        let heads = |id| latencies(&row(id)).into_iter().map(|(head, ..)| head);
        let closed = ["p50 µs, closed loop", "p99 µs, closed loop"];
        assert!(heads("durable-one").eq(closed));
        let open = [
            "p50 µs, open loop",
            "p99 µs, open loop",
            "p99.9 µs, open loop",
        ];
        assert!(heads("durable-paced").eq(open));
        assert_eq!(heads("consume-cold").count(), 0);
    }
}
