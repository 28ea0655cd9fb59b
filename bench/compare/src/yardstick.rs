//! What is a yardstick in a workload, and what is none: raw limits, the barest server, its echo.

use crate::contender::Quantile;
use crate::raw;
use crate::result::{ECHO, Measured, Results};
use crate::shown::{self, median};
use crate::workload::{Kind, Workload};

/// What has to be known of a row: its share of what limits it, and whether it is a yardstick itself.
pub fn remarks(results: &Results, workload: &Workload, name: &str) -> Vec<String> {
    let share = share_of_limit(results, workload, name).map(|share| {
        let said = match share {
            share if share > ABOVE => ", which is none",
            _ if name != BARE => "",
            share if share < BARE_SHARE_MIN => ": **does not count**",
            _ => ": counts",
        };
        format!("{:.0} % of the raw limit{said}", share * 100.0)
    });
    let beaten = match name {
        BARE | ECHO => beaten_by(results, workload, name),
        _ => None,
    };
    let beaten = beaten.map(|best| match workload.metric.is_rate() {
        true => format!("no limit here: {best} is above it"),
        false => format!("no floor here: {best} is below it"),
    });
    share.into_iter().chain(beaten).collect()
}

/// Ours to the floor of a workload that has an echo: in each round the lower of that and of the yardstick itself. An echo
/// does less, but its core has nothing to do while the client turns round, and falls asleep; behind a record that is
/// accepted it hands a write to the disk, and is awake when the next one comes.
pub fn over_floor(results: &Results, workload: &Workload) -> Option<String> {
    let quantiles: [(&str, Quantile); 2] = [
        ("p50", |figures| figures.p50_us),
        ("p99", |figures| figures.p99_us),
    ];
    let over = quantiles.map(|(name, of)| {
        let of = |one: &Measured| of(&one.figures).unwrap_or(f64::NAN);
        let [bare, echo] = [BARE, ECHO].map(|name| results.values(workload.id, name, of));
        let in_round = |round| bare.iter().find(|(other, _)| *other == round);
        let floor = echo.iter().map(|(round, echo)| {
            let bare = in_round(*round).map_or(f64::INFINITY, |(_, bare)| *bare);
            (*round, echo.min(bare))
        });
        let over = shown::ratios(&results.ours(workload.id, of), &floor.collect::<Vec<_>>());
        (!over.is_empty()).then(|| format!("{name} {}", shown::ratio(&over)))
    });
    let over: Option<Vec<_>> = over.into_iter().collect();
    over.map(|over| {
        format!(
            "Ours to the floor, the lower of {BARE} and {ECHO} in each round: {}.",
            over.join(", ")
        )
    })
}

/// Who has the best median, if that is well better than the yardstick's: this then does something more that what is measured
/// does not need, or less well.
fn beaten_by(results: &Results, workload: &Workload, yardstick: &str) -> Option<&'static str> {
    let speed = |name| {
        let values = results.values(workload.id, name, |one| one.value(workload.metric));
        median(&values).map(|median| match workload.metric.is_rate() {
            true => median,
            false => median.recip(),
        })
    };
    let names = results.contenders.iter().map(|who| who.name);
    let all = names.chain([ECHO]);
    let all = all.filter_map(|name| Some((name, speed(name)?)));
    let (best, most) = all.max_by(|one, other| one.1.total_cmp(&other.1))?;
    (speed(yardstick)? * ABOVE < most).then_some(best)
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
            // All producers copy into their sockets; a server may send a file as it is.
            let loopback = match workload.kind {
                Kind::Produce => limits[raw::LOOPBACK],
                _ => limits[raw::LOOPBACK].max(limits[raw::LOOPBACK_ZERO_COPY]),
            };
            let disk = disk.map_or(f64::INFINITY, |disk| limits[disk]);
            Some((*round, value / loopback.min(disk)))
        })
        .collect();
    median(&shares)
}

/// The least share of the raw limit at which the yardstick is one.
const BARE_SHARE_MIN: f64 = 0.7;
/// So many times a limit is more than noise: what was said to be one is none.
const ABOVE: f64 = 1.1;
/// What the yardstick is called.
pub const BARE: &str = "bare";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::Figures;
    use crate::result::Who;
    use crate::workload::row;

    #[test]
    fn a_yardstick_that_others_are_well_above_is_called_none() {
        let produce = row("durable-64x1");
        let rate = |contender, records_per_s| Measured {
            records_per_s,
            ..Measured::nothing(produce.id, contender, 0)
        };
        let said = |theirs| {
            let results = Results {
                contenders: vec![Who::named("Corelog"), Who::named(BARE)],
                measured: vec![rate("Corelog", theirs), rate(BARE, 1_000.0)],
                ..Results::default()
            };
            beaten_by(&results, &produce, BARE)
        };
        assert_eq!(said(1_050.0), None);
        assert_eq!(said(1_200.0), Some("Corelog"));
    }

    /// A node was held against an echo that took longer than the same server's acknowledgements.
    #[test]
    fn a_floor_that_others_are_well_below_is_called_none_and_the_lower_one_counts() {
        let produce = row("accepted-one");
        let took = |contender, round, p50_us| Measured {
            figures: Figures {
                p50_us: Some(p50_us),
                p99_us: Some(100.0),
                ..Figures::default()
            },
            ..Measured::nothing(produce.id, contender, round)
        };
        let of = |bare: f64| Results {
            contenders: vec![Who::named("Corelog"), Who::named(BARE)],
            measured: vec![
                took("Corelog", 0, 60.0),
                took("Corelog", 1, 64.0),
                took(BARE, 0, bare),
                took(BARE, 1, bare),
                took(ECHO, 0, 50.0),
                took(ECHO, 1, 60.0),
            ],
            ..Results::default()
        };
        let results = of(40.0);
        assert_eq!(beaten_by(&results, &produce, ECHO), Some(BARE));
        assert_eq!(beaten_by(&results, &produce, BARE), None);
        assert_eq!(
            over_floor(&results, &produce).unwrap(),
            "Ours to the floor, the lower of bare and bare echo in each round: p50 1.55 (1.50 to 1.60), p99 1.00 (1.00 to 1.00)."
        );
        let results = of(55.0);
        assert_eq!(beaten_by(&results, &produce, ECHO), None);
        let over = over_floor(&results, &produce).unwrap();
        assert!(over.contains("p50 1.18 (1.16 to 1.20)"), "{over}");
        assert_eq!(over_floor(&results, &row("durable-one")), None);
    }
}
