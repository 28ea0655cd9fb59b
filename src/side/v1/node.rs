//! `/v1/node`: the process, its disk, its cores.

use axum::extract::State;
use axum::response::Response;
use corelog_node::Handle;
use corelog_node::metrics::{
    CoreSnapshot, HistogramSnapshot, PulseSnapshot, QuarantineShare, WatchSnapshot,
};
use serde_json::{Value, json};

use super::super::{Stage, health, metrics};
use crate::quantity::{Span, rfc3339, timestamp};

pub(super) async fn show(State(stage): State<Stage>) -> Response {
    let asked = health::ask(&stage, async |handle| handle.pulses().await);
    let told = match asked.await {
        Ok((handle, pulses)) => Ok(node(&stage, &handle, &pulses).await),
        Err(why) => Err(why),
    };
    super::answer(told)
}

async fn node(stage: &Stage, handle: &Handle, pulses: &[PulseSnapshot]) -> Value {
    let (addresses, report) = (handle.addresses(), handle.report());
    let (counters, watched) = (handle.counters(), handle.watched());
    let cores = pulses.iter().zip(&counters).zip(&watched);
    let cores = cores.zip(&addresses.cores).zip(&addresses.advertised_cores);
    let cores: Vec<_> = cores
        .map(|((((pulse, counters), watched), address), advertised)| {
            let mut told = core(pulse, counters, *watched);
            told["address"] = json!(address);
            told["advertised"] = json!(advertised);
            told
        })
        .collect();
    let (quarantine, space) = tokio::join!(metrics::quarantine(handle), metrics::space(handle));
    let share = |share: &QuarantineShare| json!({ "reason": share.reason, "files": share.files, "bytes": share.bytes });
    let quarantine = quarantine.map(|shares| shares.iter().map(share).collect::<Vec<_>>());
    json!({
        "node": handle.node_id().to_string(),
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "started": rfc3339(timestamp(stage.started)),
        "data_dir": handle.data_dir(),
        "listen": addresses.listen,
        "advertised": addresses.advertised,
        "cores": cores,
        "resident_bytes": metrics::resident_bytes(),
        "disk": space.map(|space| json!({
            "free_bytes": space.free.bytes(),
            "total_bytes": space.total.bytes(),
        })),
        "quarantine": quarantine,
        "start": {
            "topics": report.topics,
            "unreadable_topics": report.unreadable,
            "partitions": report.partitions,
            "failed_partitions": report.failed,
            "opening_partitions": report.opening,
            "recovery_ms": Span(report.recovery).millis(),
        },
    })
}

fn core(pulse: &PulseSnapshot, counters: &CoreSnapshot, watched: WatchSnapshot) -> Value {
    json!({
        "core": pulse.core.get(),
        "partitions": counters.partitions,
        "fenced_partitions": counters.fenced_partitions,
        "connections": counters.connections,
        "in_flight_requests": counters.in_flight_requests,
        "parked_fetches": counters.parked_fetches,
        "busy_ms": Span(pulse.busy).millis(),
        "late_max_ms": Span(pulse.late_max).millis(),
        "stalls": pulse.stalls,
        "stuck": watched.stuck,
        "slow_work": watched.slow_work,
        "oldest_work_ms": Span(watched.oldest_work).millis(),
        "unflushed_bytes": pulse.unflushed_bytes,
        "kept_bytes": pulse.kept_bytes,
        "received_bytes": counters.received_bytes_total,
        "sent_bytes": counters.sent_bytes_total,
        "appended_records": counters.appended_records_total,
        "appended_bytes": counters.appended_bytes_total,
        "copied_records": counters.copied_records_total,
        "copied_bytes": counters.copied_bytes_total,
        "installed_bytes": counters.installed_bytes_total,
        "fetched_bytes": counters.fetched_bytes_total,
        "transferred_bytes": counters.transferred_bytes_total,
        "flushes": counters.flushes_total,
        "flushed_bytes": counters.flushed_bytes_total,
        "hops": counters.hops_total,
        "lane_busy": counters.lane_busy_total,
        "requests": counters.requests.iter().map(|(_, count)| count).sum::<u64>(),
        "errors": counters.errors.iter().map(|(_, count)| count).sum::<u64>(),
        "sync_us": histogram(&counters.sync_us),
        "late_us": histogram(&pulse.late_us),
    })
}

/// Each bucket as its upper bound in microseconds (null: no bound) and how many fell into it.
fn histogram(histogram: &HistogramSnapshot) -> Value {
    json!({ "buckets": histogram.buckets, "sum": histogram.sum_us })
}
