//! What each core counts, how its loop goes, and how many of its partitions are in which state.

use std::collections::BTreeMap;
use std::time::Duration;

use corelog_node::metrics::{
    CoreSnapshot, HistogramSnapshot, PartitionSnapshot, PartitionState, PulseSnapshot, SampleKind,
    WatchSnapshot,
};
use corelog_protocol::error::ErrorCode;
use corelog_protocol::kind::Kind as FrameKind;
use corelog_protocol::message::replica_status::Role;

use super::super::exposition::{Kind, Page};
use super::seconds;

/// Errors that an operator wants to hear of at their first: their series are there from the start, so
/// that a rate knows what they rose from. The others are nobody's trouble but the client's.
const WATCHED: [ErrorCode; 16] = [
    ErrorCode::BadFrame,
    ErrorCode::TooManyConnections,
    ErrorCode::Busy,
    ErrorCode::TimedOut,
    ErrorCode::Internal,
    ErrorCode::NotOwner,
    ErrorCode::OutOfRange,
    ErrorCode::Fenced,
    ErrorCode::Damaged,
    ErrorCode::StorageFull,
    ErrorCode::ReadOnly,
    ErrorCode::Diverged,
    ErrorCode::SourceUnavailable,
    ErrorCode::BadSource,
    ErrorCode::InvalidBatch,
    ErrorCode::OutcomeUnknown,
];

/// Every plain number.
pub(super) fn numbers(page: &mut Page, cores: &[CoreSnapshot]) {
    let samples: Vec<_> = cores.iter().map(CoreSnapshot::samples).collect();
    let Some(first) = samples.first() else { return };
    for (row, sample) in first.iter().enumerate() {
        let name = format!("corelog_{}", sample.name);
        let kind = match sample.kind {
            SampleKind::Counter => Kind::Counter,
            SampleKind::Gauge => Kind::Gauge,
        };
        page.family(&name, kind, sample.help);
        for (core, samples) in samples.iter().enumerate() {
            page.sample(&name, &[("core", &core.to_string())], samples[row].value);
        }
    }
}

/// Requests by kind.
pub(super) fn requests(page: &mut Page, cores: &[CoreSnapshot]) {
    let name = "corelog_requests_total";
    page.family(name, Kind::Counter, "Requests received, by kind.");
    for (core, snapshot) in cores.iter().enumerate() {
        for (kind, count) in by_name(&snapshot.requests, kind_name) {
            page.sample(name, &[("core", &core.to_string()), ("kind", kind)], count);
        }
    }
}

/// Counts by the name of their number; numbers without one are counted together, so that no series is there
/// twice.
fn by_name(
    counts: &[(u16, u64)],
    name: impl Fn(u16) -> Option<&'static str>,
) -> BTreeMap<&'static str, u64> {
    let mut named = BTreeMap::new();
    for (number, count) in counts {
        *named.entry(name(*number).unwrap_or("other")).or_insert(0) += count;
    }
    named
}

fn kind_name(number: u16) -> Option<&'static str> {
    FrameKind::from_number(number).map(FrameKind::name)
}

fn code_name(number: u16) -> Option<&'static str> {
    ErrorCode::from_number(number).map(ErrorCode::name)
}

fn with_watched(mut errors: BTreeMap<&'static str, u64>) -> BTreeMap<&'static str, u64> {
    for code in WATCHED {
        errors.entry(code.name()).or_insert(0);
    }
    errors
}

/// Errors by code: those that are watched, and those that were answered.
pub(super) fn errors(page: &mut Page, cores: &[CoreSnapshot]) {
    let name = "corelog_errors_total";
    page.family(
        name,
        Kind::Counter,
        "Requests answered with an error, by code.",
    );
    for (core, snapshot) in cores.iter().enumerate() {
        let core = core.to_string();
        for (code, count) in with_watched(by_name(&snapshot.errors, code_name)) {
            page.sample(name, &[("core", &core), ("code", code)], count);
        }
    }
}

/// How long groups took.
pub(super) fn sync_seconds(page: &mut Page, cores: &[CoreSnapshot]) {
    let name = "corelog_sync_seconds";
    page.family(
        name,
        Kind::Histogram,
        "How long writing and syncing a group took.",
    );
    for (core, snapshot) in cores.iter().enumerate() {
        histogram(page, name, &core.to_string(), &snapshot.sync_us);
    }
}

/// Which cores answer; of one that does not, there are the series that others know, and no more.
pub(super) fn answers(page: &mut Page, answers: impl Iterator<Item = bool>) {
    let name = "corelog_core_answers";
    let help = "If the core told in time how it is: 0 of one that stands still.";
    page.family(name, Kind::Gauge, help);
    for (core, answers) in answers.enumerate() {
        page.sample(name, &[("core", &core.to_string())], u8::from(answers));
    }
}

/// What the watchdog saw of the cores' loops.
pub(super) fn watched(page: &mut Page, watched: &[WatchSnapshot]) {
    type Count = fn(&WatchSnapshot) -> u64;
    let families: [(&str, &str, Count); 2] = [
        (
            "corelog_stuck_total",
            "Times that the core had work outstanding and did not turn for a second.",
            |watched| watched.stuck,
        ),
        (
            "corelog_slow_work_total",
            "Times that what a core asked of the machine took two seconds or more while it turned.",
            |watched| watched.slow_work,
        ),
    ];
    for (name, help, count) in families {
        page.family(name, Kind::Counter, help);
        for (core, watched) in watched.iter().enumerate() {
            page.sample(name, &[("core", &core.to_string())], count(watched));
        }
    }
    // What never comes back is counted once, and ends up in no histogram.
    let name = "corelog_oldest_work_seconds";
    let help = "How long the machine has taken so far for the oldest of what the core asked of it; 0 where nothing is under way.";
    page.family(name, Kind::Gauge, help);
    for (core, watched) in watched.iter().enumerate() {
        let age = watched.oldest_work.as_secs_f64();
        page.sample(name, &[("core", &core.to_string())], age);
    }
}

/// How the cores' loops go.
pub(super) fn pulses(page: &mut Page, pulses: &[PulseSnapshot]) {
    let name = "corelog_late_seconds";
    page.family(
        name,
        Kind::Histogram,
        "How late heartbeats of the core's loop came.",
    );
    for pulse in pulses {
        histogram(page, name, &pulse.core.to_string(), &pulse.late_us);
    }
    type Time = fn(&PulseSnapshot) -> Duration;
    let families: [(&str, Kind, &str, Time); 2] = [
        (
            "corelog_late_seconds_max",
            Kind::Gauge,
            "How late the latest of them came since the node was started.",
            |pulse| pulse.late_max,
        ),
        (
            "corelog_busy_seconds_total",
            Kind::Counter,
            "How long the core's loop was at work and not asleep.",
            |pulse| pulse.busy,
        ),
    ];
    for (name, kind, help, time) in families {
        page.family(name, kind, help);
        for pulse in pulses {
            let seconds = time(pulse).as_secs_f64();
            page.sample(name, &[("core", &pulse.core.to_string())], seconds);
        }
    }
    let name = "corelog_stalls_total";
    let help = "Times that the core's loop stood still for more than 100 ms.";
    page.family(name, Kind::Counter, help);
    for pulse in pulses {
        page.sample(name, &[("core", &pulse.core.to_string())], pulse.stalls);
    }
}

/// How many partitions of each core that told them are in each state and role, can be scrubbed, are damaged, and take no
/// appends.
pub(super) fn partition_counts(page: &mut Page, partitions: &[Option<Vec<PartitionSnapshot>>]) {
    let of_cores = partitions.iter().enumerate();
    let of_cores: Vec<_> = of_cores
        .filter_map(|(core, told)| Some((core.to_string(), told.as_ref()?)))
        .collect();
    let name = "corelog_partitions_by_state";
    page.family(name, Kind::Gauge, "Partitions in each state.");
    for (core, partitions) in &of_cores {
        for state in PartitionState::ALL {
            let labels = [("core", core.as_str()), ("state", state.as_str())];
            let meant = partitions.iter().filter(|p| p.state == state);
            page.sample(name, &labels, meant.count());
        }
    }
    let name = "corelog_partitions_by_role";
    page.family(
        name,
        Kind::Gauge,
        "Partitions that the node owns, follows, hands over, or that another node took.",
    );
    for (core, partitions) in &of_cores {
        for role in Role::ALL {
            let labels = [("core", core.as_str()), ("role", role.as_str())];
            let meant = partitions.iter().filter(|p| p.role == role);
            page.sample(name, &labels, meant.count());
        }
    }
    type IsMeant = fn(&PartitionSnapshot) -> bool;
    let families: [(&str, &str, IsMeant); 3] = [
        (
            "corelog_sealed_partitions",
            "Partitions that have sealed segments, which is what a scrub checks.",
            |p| p.unscrubbed_millis.is_some(),
        ),
        (
            "corelog_damaged_partitions",
            "Partitions with records that cannot be read because of damage, whatever state they are in.",
            |p| p.log.is_some_and(|log| log.damage_count > 0),
        ),
        (
            "corelog_read_only_partitions",
            "Partitions that take no appends because of damage at their end.",
            |p| p.log.is_some_and(|log| log.is_read_only),
        ),
    ];
    for (name, help, is_meant) in families {
        page.family(name, Kind::Gauge, help);
        for (core, partitions) in &of_cores {
            let meant = partitions.iter().filter(|p| is_meant(p));
            page.sample(name, &[("core", core)], meant.count());
        }
    }
}

/// The worst of all partitions, also for those who do without a series for each.
pub(super) fn worst(page: &mut Page, partitions: &[PartitionSnapshot]) {
    type Millis = fn(&PartitionSnapshot) -> Option<u64>;
    let families: [(&str, &str, Millis); 3] = [
        (
            "corelog_lag_seconds_max",
            "Since when the follower that is furthest behind was not level with its source.",
            |p| p.lag.and_then(|lag| lag.millis),
        ),
        (
            "corelog_source_silent_seconds_max",
            "How long the source was not heard that was silent longest.",
            |p| p.source_silent_millis,
        ),
        (
            "corelog_scrub_age_seconds_max",
            "How long ago the last whole scrub ended of the partition with sealed segments that waits longest; since its \
             topic came to this node if it had none.",
            |p| p.unscrubbed_millis,
        ),
    ];
    for (name, help, millis) in families {
        page.family(name, Kind::Gauge, help);
        if let Some(worst) = partitions.iter().filter_map(millis).max() {
            page.sample(name, &[], seconds(worst.saturating_mul(1_000)));
        }
    }
}

fn histogram(page: &mut Page, name: &str, core: &str, histogram: &HistogramSnapshot) {
    let mut below = 0;
    for (bound_us, count) in &histogram.buckets {
        below += count;
        let bound = bound_us.map_or("+Inf".to_owned(), |us| seconds(us).to_string());
        page.sample(
            &format!("{name}_bucket"),
            &[("core", core), ("le", &bound)],
            below,
        );
    }
    page.sample(
        &format!("{name}_sum"),
        &[("core", core)],
        seconds(histogram.sum_us),
    );
    page.sample(&format!("{name}_count"), &[("core", core)], below);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_without_a_name_are_one_series() {
        let ping = FrameKind::Ping;
        let requests = [(ping.number(), 7), (126, 1), (127, 2)];
        let named = BTreeMap::from([(ping.name(), 7), ("other", 3)]);
        assert_eq!(by_name(&requests, kind_name), named);
    }

    /// A peer of a later version answers with codes of its own, which this one passes on.
    #[test]
    fn codes_without_a_name_are_one_series_and_those_that_are_watched_are_there() {
        let busy = ErrorCode::Busy;
        let errors = [(busy.number(), 7), (126, 1), (127, 2)];
        let named = with_watched(by_name(&errors, code_name));
        assert_eq!((named[busy.name()], named["other"]), (7, 3));
        assert_eq!(named.len(), WATCHED.len() + 1);
        assert_eq!(named[ErrorCode::Fenced.name()], 0);
    }
}
