//! A series for each partition.

use std::fmt::Display;

use corelog_node::metrics::{Lag, LogSnapshot, PartitionSnapshot};

use super::super::exposition::{Kind, Page};
use super::seconds;

/// Offsets and sizes of those that are open, and what waits or is wrong there.
pub(super) fn numbers(page: &mut Page, partitions: &[PartitionSnapshot]) {
    type OfLog = fn(&LogSnapshot) -> u64;
    let families: [(&str, &str, OfLog); 8] = [
        ("log_start", "The oldest readable offset.", |log| {
            log.log_start.get()
        }),
        ("high_watermark", "All below may be read.", |log| {
            log.high_watermark.get()
        }),
        ("durable", "All below was synced to disk.", |log| {
            log.durable.get()
        }),
        ("log_end", "The next offset to be assigned.", |log| {
            log.log_end.get()
        }),
        ("segments", "Segments of the log.", |log| {
            log.segment_count as u64
        }),
        ("store_bytes", "Bytes of all stores.", |log| log.store_bytes),
        (
            "damaged_ranges",
            "Ranges of offsets that cannot be read because of damage.",
            |log| log.damage_count as u64,
        ),
        (
            "read_only",
            "1 if it takes no appends because of damage at its end.",
            |log| u64::from(log.is_read_only),
        ),
    ];
    for (name, help, number) in families {
        of_each(page, partitions, (name, help), |partition| {
            partition.log.as_ref().map(number)
        });
    }
    let family = ("parked_fetches", "Long polls waiting at its end.");
    of_each(page, partitions, family, |partition| {
        Some(partition.parked_fetch_count)
    });
    let family = (
        "scrub_age_seconds",
        "How long ago its last whole scrub ended; nothing if there was none.",
    );
    of_each(page, partitions, family, |partition| {
        partition.scrub_age_millis.map(from_millis)
    });
}

/// How far those are behind that follow a source, as far as is known, and if it is heard.
#[expect(
    clippy::cast_precision_loss,
    reason = "metrics; 2^53 bytes are 9 petabytes"
)]
pub(super) fn replicas(page: &mut Page, partitions: &[PartitionSnapshot]) {
    type Behind = fn(&Lag) -> Option<f64>;
    let families: [(&str, &str, Behind); 3] = [
        (
            "lag_records",
            "Records that its source has and it has not.",
            |lag| Some(lag.records as f64),
        ),
        (
            "lag_bytes",
            "About how many bytes of batches they are.",
            |lag| Some(lag.bytes as f64),
        ),
        (
            "lag_seconds",
            "Since when it was not level with its source.",
            |lag| lag.millis.map(from_millis),
        ),
    ];
    for (name, help, behind) in families {
        let number = |partition: &PartitionSnapshot| partition.lag.as_ref().and_then(behind);
        of_each(page, partitions, (name, help), number);
    }
    let family = (
        "source_silent_seconds",
        "How long ago its source was last heard, or first asked if it never was.",
    );
    of_each(page, partitions, family, |partition| {
        partition.source_silent_millis.map(from_millis)
    });
}

/// State and role, a series each with the word for it.
pub(super) fn words(page: &mut Page, partitions: &[PartitionSnapshot]) {
    type Word = fn(&PartitionSnapshot) -> &'static str;
    let families: [(&str, &str, Word); 2] = [
        ("state", "1 for the state each partition is in.", |p| {
            p.state.as_str()
        }),
        (
            "role",
            "1 for what the node is to each partition; fenced: another node owns it by now.",
            |p| p.role.as_str(),
        ),
    ];
    for (label, help, word) in families {
        let name = format!("corelog_partition_{label}");
        page.family(&name, Kind::Gauge, help);
        for partition in partitions {
            let id = partition.partition.to_string();
            let topic = partition.topic.as_str();
            let labels = [
                ("topic", topic),
                ("partition", &*id),
                (label, word(partition)),
            ];
            page.sample(&name, &labels, 1);
        }
    }
}

/// A gauge of those partitions that have the number.
fn of_each<N: Display>(
    page: &mut Page,
    partitions: &[PartitionSnapshot],
    (name, help): (&str, &str),
    number: impl Fn(&PartitionSnapshot) -> Option<N>,
) {
    let name = format!("corelog_partition_{name}");
    page.family(&name, Kind::Gauge, help);
    for partition in partitions {
        let id = partition.partition.to_string();
        let labels = [
            ("topic", partition.topic.as_str()),
            ("partition", id.as_str()),
        ];
        if let Some(number) = number(partition) {
            page.sample(&name, &labels, number);
        }
    }
}

fn from_millis(millis: u64) -> f64 {
    seconds(millis.saturating_mul(1_000))
}
