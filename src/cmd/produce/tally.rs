//! What became of the records: counted as their deliveries settle, and told at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use corelog_client::{Delivery, Outcome, ProduceError};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::input::Origin;
use crate::advice;
use crate::exit::{self, Exit, say};
use crate::quantity::Amount;

/// Deliveries waited for at once; the producer's memory bounds them before.
const OUTSTANDING_MAX: usize = 1 << 16;
/// Ranges of records in a line.
const RANGES_IN_LINE: usize = 10;

/// What became of all records so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    records: u64,
    bytes: u64,
    refused: Failed,
    unknown: Failed,
}

/// Records that share an outcome.
#[derive(Debug, Default)]
struct Failed {
    records: u64,
    /// The first and last record of each range, by the input they come from.
    ranges: BTreeMap<usize, Vec<(u64, u64)>>,
    /// How that ends, and the first error that says so.
    exit: Exit,
    why: Option<ProduceError>,
}

/// Takes deliveries and waits for each.
pub(super) struct Settling {
    deliveries: mpsc::Sender<(Origin, u64, Delivery)>,
    tally: JoinHandle<Tally>,
}

impl Settling {
    /// Begins to wait for deliveries.
    pub(super) fn start() -> Self {
        let (deliveries, mut receiver) = mpsc::channel(OUTSTANDING_MAX);
        let tally = tokio::spawn(async move {
            let mut tally = Tally::default();
            while let Some((origin, bytes, delivery)) = receiver.recv().await {
                let delivery: Delivery = delivery;
                match delivery.await {
                    Ok(_) => tally.acknowledge(bytes),
                    Err(error) => tally.fail(origin, error),
                }
            }
            tally
        });
        Self { deliveries, tally }
    }

    /// Adds a delivery of so many bytes; waits while there are too many.
    pub(super) async fn add(&self, origin: Origin, bytes: u64, delivery: Delivery) {
        // The task receives until this sender is gone.
        let _ = self.deliveries.send((origin, bytes, delivery)).await;
    }

    /// Waits for all deliveries.
    ///
    /// # Errors
    /// None but a panic of the task.
    pub(super) async fn finish(self) -> anyhow::Result<Tally> {
        drop(self.deliveries);
        Ok(self.tally.await?)
    }
}

impl Tally {
    fn acknowledge(&mut self, bytes: u64) {
        self.records += 1;
        self.bytes += bytes;
    }

    fn fail(&mut self, origin: Origin, error: ProduceError) {
        match error.outcome {
            Outcome::NotApplied => self.refused.add(origin, error),
            Outcome::Unknown => self.unknown.add(origin, error),
        }
    }

    /// Says counts and rates, lists what was not acknowledged, and gives the exit code.
    pub(super) fn report(&self, names: &[String], took: Duration) -> Exit {
        say(&summary(self.records, self.bytes, took));
        self.refused.report("not applied", names);
        self.unknown
            .report("outcome unknown, not sent again", names);
        self.refused.exit.graver(self.unknown.exit)
    }
}

impl Failed {
    fn add(&mut self, origin: Origin, error: ProduceError) {
        self.records += 1;
        let exit = exit::of_produce(&error).unwrap_or(Exit::Failed);
        let exit = self.exit.graver(exit);
        if exit != self.exit {
            (self.exit, self.why) = (exit, Some(error));
        }
        let ranges = self.ranges.entry(origin.file).or_default();
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == origin.record => *last = origin.record,
            _ => ranges.push((origin.record, origin.record)),
        }
    }

    fn report(&self, outcome: &str, names: &[String]) {
        let Some(why) = &self.why else { return };
        let next = advice::of_client(&why.error);
        let next = next.map(|next| format!("; {next}")).unwrap_or_default();
        say(&format!(
            "{outcome}: {} records ({}){next}",
            self.records, why.error
        ));
        self.lines(names).for_each(|line| say(&line));
    }

    /// All of them, as many as were in flight at most: nothing else says which are to be looked for, or sent again.
    fn lines(&self, names: &[String]) -> impl Iterator<Item = String> {
        let in_lines = |(file, ranges): (&usize, &Vec<(u64, u64)>)| {
            let name = &names[*file];
            let lines = ranges.chunks(RANGES_IN_LINE).map(|ranges| {
                let ranges = ranges.iter().map(|(first, last)| format!("{first}-{last}"));
                format!("  {name}: {}", Vec::from_iter(ranges).join(", "))
            });
            Vec::from_iter(lines)
        };
        self.ranges.iter().flat_map(in_lines)
    }
}

/// `1000 records, 98.0 KiB in 0.5 s: 2000 records/s, 0.2 MiB/s`.
#[expect(clippy::cast_precision_loss, reason = "rates for people")]
fn summary(records: u64, bytes: u64, took: Duration) -> String {
    let seconds = took.as_secs_f64().max(1e-6);
    let (record_rate, mib_rate) = (
        records as f64 / seconds,
        bytes as f64 / seconds / f64::from(1 << 20),
    );
    let size = Amount(bytes);
    format!(
        "{records} records, {size} in {seconds:.3} s: {record_rate:.0} records/s, {mib_rate:.1} MiB/s"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of records by turns to two partitions, of which one had failed, twenty were named.
    #[test]
    fn each_record_that_was_not_acknowledged_is_named() {
        let odd = (0..1_000).map(|number| (2 * number + 1, 2 * number + 1));
        let failed = Failed {
            ranges: BTreeMap::from([(0, vec![(2, 9)]), (1, odd.collect())]),
            ..Failed::default()
        };
        let lines = Vec::from_iter(failed.lines(&["a".to_owned(), "b".to_owned()]));
        assert_eq!(lines.len(), 1 + 100);
        assert_eq!(lines[0], "  a: 2-9");
        assert!(lines[1].starts_with("  b: 1-1, 3-3, "), "{}", lines[1]);
        assert!(lines[100].ends_with(", 1999-1999"), "{}", lines[100]);
    }
}
