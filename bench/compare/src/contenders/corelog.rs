//! A node of this repository, measured twice: by its own client (`corelog bench`, which builds every batch
//! and decodes every record while it measures) and, producing, by the plain client that peers are measured
//! by. What is between the two is what our client costs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::corelog_protocol as protocol;
use crate::contender::{Consume, Contender, Figures, Level, Produce, Promise};
use crate::load::{self, Connection, Requests};
use crate::payload::Batches;
use crate::process::{self, Process};
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
    server: String,
    process: Option<Process>,
}

/// The command lines: the only place that knows them.
mod line {
    use super::{Consume, Level, Produce};

    pub(super) fn serve(folder: &str) -> Vec<String> {
        words(&format!(
            "serve --cores 1 --data-dir {folder} --listen 127.0.0.1:0 --admin 127.0.0.1:0"
        ))
    }

    pub(super) fn create(topic: &str, partitions: u32) -> Vec<String> {
        words(&format!(
            "topic create {topic} --partitions {partitions} --if-not-exists"
        ))
    }

    pub(super) fn produce(topic: &str, load: &Produce) -> Vec<String> {
        let ack = match load.level {
            Level::Accepted => "accepted",
            Level::Durable => "durable",
        };
        words(&format!(
            "bench produce --topic {topic} --partitions {} --record-bytes {}B --batch-bytes {}B \
             --window {} --total {}B --ack {ack} --timeout 120s --output json",
            load.partitions,
            load.record_bytes,
            load.batch_bytes(),
            load.window,
            load.batches * load.batch_bytes(),
        ))
    }

    pub(super) fn consume(topic: &str, _load: &Consume) -> Vec<String> {
        words(&format!(
            "bench consume --topic {topic} --timeout 120s --output json"
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
            server: String::new(),
            process: None,
        }
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

    fn produce_plainly(&self, topic: &str, load: &Produce) -> Result<Figures> {
        let batches = Batches::new(load.record_bytes, load.batch_records);
        let id = protocol::topic_id(&self.server, topic)?;
        let requests = (0..load.partitions).map(|partition| {
            let produce =
                |records: Vec<_>| protocol::produce(topic, id, partition, load.level, &records);
            Requests::new(batches.iter().map(produce).collect::<Result<Vec<_>>>()?)
        });
        let requests = requests.collect::<Result<Vec<_>>>()?;
        let connections = (0..load.clients).map(|client| {
            let requests = requests[(client % load.partitions) as usize].clone();
            let stream = protocol::greet(&self.server)?;
            let wire = Box::new(protocol::Acks {
                batch_records: load.batch_records as u64,
                records: 0,
            });
            Ok((Connection { stream, wire }, requests))
        });
        load::produce(connections.collect::<Result<_>>()?, load)
    }

    fn measure(&self, words: &[String], records_total: Option<u64>) -> Result<Figures> {
        let out: Value = serde_json::from_str(&self.run(words)?)?;
        let records = out["records"].as_u64().context("records")?;
        Ok(Figures {
            records,
            bytes: out["bytes"].as_u64().context("bytes")?,
            seconds: out["seconds"].as_f64().context("seconds")?,
            records_total: records_total.unwrap_or(records),
            p50_us: out["ack_us"]["p50"].as_f64(),
            p99_us: out["ack_us"]["p99"].as_f64(),
            how: format!("corelog {}", words.join(" ")),
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
            Level::Accepted => "checked and in memory; a flush begins within 5 ms or 1 MiB",
            Level::Durable => "on the disk",
        })
    }

    fn settings(&self, _level: Level) -> String {
        "--cores 1".into()
    }

    fn start(&mut self, folder: &Path, _level: Level) -> Result<()> {
        let mut command = Command::new(&self.program);
        let data = folder.join("data");
        command.args(line::serve(
            data.to_str().context("a folder of plain letters")?,
        ));
        let log = folder.join("log");
        let mut process = Process::start(&mut command, &log)?;
        self.server = process.wait_until(|| process::word_behind(&log, "ready listen="))?;
        self.process = Some(process);
        Ok(())
    }

    fn create(&mut self, topic: &str, partitions: u32) -> Result<()> {
        self.run(&line::create(topic, partitions)).map(drop)
    }

    fn produce(&mut self, topic: &str, load: &Produce) -> Result<Figures> {
        if self.client == Client::Plain {
            return self.produce_plainly(topic, load);
        }
        let batches = load.batches.div_ceil(load.partitions.into()) * u64::from(load.partitions);
        let records = batches * load.batch_records as u64;
        self.measure(&line::produce(topic, load), Some(records))
    }

    fn fill(&mut self, topic: &str, load: &Produce) -> Result<Figures> {
        self.produce(topic, load)
    }

    fn consume(&mut self, topic: &str, load: &Consume) -> Result<Figures> {
        let figures = self.measure(&line::consume(topic, load), None)?;
        let (read, sent) = (figures.records, load.records);
        ensure!(read == sent, "{read} of {sent} records were read");
        Ok(figures)
    }

    fn cannot(&self, workload: &Workload) -> Option<String> {
        let is_crowd = workload.load.clients > workload.load.partitions;
        match self.client {
            Client::Own if is_crowd => Some("`corelog bench` has one client a partition".into()),
            Client::Plain if workload.kind != Kind::Produce => Some("only produces".into()),
            _ => None,
        }
    }

    fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }

    fn stop(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), Process::stop)
    }
}
