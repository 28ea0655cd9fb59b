//! The table: medians, from the least to the most, and the medians of the ratios within rounds.

use std::fmt::Write as _;

use crate::contender::Figures;
use crate::machine;
use crate::median;
use crate::raw;
use crate::result::{ECHO, Measured, OURS, Results};
use crate::workload::{Kind, Metric, Workload};

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
    writeln!(out, "{LOOPS}\n")?;
    for workload in &results.workloads {
        table(results, workload, out)?;
    }
    noise(results, out)
}

fn contenders(results: &Results, out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "| | version | settings | accepted means | durable means |\n|---|---|---|---|---|"
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
            "| {} | {} | {settings} | {} | {} |",
            who.name, who.version, who.accepted, who.durable
        )?;
    }
    for (name, reason) in &results.absent {
        writeln!(out, "| {name} | not there: {reason} | | | |")?;
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
    let unit = match metric {
        Metric::MibPerS => "MiB/s",
        Metric::RecordsPerS => "records/s",
        Metric::P50Us => "p50 µs",
        Metric::ResidentMib => "MiB",
    };
    writeln!(out, "## {}\n\n`{}`\n", workload.title, workload.id)?;
    let latencies = latencies(workload);
    let heads = latencies.iter().map(|(head, _)| format!(" {head} |"));
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
        let latencies = latencies.map(|(_, of)| {
            format!(
                " {} |",
                column(&|one| of(&one.figures).unwrap_or(f64::NAN), 0)
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
    let notes = results
        .notes
        .iter()
        .filter(|note| note.workload == workload.id);
    for note in notes {
        writeln!(out, "\n- {}: {}", note.contender, note.reason)?;
    }
    writeln!(out)
}

type Quantile = fn(&Figures) -> Option<f64>;

/// The columns of latencies of a workload: the head of each, with the kind of loop that it is of, and what stands in it.
fn latencies(workload: &Workload) -> Vec<(String, Quantile)> {
    let quantiles: [(&str, Quantile); 3] = [
        ("p50", |figures| figures.p50_us),
        ("p99", |figures| figures.p99_us),
        ("p99.9", |figures| figures.p999_us),
    ];
    let (count, kind) = match (workload.kind, workload.load.rate) {
        (Kind::Produce, Some(_)) => (3, "open"),
        (Kind::Produce, None) => (2, "closed"),
        _ => (0, ""),
    };
    let head = |quantile| format!("{quantile} µs, {kind} loop");
    let shown = quantiles.into_iter().take(count);
    shown.map(|(name, of)| (head(name), of)).collect()
}

/// The median of the ratios within rounds, of ours to theirs.
fn ratio(results: &Results, workload: &Workload, name: &str) -> String {
    let of = |name| results.values(workload.id, name, |one| one.value(workload.metric));
    let theirs = of(name);
    let ours = results
        .contenders
        .iter()
        .filter(|who| who.name.starts_with(OURS));
    let mut ours = ours.map(|who| of(who.name));
    let ours = ours.find(|values| !values.is_empty()).unwrap_or_default();
    let in_round = |round| theirs.iter().find(|(other, _)| *other == round);
    let ratios = ours.iter().filter_map(|(round, ours)| {
        let (_, theirs) = in_round(*round)?;
        Some((*round, ours / theirs))
    });
    let ratios: Vec<_> = ratios.collect();
    median(&ratios).map_or(String::new(), |median| {
        let spread = range(&ratios, 2);
        format!("{median:.2}{spread}")
    })
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
    let share = share_of_limit(results, workload, name).map(|share| {
        let said = match share {
            share if share > ABOVE => ", which is none",
            _ if name != BARE => "",
            share if share < BARE_SHARE_MIN => ": **does not count**",
            _ => ": counts",
        };
        format!("{:.0} % of the raw limit{said}", share * 100.0)
    });
    let above = match name {
        BARE => best_above_bare(results, workload),
        _ => None,
    };
    let above = above.map(|best| format!("no limit here: {best} is above it"));
    let short = shortfall(results, workload, name);
    let promise = Some(promise).filter(|promise| !promise.is_empty());
    let said = [promise, share, above, short].into_iter().flatten();
    said.collect::<Vec<_>>().join("; ")
}

/// The contender with the greatest median, if that is well above the yardstick's: it then does something more that what is
/// measured does not need, or less well.
fn best_above_bare(results: &Results, workload: &Workload) -> Option<&'static str> {
    if !matches!(workload.metric, Metric::MibPerS | Metric::RecordsPerS) {
        return None;
    }
    let of = |name| {
        let values = results.values(workload.id, name, |one| one.value(workload.metric));
        median(&values)
    };
    let names = results.contenders.iter().map(|who| who.name);
    let all = names.filter_map(|name| Some((name, of(name)?)));
    let (best, most) = all.max_by(|one, other| one.1.total_cmp(&other.1))?;
    (of(BARE)? * ABOVE < most).then_some(best)
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

/// The median share of the lower of loopback and disk, for workloads that either can limit.
fn share_of_limit(results: &Results, workload: &Workload, name: &str) -> Option<f64> {
    let is_bulk = workload.load.batch_records > 1;
    let disk = match workload.kind {
        Kind::Produce if is_bulk => Some(raw::WRITE),
        Kind::ConsumeCold => Some(raw::READ),
        Kind::Consume => None,
        Kind::Produce | Kind::Fill => return None,
    };
    let values = results.values(workload.id, name, |one| one.mib_per_s);
    let shares: Vec<_> = values
        .iter()
        .filter_map(|(round, value)| {
            let limits = results.raw.get(*round)?;
            let loopback = limits[raw::LOOPBACK].max(limits[raw::LOOPBACK_ZERO_COPY]);
            let disk = disk.map_or(f64::INFINITY, |disk| limits[disk]);
            Some((*round, value / loopback.min(disk)))
        })
        .collect();
    median(&shares)
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

fn median(values: &[(usize, f64)]) -> Option<f64> {
    median::median(values.iter().map(|(_, value)| *value))
}

fn shown(values: &[(usize, f64)]) -> String {
    median(values).map_or(String::new(), |median| {
        let digits = digits(median);
        format!("{}{}", grouped(median, digits), range(values, digits))
    })
}

/// The least and the most, if there are several.
fn range(values: &[(usize, f64)], digits: usize) -> String {
    let all = || values.iter().map(|(_, value)| *value);
    match (all().reduce(f64::min), all().reduce(f64::max)) {
        (Some(least), Some(most)) if values.len() > 1 => {
            format!(" ({} to {})", grouped(least, digits), grouped(most, digits))
        }
        _ => String::new(),
    }
}

fn digits(value: f64) -> usize {
    if value < 10.0 { 1 } else { 0 }
}

/// With a comma between thousands.
fn grouped(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    let (whole, rest) = text
        .split_once('.')
        .map_or((text.as_str(), ""), |(whole, rest)| (whole, rest));
    let mut out = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) && digit != '-' {
            out.push(',');
        }
        out.push(digit);
    }
    match rest {
        "" => out,
        rest => format!("{out}.{rest}"),
    }
}

/// What latencies are of.
const LOOPS: &str = "\
Latencies are of closed loops, but where a row says that it is an open one. In a closed loop whoever waits sends nothing \
meanwhile, so that a stall is counted once for each that was in flight, not for all that would have come. In an open one \
each counts from when it was due.";
/// The least share of the raw limit at which the yardstick is one.
const BARE_SHARE_MIN: f64 = 0.7;
/// So many times a limit is more than noise: what was said to be one is none.
const ABOVE: f64 = 1.1;
/// What the yardstick is called.
const BARE: &str = "bare";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::Who;
    use crate::workload;

    fn row(id: &str) -> Workload {
        let turns = workload::turns(false);
        let mut rows = turns.into_iter().flat_map(|turn| turn.workloads);
        rows.find(|row| row.id == id).unwrap()
    }

    fn measured(workload: &'static str, round: usize, records: u64) -> Measured {
        let figures = Figures {
            records_total: records,
            ..Figures::default()
        };
        Measured {
            round,
            workload,
            contender: "bare",
            mib_per_s: 1.0,
            records_per_s: 1.0,
            server_cpu_s_per_gib: 1.0,
            resident_mib: 1.0,
            figures,
        }
    }

    #[test]
    fn what_was_read_is_said_where_it_is_less_than_the_load() {
        let cold = row("consume-cold");
        let of = |records: [u64; 2]| Results {
            measured: (0..)
                .zip(records)
                .map(|(round, records)| measured(cold.id, round, records))
                .collect(),
            ..Results::default()
        };
        assert_eq!(shortfall(&of([2 << 20; 2]), &cold, "bare"), None);
        let said = shortfall(&of([2 << 20, 1 << 20]), &cold, "bare").unwrap();
        assert_eq!(said, "**read 1,536 (1,024 to 2,048) MiB of 2048**");
    }

    #[test]
    fn a_yardstick_that_others_are_well_above_is_called_none() {
        let produce = row("durable-one");
        let rate = |contender, records_per_s| Measured {
            contender,
            records_per_s,
            mib_per_s: records_per_s,
            ..measured(produce.id, 0, 1)
        };
        let who = |name| Who {
            name,
            version: String::new(),
            accepted: String::new(),
            durable: String::new(),
            settings_accepted: String::new(),
            settings_durable: String::new(),
        };
        let said = |theirs| {
            let results = Results {
                contenders: vec![who("Corelog"), who(BARE)],
                measured: vec![rate("Corelog", theirs), rate(BARE, 1_000.0)],
                ..Results::default()
            };
            let by_rate = Workload {
                metric: Metric::RecordsPerS,
                ..produce.clone()
            };
            best_above_bare(&results, &by_rate)
        };
        assert_eq!(said(1_050.0), None);
        assert_eq!(said(1_200.0), Some("Corelog"));
    }

    #[test]
    fn a_figure_of_fewer_rounds_says_so() {
        assert_eq!(rounds(5, 5), "");
        assert_eq!(rounds(4, 5), ", 4 of 5 rounds");
    }

    #[test]
    fn latencies_say_what_kind_of_loop_they_are_of() {
        let heads = |id| latencies(&row(id)).into_iter().map(|(head, _)| head);
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
