//! The process, the disk below it, and what it moved aside.

use std::time::{SystemTime, UNIX_EPOCH};

use corelog_node::metrics::QuarantineShare;
use corelog_node::sys::probe::Space;

use super::super::exposition::{Kind, Page};
use crate::telemetry;

/// Which version runs, since when, and in how much memory.
pub(super) fn process(page: &mut Page, started: SystemTime) {
    page.family("corelog_build_info", Kind::Gauge, "The version that runs.");
    page.sample(
        "corelog_build_info",
        &[("version", env!("CARGO_PKG_VERSION"))],
        1,
    );
    // The name that every exporter has for it.
    let name = "process_start_time_seconds";
    page.family(
        name,
        Kind::Gauge,
        "When the process was started, in seconds since the Unix epoch.",
    );
    let since_epoch = started.duration_since(UNIX_EPOCH).unwrap_or_default();
    page.sample(name, &[], since_epoch.as_secs_f64());
    if let Some(bytes) = resident_bytes() {
        page.family(
            "corelog_resident_bytes",
            Kind::Gauge,
            "Resident memory of the process.",
        );
        page.sample("corelog_resident_bytes", &[], bytes);
    }
}

/// If the configuration, as it was read last, is refused.
pub(super) fn configuration(page: &mut Page, is_refusing: bool) {
    let name = "corelog_configuration_refused";
    let help = "If the configuration was wrong when it was read last: what held before holds on.";
    page.family(name, Kind::Gauge, help);
    page.sample(name, &[], u8::from(is_refusing));
}

/// Lines of the log that are not in it.
pub(super) fn lost_lines(page: &mut Page) {
    let name = "corelog_log_lines_lost_total";
    let help = "Lines of the log that were lost, since whoever reads stderr did not.";
    page.family(name, Kind::Counter, help);
    page.sample(name, &[], telemetry::lost_lines());
}

/// The room on the disk under the data directory.
pub(super) fn space(page: &mut Page, space: Option<Space>) {
    let Some(space) = space else { return };
    for (name, help, size) in [
        (
            "corelog_disk_free_bytes",
            "Room that is left for the node on the file system of its data directory.",
            space.free,
        ),
        (
            "corelog_disk_total_bytes",
            "The size of that file system.",
            space.total,
        ),
    ] {
        page.family(name, Kind::Gauge, help);
        page.sample(name, &[], size.bytes());
    }
}

/// What the quarantine holds, by reason.
pub(super) fn quarantine(page: &mut Page, quarantine: Option<&[QuarantineShare]>) {
    let Some(quarantine) = quarantine else { return };
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

/// Topics that are not served: no partition of theirs is there to tell of it.
pub(super) fn unreadable_topics(page: &mut Page, count: usize) {
    let name = "corelog_unreadable_topics";
    let help = "Topics whose file the start could not read, so that they are not served.";
    page.family(name, Kind::Gauge, help);
    page.sample(name, &[], count);
}

/// The resident memory of the process, from `/proc/self/status` (proc(5)): a line `VmRSS: 1234 kB`.
pub(in crate::side) fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let rest = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}
