//! A node of this repository, measured twice: by its own client (`corelog bench`, which builds every batch
//! and decodes every record while it measures) and by the plain client that peers are measured by. What is
//! between the two is what our client costs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::corelog_protocol as protocol;
use crate::contender::{self, Consume, Contender, Figures, Level, Produce, Promise};
use crate::load::{self, Connection};
use crate::payload::{Batches, Check};
use crate::process::Process;
use crate::sending::Requests;
use crate::workload::{Kind, Workload};

/// Who produces and consumes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// `corelog bench`.
    Own,
    /// [`load`].
    Plain,
}

pub struct Corelog {
    program: PathBuf,
    client: Client,
    cores: u32,
    /// Streams find the memory of a node that runs for a while.
    is_preallocated: bool,
    server: String,
    process: Option<Process>,
}

/// The command lines: the only place that knows them.
mod line {
    use super::{Consume, Level, Produce};

    /// What may be read afterwards fits into memory, as it fits into the page cache that the others leave it
    /// to. What is durable is only written, and has the default.
    pub(super) fn settings(level: Level, cores: u32) -> String {
        match level {
            Level::Accepted => format!("--cores {cores} --tail-memory 1152MiB"),
            Level::Durable => format!("--cores {cores}"),
        }
    }

    /// What a stream needs of memory is there when it begins.
    pub(super) const PREALLOC: &str = "--prealloc-memory";

    pub(super) fn serve(folder: &str, settings: &str) -> Vec<String> {
        words(&format!(
            "serve {settings} --data-dir {folder} --listen 127.0.0.1:0 --admin 127.0.0.1:0"
        ))
    }

    pub(super) fn create(topic: &str, partitions: u32) -> Vec<String> {
        words(&format!(
            "topic create {topic} --partitions {partitions} --if-not-exists"
        ))
    }

    pub(super) fn produce(topic: &str, load: &Produce) -> Vec<String> {
        let ack = ack(load.level);
        words(&format!(
            "bench produce --yes --topic {topic} --partitions {} --producers {} --record-bytes {}B \
             --batch-bytes {}B --window {} --total {}B --ack {ack} --timeout 120s --output json",
            load.partitions,
            load.clients,
            load.record_bytes,
            load.batch_bytes(),
            load.window,
            load.batches * load.batch_bytes(),
        ))
    }

    /// An open loop at `rate` batches a second, over the one connection that a producer has.
    pub(super) fn latency(topic: &str, load: &Produce, rate: f64) -> Vec<String> {
        let ack = ack(load.level);
        words(&format!(
            "bench latency --yes --topic {topic} --partitions {} --record-bytes {}B --batch-records {} \
             --rate {:.0} --duration {:.0}ms --ack {ack} --timeout 120s --output json",
            load.partitions,
            load.record_bytes,
            load.batch_records,
            rate * load.batch_records as f64,
            load.batches as f64 / rate * 1e3,
        ))
    }

    fn ack(level: Level) -> &'static str {
        match level {
            Level::Accepted => "accepted",
            Level::Durable => "durable",
        }
    }

    pub(super) fn consume(topic: &str, load: &Consume) -> Vec<String> {
        words(&format!(
            "bench consume --topic {topic} --consumers {} --timeout 120s --output json",
            load.produced.partitions
        ))
    }

    pub(super) fn seek(topic: &str) -> Vec<String> {
        words(&format!(
            "bench seek --topic {topic} --count 200 --output json"
        ))
    }

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }
}

impl Corelog {
    pub fn new(program: &Path, client: Client) -> Self {
        Self {
            program: program.to_owned(),
            client,
            cores: 1,
            is_preallocated: true,
            server: String::new(),
            process: None,
        }
    }

    /// With so many cores.
    pub fn with_cores(mut self, cores: u32) -> Self {
        self.cores = cores;
        self
    }

    /// Takes memory as it is needed, where that is measured.
    pub fn with_memory_as_needed(mut self) -> Self {
        self.is_preallocated = false;
        self
    }

    /// The median time to the first record of a random place, in microseconds.
    pub fn seek_p50_us(&self, topic: &str) -> Result<f64> {
        let out: Value = serde_json::from_str(&self.run(&line::seek(topic))?)?;
        out["seek_us"]["p50"].as_f64().context("seek_us")
    }

    fn run(&self, words: &[String]) -> Result<String> {
        let mut command = Command::new(&self.program);
        let out = command
            .args(words)
            .env("CORELOG_SERVER", &self.server)
            .output()?;
        let error = String::from_utf8_lossy(&out.stderr);
        ensure!(out.status.success(), "corelog {}: {error}", words.join(" "));
        Ok(String::from_utf8(out.stdout)?)
    }

    /// Each client sends to partitions of its own by turns, or to one that it shares with others.
    fn produce_plainly(&self, topic: &str, load: &Produce) -> Result<Figures> {
        let mut ids = Vec::new();
        for (name, _) in topics(topic, load.partitions) {
            let id = protocol::topic_id(&self.server, &name)?;
            ids.push((name, id));
        }
        let shares = load.clients.min(load.partitions);
        let mut requests = Vec::new();
        for share in 0..shares {
            let its = (share..load.partitions).step_by(shares as usize);
            let its = its.map(|partition| (partition, Batches::new(load, topic, partition)));
            let its: Vec<_> = its.collect();
            let mut batches: Vec<_> = its.iter().map(|(at, its)| (at, its.iter())).collect();
            let mut by_turns = Vec::new();
            for _ in 0..(REQUESTS_MAX / its.len()).max(1) {
                for (partition, batches) in &mut batches {
                    let Some(records) = batches.next() else {
                        continue;
                    };
                    let (name, id) = &ids[(*partition / TOPIC_PARTITIONS_MAX) as usize];
                    let (at, level) = (*partition % TOPIC_PARTITIONS_MAX, load.level);
                    by_turns.push(protocol::produce(name, *id, at, level, &records)?);
                }
            }
            requests.push(Requests::new(by_turns));
        }
        let connections = (0..load.clients).map(|client| {
            let requests = requests[(client % shares) as usize].clone();
            let stream = protocol::greet(&self.server)?;
            let wire = Box::new(protocol::Acks {
                batch_records: load.batch_records as u64,
                records: 0,
            });
            Ok((Connection { stream, wire }, requests))
        });
        load::produce(connections.collect::<Result<_>>()?, load)
    }

    fn consume_plainly(&self, topic: &str, load: &Consume) -> Result<Figures> {
        let id = protocol::topic_id(&self.server, topic)?;
        let connections = (0..load.produced.partitions).map(|partition| {
            let check = Check::new(&load.produced, topic, partition);
            let wire = protocol::Fetches::new(topic, id, partition, check)?;
            let mut first = Vec::new();
            wire.ask(&mut first)?;
            let stream = protocol::greet(&self.server)?;
            let wire = Box::new(wire);
            Ok((Connection { stream, wire }, first))
        });
        load::consume(connections.collect::<Result<_>>()?, load)
    }

    fn measure(&self, words: &[String], records_total: Option<u64>) -> Result<Figures> {
        let out: Value = serde_json::from_str(&self.run(words)?)?;
        let records = out["records"].as_u64().context("records")?;
        Ok(Figures {
            records,
            bytes: out["bytes"].as_u64().context("bytes")?,
            seconds: out["seconds"].as_f64().context("seconds")?,
            records_total: records_total.unwrap_or(records),
            acks: out["ack_us"]["count"].as_u64().unwrap_or(0),
            p50_us: out["ack_us"]["p50"].as_f64(),
            p99_us: out["ack_us"]["p99"].as_f64(),
            p999_us: out["ack_us"]["p99.9"].as_f64(),
            how: format!("corelog {}", words.join(" ")),
        })
    }

    /// An open loop: a line for each batch.
    fn measure_paced(&self, words: &[String], load: &Produce) -> Result<Figures> {
        let mut acks = Vec::new();
        for line in self.run(words)?.lines() {
            let out: Value = serde_json::from_str(line)?;
            let said = |key: &str| out[key].as_u64().with_context(|| key.to_owned());
            acks.push((said("due_us")?, said("us")?));
        }
        let (acked, due) = (acks.len() as u64, load.batches);
        ensure!(acked == due, "{acked} of {due} batches were acknowledged");
        Ok(Figures {
            how: format!("corelog {}", words.join(" ")),
            ..paced(acks, load)
        })
    }
}

impl Contender for Corelog {
    fn name(&self) -> &'static str {
        match self.client {
            Client::Own => "Corelog",
            Client::Plain => "Corelog, plain client",
        }
    }

    fn version(&self) -> Result<String> {
        let out = Command::new(&self.program).arg("--version").output();
        let out = out.context("corelog is not built")?;
        let text = String::from_utf8(out.stdout)?;
        Ok(text.trim().trim_start_matches("corelog ").to_owned())
    }

    fn promise(&self, level: Level) -> Promise {
        Ok(match level {
            Level::Accepted => {
                "checked and in its memory, which a kill of it loses; a flush begins within 5 ms or 1 MiB"
            }
            Level::Durable => "on the disk",
        })
    }

    fn settings(&self, level: Level) -> String {
        let settings = line::settings(level, self.cores);
        match self.is_preallocated {
            true => format!("{settings}, for streams {}", line::PREALLOC),
            false => settings,
        }
    }

    fn start(&mut self, folder: &Path, load: &Produce) -> Result<()> {
        let mut command = Command::new(&self.program);
        let data = folder.join("data");
        let data = data.to_str().context("a folder of plain letters")?;
        let mut settings = line::settings(load.level, self.cores);
        if self.is_preallocated && load.is_stream() {
            settings = format!("{settings} {}", line::PREALLOC);
        }
        command.args(line::serve(data, &settings));
        let log = folder.join("log");
        let mut process = Process::start(&command, &log)?;
        self.server = process.wait_for_word(&log, "ready listen=")?;
        self.process = Some(process);
        Ok(())
    }

    fn create(&mut self, topic: &str, partitions: u32) -> Result<()> {
        for (name, partitions) in topics(topic, partitions) {
            self.run(&line::create(&name, partitions))?;
        }
        Ok(())
    }

    fn produce(&mut self, topic: &str, load: &Produce) -> Result<Figures> {
        if self.client == Client::Plain {
            return self.produce_plainly(topic, load);
        }
        if let Some(rate) = load.rate {
            return self.measure_paced(&line::latency(topic, load, rate), load);
        }
        // Each producer sends as many batches to each of its partitions.
        let streams = u64::from(load.partitions.max(load.clients));
        let records = load.batches.div_ceil(streams) * streams * load.batch_records as u64;
        self.measure(&line::produce(topic, load), Some(records))
    }

    /// Fills the memory of tails: a server that runs for a while takes no more of it, but uses what it has
    /// again.
    fn warm_up(&mut self, load: &Produce) -> Result<()> {
        contender::warm_up(self, load, load.batches)
    }

    fn fill(&mut self, topic: &str, load: &Produce) -> Result<Figures> {
        self.produce(topic, load)
    }

    fn asked(&self) -> &'static str {
        "2 MiB, and the next at the head of the answer"
    }

    fn consume(&mut self, topic: &str, load: &Consume) -> Result<Figures> {
        if self.client == Client::Plain {
            return self.consume_plainly(topic, load);
        }
        let figures = self.measure(&line::consume(topic, load), None)?;
        let (read, sent) = (figures.records, load.records);
        ensure!(read == sent, "{read} of {sent} records were read");
        Ok(figures)
    }

    fn cannot(&self, workload: &Workload) -> Option<String> {
        let is_plain = self.client == Client::Plain;
        let is_for_all = matches!(workload.kind, Kind::Produce | Kind::Consume);
        (is_plain && !is_for_all).then(|| "reads only what is in memory, and fills nothing".into())
    }

    fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }

    fn stop(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), Process::stop_well)
    }
}

/// What acknowledgements of batches come to, each of when it was due and how long it took, in microseconds. The first
/// tenth warms up.
fn paced(mut acks: Vec<(u64, u64)>, load: &Produce) -> Figures {
    acks.sort_unstable();
    let batch_records = load.batch_records as u64;
    let records_total = acks.len() as u64 * batch_records;
    acks.drain(..acks.len() / 10);
    let begun = acks.first().map_or(0, |(due, _)| *due);
    let ended = acks.iter().map(|(due, took)| due + took).max().unwrap_or(0);
    let mut took: Vec<u64> = acks.iter().map(|(_, took)| *took).collect();
    took.sort_unstable();
    let at = |quantile: f64| {
        let place = (took.len() as f64 * quantile).ceil() as usize;
        took.get(place.saturating_sub(1)).map(|us| *us as f64)
    };
    let records = took.len() as u64 * batch_records;
    Figures {
        records,
        bytes: records * load.record_bytes as u64,
        seconds: (ended - begun) as f64 / 1e6,
        records_total,
        acks: took.len() as u64,
        p50_us: at(0.5),
        p99_us: at(0.99),
        p999_us: at(0.999),
        how: String::new(),
    }
}

/// The topics that so many partitions need, each with its share of them.
fn topics(topic: &str, partitions: u32) -> impl Iterator<Item = (String, u32)> {
    let starts = (0..partitions).step_by(TOPIC_PARTITIONS_MAX as usize);
    starts.map(move |start| {
        let name = match start / TOPIC_PARTITIONS_MAX {
            0 => topic.to_owned(),
            number => format!("{topic}-{number}"),
        };
        (name, TOPIC_PARTITIONS_MAX.min(partitions - start))
    })
}

/// The most partitions that a topic has.
const TOPIC_PARTITIONS_MAX: u32 = 4096;
/// Requests that a client sends by turns, unless it has more partitions than that.
const REQUESTS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload;

    #[test]
    fn acknowledgements_count_by_when_they_were_due_behind_the_first_tenth() {
        let load = workload::row("durable-paced").load;
        // One in each millisecond, told from the last on; those of the first second took longest.
        let acks = (0..10_000).rev();
        let acks = acks.map(|ms| (ms * 1000, if ms < 1000 { 70_000 } else { ms / 1000 * 100 }));
        let figures = paced(acks.collect(), &load);
        assert_eq!((figures.records, figures.records_total), (9_000, 10_000));
        assert_eq!((figures.bytes, figures.acks), (9_000 << 10, 9_000));
        assert!(
            (figures.seconds - 8.9999).abs() < 1e-9,
            "{}",
            figures.seconds
        );
        assert_eq!(figures.p50_us, Some(500.0));
        assert_eq!(
            (figures.p99_us, figures.p999_us),
            (Some(900.0), Some(900.0))
        );
    }
}
