//! `/metrics`: what the cores count and what their partitions are, for Prometheus.

use std::fmt::Display;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use corelog_node::metrics::{
    CoreSnapshot, HistogramSnapshot, Lag, PartitionSnapshot, QuarantineShare, SampleKind,
};
use corelog_protocol::error::ErrorCode;
use corelog_protocol::kind::Kind as FrameKind;

use super::exposition::{CONTENT_TYPE, Kind, Page};
use super::{Stage, health};

/// The page, or 503 and why there is none.
pub(super) async fn show(State(stage): State<Stage>) -> Response {
    match health::ask(&stage).await {
        Ok((handle, partitions)) => {
            let counters = handle.counters();
            // Listing a directory may wait for a disk.
            let listed = tokio::task::spawn_blocking(move || handle.quarantine()).await;
            let quarantine = match listed {
                Ok(Ok(shares)) => shares,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the quarantine cannot be listed for the metrics");
                    Vec::new()
                }
                Err(_) => Vec::new(),
            };
            let text = page(&counters, &partitions, &quarantine);
            ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response()
        }
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

fn page(
    cores: &[CoreSnapshot],
    partitions: &[PartitionSnapshot],
    quarantine: &[QuarantineShare],
) -> String {
    let mut page = Page::default();
    process(&mut page);
    core_numbers(&mut page, cores);
    requests(&mut page, cores);
    errors(&mut page, cores);
    sync_seconds(&mut page, cores);
    partition_numbers(&mut page, partitions);
    quarantine_numbers(&mut page, quarantine);
    page.into_text()
}

fn quarantine_numbers(page: &mut Page, quarantine: &[QuarantineShare]) {
    type Number = fn(&QuarantineShare) -> u64;
    let families: [(&str, &str, Number); 2] = [
        ("files", "Files in quarantine, by reason.", |share| {
            share.files
        }),
        ("bytes", "Bytes in quarantine, by reason.", |share| {
            share.bytes
        }),
    ];
    for (name, help, number) in families {
        let name = format!("corelog_quarantine_{name}");
        page.family(&name, Kind::Gauge, help);
        for share in quarantine {
            page.sample(&name, &[("reason", share.reason)], number(share));
        }
    }
}

fn process(page: &mut Page) {
    page.family("corelog_build_info", Kind::Gauge, "The version that runs.");
    page.sample(
        "corelog_build_info",
        &[("version", env!("CARGO_PKG_VERSION"))],
        1,
    );
    if let Some(bytes) = resident_bytes() {
        page.family(
            "corelog_resident_bytes",
            Kind::Gauge,
            "Resident memory of the process.",
        );
        page.sample("corelog_resident_bytes", &[], bytes);
    }
}

/// From `/proc/self/status` (proc(5)): a line `VmRSS: 1234 kB`.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let rest = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

fn core_numbers(page: &mut Page, cores: &[CoreSnapshot]) {
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

fn requests(page: &mut Page, cores: &[CoreSnapshot]) {
    let name = "corelog_requests_total";
    page.family(name, Kind::Counter, "Requests received, by kind.");
    for (core, snapshot) in cores.iter().enumerate() {
        for (number, count) in &snapshot.requests {
            let kind = FrameKind::from_number(*number).map_or("other", FrameKind::name);
            page.sample(name, &[("core", &core.to_string()), ("kind", kind)], count);
        }
    }
}

fn errors(page: &mut Page, cores: &[CoreSnapshot]) {
    let name = "corelog_errors_total";
    page.family(
        name,
        Kind::Counter,
        "Requests answered with an error, by code.",
    );
    for (core, snapshot) in cores.iter().enumerate() {
        for (number, count) in &snapshot.errors {
            let code = ErrorCode::from_number(*number).map_or("other", ErrorCode::name);
            page.sample(name, &[("core", &core.to_string()), ("code", code)], count);
        }
    }
}

fn sync_seconds(page: &mut Page, cores: &[CoreSnapshot]) {
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

/// Microseconds as the seconds that Prometheus counts in.
#[expect(
    clippy::cast_precision_loss,
    reason = "a metric; 2^53 microseconds are 285 years"
)]
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

fn partition_numbers(page: &mut Page, partitions: &[PartitionSnapshot]) {
    type Number = fn(&PartitionSnapshot) -> u64;
    let families: [(&str, &str, Number); 7] = [
        ("log_start", "The oldest readable offset.", |p| {
            p.log_start.get()
        }),
        ("high_watermark", "All below may be read.", |p| {
            p.high_watermark.get()
        }),
        ("durable", "All below was synced to disk.", |p| {
            p.durable.get()
        }),
        ("log_end", "The next offset to be assigned.", |p| {
            p.log_end.get()
        }),
        ("segments", "Segments of the log.", |p| {
            p.segment_count as u64
        }),
        ("store_bytes", "Bytes of all stores.", |p| p.store_bytes),
        ("parked_fetches", "Long polls waiting at its end.", |p| {
            p.parked_fetch_count as u64
        }),
    ];
    for (name, help, number) in families {
        of_each(page, partitions, (name, help), |partition| {
            Some(number(partition))
        });
    }
    lags(page, partitions);
    let name = "corelog_partition_state";
    page.family(name, Kind::Gauge, "1 for the state each partition is in.");
    for partition in partitions {
        let id = partition.partition.to_string();
        let topic = partition.topic.as_str();
        let state = partition.state.as_str();
        page.sample(
            name,
            &[("topic", topic), ("partition", &id), ("state", state)],
            1,
        );
    }
}

/// How far those are behind that follow a source, as far as is known.
#[expect(
    clippy::cast_precision_loss,
    reason = "metrics; 2^53 bytes are 9 petabytes"
)]
fn lags(page: &mut Page, partitions: &[PartitionSnapshot]) {
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
            |lag| lag.millis.map(|millis| seconds(millis * 1000)),
        ),
    ];
    for (name, help, behind) in families {
        let number = |partition: &PartitionSnapshot| partition.lag.as_ref().and_then(behind);
        of_each(page, partitions, (name, help), number);
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
