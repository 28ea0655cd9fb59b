//! How one core's loop goes: as the core tells it with what it holds, and as its watchdog saw it.

use std::time::Duration;

use corelog_record::CoreId;

use super::histogram::HistogramSnapshot;

/// How one core's loop goes, since the node was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PulseSnapshot {
    /// The core.
    pub core: CoreId,
    /// How long it was at work and not asleep.
    pub busy: Duration,
    /// How late its heartbeats came.
    pub late_us: HistogramSnapshot,
    /// The longest of it.
    pub late_max: Duration,
    /// Heartbeats that came more than 100 ms late.
    pub stalls: u64,
    /// Bytes of batches that wait for the disk.
    pub unflushed_bytes: u64,
    /// Bytes of flushed batches that are kept for readers.
    pub kept_bytes: u64,
}

/// What the watchdog knows of one core, counted since the node was started; known whether or not the core answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchSnapshot {
    /// Times that it had work outstanding and did not turn for a second.
    pub stuck: u64,
    /// Times that the machine took seconds for what a core asked of it, while that turned.
    pub slow_work: u64,
    /// How long the machine has taken so far for the oldest of what the core asked of it; zero where nothing is under way.
    pub oldest_work: Duration,
}
