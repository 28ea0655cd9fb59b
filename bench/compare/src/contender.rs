//! What is compared: a server that can be started, produced to, consumed from and looked at.
//!
//! An adapter is one implementation of [`Contender`] and one line in
//! [`all`](crate::contenders::all). If its protocol is simple, [`load`](crate::load) drives it, and the
//! adapter says how a batch is encoded and how acknowledgements are counted; if it has a measuring tool
//! of its own, the adapter runs that and reads what it prints.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::process::Process;
use crate::workload::Workload;

/// What a producer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The server has it, in the page cache or, as ours, in its memory: a crash of the machine may lose it, and of the latter
    /// a kill of the server, too.
    Accepted,
    /// It is on the disk.
    Durable,
}

/// What an acknowledgement of a contender means, or why it has none like this.
pub type Promise = std::result::Result<&'static str, String>;

/// A server beside others. Methods are called in the order in which they stand here.
pub trait Contender {
    /// As it is called in tables.
    fn name(&self) -> &'static str;

    /// Its version, or why it is not there.
    fn version(&self) -> Result<String>;

    /// What its acknowledgement means at `level`.
    fn promise(&self, level: Level) -> Promise;

    /// The settings that differ from what it does by itself.
    fn settings(&self, level: Level) -> String;

    /// The names of the configuration files that it is started with, in its folder.
    fn config_files(&self) -> &'static [&'static str] {
        &[]
    }

    /// Starts the server on `folder`, which is empty or what an earlier one left, and waits until it
    /// serves. `load` is what it will be asked for first, or was.
    fn start(&mut self, folder: &Path, load: &Produce) -> Result<()>;

    /// Makes a topic of so many partitions: whatever the server calls a log.
    fn create(&mut self, topic: &str, partitions: u32) -> Result<()>;

    /// Sends batches to a topic and waits for their acknowledgements.
    fn produce(&mut self, topic: &str, load: &Produce) -> Result<Figures>;

    /// Produces to a topic of its own, uncounted, so that what is measured is a server that runs for a while:
    /// programs compiled, buffers there. As much as is measured, but of a stream a little.
    fn warm_up(&mut self, load: &Produce) -> Result<()> {
        let share = if load.is_stream() { 16 } else { 1 };
        warm_up(self, load, load.batches / share)
    }

    /// Sends one record to each partition of a topic that [`create`](Self::create) made, over one
    /// connection where that is possible.
    fn fill(&mut self, topic: &str, load: &Produce) -> Result<Figures>;

    /// What it is asked for when it is consumed from, and how much of that is under way: [`FETCH_BYTES`] by
    /// [`FETCHES`], as far as its protocol knows either.
    fn asked(&self) -> &'static str;

    /// Reads a topic from its start, decoding each record.
    fn consume(&mut self, topic: &str, load: &Consume) -> Result<Figures>;

    /// The bare round trip over the loopback, if this contender has one.
    fn echo(&mut self, _load: &Produce) -> Option<Result<Figures>> {
        None
    }

    /// Why it cannot do a workload that it has a level for.
    fn cannot(&self, _workload: &Workload) -> Option<String> {
        None
    }

    /// The process that serves, for its processor time and memory.
    fn process(&self) -> Option<&Process>;

    /// Ends the server: what it promised is on the disk afterwards.
    fn stop(&mut self) -> Result<()>;
}

/// Has `contender` take so many `batches` of `load` in a topic of their own, as fast as it does.
pub fn warm_up(
    contender: &mut (impl Contender + ?Sized),
    load: &Produce,
    batches: u64,
) -> Result<()> {
    const TOPIC: &str = "warm";
    contender.create(TOPIC, load.partitions)?;
    let load = Produce {
        batches,
        rate: None,
        ..*load
    };
    contender.produce(TOPIC, &load).map(drop)
}

/// Producers: a closed loop, or with a rate an open one.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Produce {
    pub level: Level,
    pub record_bytes: usize,
    pub batch_records: usize,
    /// Connections, each of which produces to partition (its number modulo partitions).
    pub clients: u32,
    pub partitions: u32,
    /// Batches that each client of a closed loop keeps in flight.
    pub window: usize,
    /// Batches that are due in each second, of all clients together, whatever became of those before.
    pub rate: Option<f64>,
    /// Batches in all; fewer if they are not acknowledged by then.
    pub batches: u64,
    pub seconds_max: f64,
}

impl Produce {
    /// Whether it writes so much that where memory comes from decides.
    pub fn is_stream(&self) -> bool {
        STREAM_BYTES <= self.batches * (self.batch_records * self.record_bytes) as u64
    }

    /// One batch of a record for each partition, from one client.
    pub fn as_one_batch(&self) -> Self {
        Self {
            batch_records: self.partitions as usize,
            batches: 1,
            ..*self
        }
    }

    pub fn batch_bytes(&self) -> u64 {
        (self.record_bytes * self.batch_records) as u64
    }
}

/// What was produced before, to be read.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Consume {
    pub produced: Produce,
    /// Whether the server was started anew since, and nothing of it is in the page cache.
    pub is_cold: bool,
    /// Records in all.
    pub records: u64,
}

/// What was measured. Records and bytes (of payload) are those within `seconds`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures {
    pub records: u64,
    pub bytes: u64,
    pub seconds: f64,
    /// Records in all, those of the warm-up among them.
    pub records_total: u64,
    /// Acknowledgements that were timed: the median and the percentiles 99 and 99.9 are of so many.
    pub acks: u64,
    pub p50_us: Option<f64>,
    pub p99_us: Option<f64>,
    pub p999_us: Option<f64>,
    /// How it was measured: a command, or the client.
    pub how: String,
}

/// One of the latencies of figures.
pub type Quantile = fn(&Figures) -> Option<f64>;

impl Figures {
    pub fn mib_per_s(&self) -> f64 {
        self.bytes as f64 / f64::from(1 << 20) / self.seconds
    }

    pub fn records_per_s(&self) -> f64 {
        self.records as f64 / self.seconds
    }
}

/// What whoever consumes asks for at once: as the node's own client does by itself.
pub const FETCH_BYTES: usize = 2 << 20;
/// Fetches under way: one that is answered, and the next.
pub const FETCHES: usize = 2;
/// A workload of so many bytes is a stream.
const STREAM_BYTES: u64 = 512 << 20;
