//! One core's counters, in one table: name, kind and meaning of each.

use std::sync::atomic::{AtomicU64, Ordering};

use super::histogram::{Histogram, HistogramSnapshot};

/// Request kinds and error codes are counted below this number; both are small by design.
pub(crate) const NUMBERED_MAX: usize = 128;

/// If a number only grows or goes up and down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleKind {
    /// It only grows while the node runs.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// One number with its name and meaning, ready to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Its name without a prefix, with its unit last.
    pub name: &'static str,
    /// What it counts, in a sentence.
    pub help: &'static str,
    /// If it only grows.
    pub kind: SampleKind,
    /// What it stood at.
    pub value: u64,
}

macro_rules! counters {
    ($($name:ident: $kind:ident, $help:literal;)*) => {
        /// One core's counters; only that core writes them, by relaxed stores.
        #[derive(Debug)]
        pub(crate) struct Counters {
            $(pub(crate) $name: AtomicU64,)*
            pub(crate) requests: [AtomicU64; NUMBERED_MAX],
            pub(crate) errors: [AtomicU64; NUMBERED_MAX],
            pub(crate) sync_us: Histogram,
        }

        /// One core's counters as read at one moment.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct CoreSnapshot {
            $(#[doc = $help] pub $name: u64,)*
            /// Requests by their kind's number, those that were made at least once.
            pub requests: Vec<(u16, u64)>,
            /// Errors answered by their code, those that were answered at least once.
            pub errors: Vec<(u16, u64)>,
            /// How long writing and syncing a group took.
            pub sync_us: HistogramSnapshot,
        }

        impl Default for Counters {
            fn default() -> Self {
                Self {
                    $($name: AtomicU64::new(0),)*
                    requests: [const { AtomicU64::new(0) }; NUMBERED_MAX],
                    errors: [const { AtomicU64::new(0) }; NUMBERED_MAX],
                    sync_us: Histogram::default(),
                }
            }
        }

        impl Counters {
            pub(crate) fn snapshot(&self) -> CoreSnapshot {
                CoreSnapshot {
                    $($name: self.$name.load(Ordering::Relaxed),)*
                    requests: numbered(&self.requests),
                    errors: numbered(&self.errors),
                    sync_us: self.sync_us.snapshot(),
                }
            }
        }

        impl CoreSnapshot {
            /// Every plain number with its name and meaning, in the order of the table.
            #[must_use]
            pub fn samples(&self) -> Vec<Sample> {
                vec![$(Sample {
                    name: stringify!($name),
                    help: $help,
                    kind: SampleKind::$kind,
                    value: self.$name,
                },)*]
            }
        }
    };
}

counters! {
    connections: Gauge, "Open client connections.";
    connections_accepted_total: Counter, "Connections accepted.";
    connections_refused_total: Counter, "Connections refused because there were too many.";
    connections_cut_total: Counter, "Connections closed for lost framing, frames that took too long, or answers that nobody read.";
    connections_idle_total: Counter, "Connections closed because nothing came for the idle timeout.";
    accepts_failed_total: Counter, "Connections that could not be accepted, mostly for lack of a descriptor.";
    received_bytes_total: Counter, "Bytes received from clients.";
    sent_bytes_total: Counter, "Bytes sent to clients.";
    in_flight_requests: Gauge, "Requests that wait for their answer, parked fetches included.";
    appended_batches_total: Counter, "Batches appended.";
    appended_records_total: Counter, "Records appended.";
    appended_bytes_total: Counter, "Bytes of batches appended.";
    repaired_segments_total: Counter, "Damaged segments replaced by a peer's.";
    repaired_bytes_total: Counter, "Bytes of them.";
    copied_records_total: Counter, "Records appended that were fetched from a source.";
    copied_bytes_total: Counter, "Bytes of their batches.";
    installed_segments_total: Counter, "Segments taken in that a source sent as files.";
    installed_bytes_total: Counter, "Bytes of them.";
    fetched_bytes_total: Counter, "Bytes of batches fetched.";
    reads_ahead_total: Counter, "Fetches answered from what had been read ahead.";
    flushes_total: Counter, "Groups written and synced.";
    flushed_bytes_total: Counter, "Bytes of batches written and synced.";
    flushes_failed_total: Counter, "Groups whose write or sync failed.";
    chores_total: Counter, "Chores done in the background: seals, marks, removals, preparations.";
    chores_failed_total: Counter, "Chores that failed.";
    hops_total: Counter, "Requests sent on to the core that owns the partition.";
    lane_busy_total: Counter, "Requests answered Busy because a lane between cores was full.";
    topic_writes_total: Counter, "Topic files written: creations, changes, and who follows whom.";
    transfers: Gauge, "Requests for files of segments that are being answered.";
    transferred_bytes_total: Counter, "Bytes of files of segments sent to other nodes.";
    parked_fetches: Gauge, "Long polls that wait for data.";
    woken_fetches_total: Counter, "Long polls that data woke.";
    clock_ahead_seconds: Gauge, "By how much the machine's clock leapt ahead, while that is not believed: nothing expires by it yet.";
    partitions: Gauge, "Partitions the core owns.";
    fenced_partitions: Gauge, "Partitions fenced after a failed write or sync.";
    contested_partitions: Gauge, "Partitions that another node owns as well: one of the two has to rejoin the other.";
    surpassed_partitions: Gauge, "Partitions of which a copy has more than this node, which owns them: what was acknowledged is gone here.";
    silent_followers: Gauge, "Copies elsewhere that are remembered as followers of the core's partitions, and were not heard for 20 seconds: they are gone, or follow no more.";
    unclean_total: Counter, "Partitions that the last end of the node did not close in order, and that were recovered.";
    torn_total: Counter, "Torn tails found and cut at recovery.";
    torn_bytes_total: Counter, "Bytes of torn tails.";
    damage_total: Counter, "Damage found in bytes that were promised.";
    damage_met_total: Counter, "Damage that a reader met before a scrub did.";
    read_only_total: Counter, "Logs that take no appends because of damage at their end.";
    unnamed_files_total: Counter, "Files quarantined because no manifest names them.";
    torn_edits_total: Counter, "Interrupted edits of manifests quarantined.";
    lost_marks_total: Counter, "Marks that were lost, so that a whole store was read at recovery.";
    replaced_stores_total: Counter, "Stores copied to a new file because of the old one's disk.";
    surplus_total: Counter, "Sealed stores found longer than they were.";
    events_dropped_total: Counter, "Events of logs that were not told because too many waited.";
    rebuilt_indexes_total: Counter, "Indexes made anew from their stores.";
    scrubbed_bytes_total: Counter, "Bytes read and checked by the scrub.";
    scrub_passes_total: Counter, "Whole passes of the scrub over one partition.";
    scrub_errors_total: Counter, "Segments that the scrub could not read.";
    snapshots_total: Counter, "Snapshots taken.";
    snapshots_failed_total: Counter, "Snapshots that could not be taken.";
    restores_total: Counter, "Topics restored from snapshots.";
    restores_failed_total: Counter, "Restores that failed.";
    accepted_lost_records_total: Counter, "Records answered as accepted that were lost before they were durable.";
}

/// Adds to a counter that only the calling core writes: a load and a store, never a locked
/// read-modify-write.
pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.store(
        counter.load(Ordering::Relaxed).wrapping_add(count),
        Ordering::Relaxed,
    );
}

/// Says what a gauge is that only the calling core writes.
pub(crate) fn set(gauge: &AtomicU64, value: u64) {
    gauge.store(value, Ordering::Relaxed);
}

/// Takes from a gauge that only the calling core writes.
pub(crate) fn sub(gauge: &AtomicU64, count: u64) {
    let before = gauge.load(Ordering::Relaxed);
    debug_assert!(count <= before, "a gauge fell below zero");
    gauge.store(before.saturating_sub(count), Ordering::Relaxed);
}

/// Counts one event of a numbered kind; numbers beyond the table share its last place.
pub(crate) fn count_numbered(table: &[AtomicU64; NUMBERED_MAX], number: u16) {
    add(&table[usize::from(number).min(NUMBERED_MAX - 1)], 1);
}

fn numbered(table: &[AtomicU64; NUMBERED_MAX]) -> Vec<(u16, u64)> {
    let counts = table.iter().map(|count| count.load(Ordering::Relaxed));
    (0..).zip(counts).filter(|(_, count)| *count > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_shows_what_was_counted_under_its_name() {
        let counters = Counters::default();
        add(&counters.hops_total, 3);
        add(&counters.connections, 2);
        sub(&counters.connections, 1);
        count_numbered(&counters.requests, 20);
        let snapshot = counters.snapshot();
        assert_eq!(snapshot.requests, vec![(20, 1)]);
        let samples = snapshot.samples();
        let value_of = |name| samples.iter().find(|s| s.name == name).map(|s| s.value);
        assert_eq!(value_of("hops_total"), Some(3));
        assert_eq!(value_of("connections"), Some(1));
    }
}
