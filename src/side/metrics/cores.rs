//! What each core counts, how its loop goes, and how many of its partitions are in which state.

use corelog_node::metrics::{
    CoreSnapshot, HistogramSnapshot, PartitionSnapshot, PartitionState, PulseSnapshot, SampleKind,
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
        for (number, count) in &snapshot.requests {
            let kind = FrameKind::from_number(*number).map_or("other", FrameKind::name);
            page.sample(name, &[("core", &core.to_string()), ("kind", kind)], count);
        }
    }
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
        let is_counted = |code: &ErrorCode| {
            let mut counted = snapshot.errors.iter();
            counted.any(|(number, _)| *number == code.number())
        };
        for code in WATCHED.iter().filter(|code| !is_counted(code)) {
            page.sample(name, &[("core", &core), ("code", code.name())], 0);
        }
        for (number, count) in &snapshot.errors {
            let code = ErrorCode::from_number(*number).map_or("other", ErrorCode::name);
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
    let name = "corelog_late_seconds_max";
    page.family(
        name,
        Kind::Gauge,
        "How late the latest of them came since the node was started.",
    );
    for pulse in pulses {
        let late = pulse.late_max.as_secs_f64();
        page.sample(name, &[("core", &pulse.core.to_string())], late);
    }
    let name = "corelog_busy_seconds_total";
    page.family(
        name,
        Kind::Counter,
        "How long the core's loop was at work and not asleep.",
    );
    for pulse in pulses {
        let busy = pulse.busy.as_secs_f64();
        page.sample(name, &[("core", &pulse.core.to_string())], busy);
    }
    type Count = fn(&PulseSnapshot) -> u64;
    let families: [(&str, &str, Count); 3] = [
        (
            "corelog_stalls_total",
            "Times that the core's loop stood still for more than 100 ms.",
            |pulse| pulse.stalls,
        ),
        (
            "corelog_stuck_total",
            "Times that it had work outstanding and did not turn for a second.",
            |pulse| pulse.stuck,
        ),
        (
            "corelog_slow_work_total",
            "Times that work took two seconds or more on a core that turned.",
            |pulse| pulse.slow_work,
        ),
    ];
    for (name, help, count) in families {
        page.family(name, Kind::Counter, help);
        for pulse in pulses {
            page.sample(name, &[("core", &pulse.core.to_string())], count(pulse));
        }
    }
}

/// How many partitions of each core are in each state, have each role, and take no appends.
pub(super) fn partition_counts(
    page: &mut Page,
    core_count: usize,
    partitions: &[PartitionSnapshot],
) {
    let count = |core: usize, is_meant: &dyn Fn(&PartitionSnapshot) -> bool| {
        let mine = partitions.iter();
        let mine = mine.filter(|p| usize::from(p.core.get()) == core);
        mine.filter(|p| is_meant(p)).count()
    };
    let name = "corelog_partitions_by_state";
    page.family(name, Kind::Gauge, "Partitions in each state.");
    for core in 0..core_count {
        for state in PartitionState::ALL {
            let labels = [("core", &*core.to_string()), ("state", state.as_str())];
            page.sample(name, &labels, count(core, &|p| p.state == state));
        }
    }
    let name = "corelog_partitions_by_role";
    page.family(
        name,
        Kind::Gauge,
        "Partitions that the node owns, follows, hands over, or that another node took.",
    );
    for core in 0..core_count {
        for role in Role::ALL {
            let labels = [("core", &*core.to_string()), ("role", role.as_str())];
            page.sample(name, &labels, count(core, &|p| p.role == role));
        }
    }
    let name = "corelog_read_only_partitions";
    page.family(
        name,
        Kind::Gauge,
        "Partitions that take no appends because of damage at their end.",
    );
    for core in 0..core_count {
        let core_label = core.to_string();
        page.sample(
            name,
            &[("core", &core_label)],
            count(core, &|p| p.is_read_only),
        );
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
            "How long ago the oldest of the partitions' last scrubs ended.",
            |p| p.scrub_age_millis,
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
