//! `/metrics`: what the cores count and what their partitions are, for Prometheus.
//!
//! ```text
//! process     the process, its disk and its quarantine
//! cores       what each core counts, how its loop goes, how many partitions are in which state
//! partitions  a series for each partition; a node of very many may do without
//! ```

mod cores;
mod partitions;
mod process;

use std::sync::atomic::Ordering;
use std::time::SystemTime;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use corelog_node::Handle;
use corelog_node::metrics::{
    CoreSnapshot, PartitionSnapshot, PulseSnapshot, QuarantineShare, WatchSnapshot,
};
use corelog_node::sys::probe::Space;
use tokio::sync::Semaphore;

pub(super) use self::process::resident_bytes;
use super::exposition::{Format, Page};
use super::{Stage, health};

/// All that a page is made of. What a core does not tell in time is missing; what others know of it is not.
struct Told {
    started: SystemTime,
    is_refusing: bool,
    cores: Vec<CoreSnapshot>,
    watched: Vec<WatchSnapshot>,
    /// Of each core, if it answered.
    pulses: Vec<Option<PulseSnapshot>>,
    partitions: Vec<Option<Vec<PartitionSnapshot>>>,
    quarantine: Option<Vec<QuarantineShare>>,
    unreadable_topics: usize,
    space: Option<Space>,
}

/// The page, or 503 and why there is none: the node starts or stops.
pub(super) async fn show(State(stage): State<Stage>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT);
    let format = Format::preferred(accept.and_then(|accept| accept.to_str().ok()));
    match stage.handle() {
        Ok(handle) => {
            let (pulses, partitions, quarantine, space) = tokio::join!(
                health::each(handle.each_pulse()),
                health::each(handle.each_partitions()),
                quarantine(&handle),
                space(&handle)
            );
            let told = Told {
                started: stage.started,
                is_refusing: stage.is_refusing.load(Ordering::Relaxed),
                cores: handle.counters(),
                watched: handle.watched(),
                pulses,
                partitions,
                quarantine,
                unreadable_topics: handle.report().unreadable,
                space,
            };
            let text = page(told, format, stage.tells_partitions);
            ([(header::CONTENT_TYPE, format.content_type())], text).into_response()
        }
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

fn page(told: Told, format: Format, tells_partitions: bool) -> String {
    let answers = told.pulses.iter().zip(&told.partitions);
    let answers = answers.map(|(pulse, partitions)| pulse.is_some() && partitions.is_some());
    let mut page = Page::new(format);
    process::process(&mut page, told.started);
    process::configuration(&mut page, told.is_refusing);
    process::lost_lines(&mut page);
    process::space(&mut page, told.space);
    process::quarantine(&mut page, told.quarantine.as_deref());
    process::unreadable_topics(&mut page, told.unreadable_topics);
    cores::numbers(&mut page, &told.cores);
    cores::requests(&mut page, &told.cores);
    cores::errors(&mut page, &told.cores);
    cores::sync_seconds(&mut page, &told.cores);
    cores::answers(&mut page, answers);
    cores::watched(&mut page, &told.watched);
    let pulses: Vec<_> = told.pulses.into_iter().flatten().collect();
    cores::pulses(&mut page, &pulses);
    cores::partition_counts(&mut page, &told.partitions);
    let mut partitions: Vec<_> = told.partitions.into_iter().flatten().flatten().collect();
    partitions.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    cores::worst(&mut page, &partitions);
    if tells_partitions {
        partitions::numbers(&mut page, &partitions);
        partitions::replicas(&mut page, &partitions);
        partitions::words(&mut page, &partitions);
    }
    page.into_text()
}

/// What the quarantine holds; nothing where it cannot be listed, or not in time.
pub(super) async fn quarantine(handle: &Handle) -> Option<Vec<QuarantineShare>> {
    static TURN: Semaphore = Semaphore::const_new(1);
    let handle = handle.clone();
    health::apart(&TURN, move || {
        let listed = handle.quarantine();
        let failed =
            |error| tracing::warn!(%error, "the quarantine cannot be listed for the metrics");
        listed.map_err(failed).ok()
    })
    .await
}

/// The room on the disk; nothing where the kernel does not tell.
pub(super) async fn space(handle: &Handle) -> Option<Space> {
    static TURN: Semaphore = Semaphore::const_new(1);
    let handle = handle.clone();
    health::apart(&TURN, move || {
        let failed = |error| tracing::warn!(%error, "the room on the disk is not known");
        handle.space().map_err(failed).ok()
    })
    .await
}

/// Microseconds as the seconds that Prometheus counts in.
#[expect(
    clippy::cast_precision_loss,
    reason = "a metric; 2^53 microseconds are 285 years"
)]
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}
