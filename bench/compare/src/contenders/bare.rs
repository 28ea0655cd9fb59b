//! The yardstick, `bench/bare`: opaque bodies that are received, checked, copied and written.
//!
//! It has no records to decode: what is consumed is received and its CRC-32C computed, by the MiB.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use crc_fast::{CrcAlgorithm, Digest};

use crate::contender::{Consume, Contender, Figures, Level, Produce, Promise};
use crate::load::{self, Connection, Wire};
use crate::payload::Batches;
use crate::process::{self, Process};
use crate::sending::Requests;
use crate::workload::{Kind as Work, Workload};

pub struct Bare {
    program: PathBuf,
    address: String,
    process: Option<Process>,
}

/// What is done with a frame.
#[derive(Clone, Copy)]
enum Kind {
    Accepted,
    Durable,
    Echo,
    ReadMemory,
    ReadFile,
}

impl Bare {
    pub fn new(program: &Path) -> Self {
        Self {
            program: program.to_owned(),
            address: String::new(),
            process: None,
        }
    }

    fn connect(&self, wire: impl Wire + 'static) -> Result<Connection> {
        Ok(Connection {
            stream: TcpStream::connect(&self.address)?,
            wire: Box::new(wire),
        })
    }

    fn send(&self, load: &Produce, kind: Kind) -> Result<Figures> {
        let batches = Batches::new(load.record_bytes, load.batch_records);
        let requests = (0..load.partitions).map(|partition| {
            let frame = |records: Vec<&[u8]>| frame(&records.concat(), partition, kind);
            Requests::new(batches.iter().map(frame))
        });
        let requests = requests.collect::<Result<Vec<_>>>()?;
        let connections = (0..load.clients).map(|client| {
            let requests = requests[(client % load.partitions) as usize].clone();
            let acks = Acks {
                batch_records: load.batch_records as u64,
                records: 0,
            };
            Ok((self.connect(acks)?, requests))
        });
        load::produce(connections.collect::<Result<_>>()?, load)
    }
}

impl Contender for Bare {
    fn name(&self) -> &'static str {
        "bare"
    }

    fn version(&self) -> Result<String> {
        ensure!(self.program.exists(), "bench/bare is not built");
        Ok("of this commit".into())
    }

    fn promise(&self, level: Level) -> Promise {
        Ok(match level {
            Level::Accepted => "in memory, with the next group on its way to the disk",
            Level::Durable => "on the disk",
        })
    }

    fn settings(&self, _level: Level) -> String {
        let kib = RESERVED_BYTES_MIN >> 10;
        format!(
            "one core, {PARTITIONS} files; space allocated for groups from {kib} KiB on, else zeroed"
        )
    }

    fn start(&mut self, folder: &Path, _load: &Produce) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.arg("serve").arg(folder);
        command.args([PARTITIONS, RESERVED_BYTES_MIN].map(|number| number.to_string()));
        let log = folder.join("log");
        let mut process = Process::start(&command, &log)?;
        self.address = process.wait_until(|| process::word_behind(&log, "ready "))?;
        self.process = Some(process);
        Ok(())
    }

    fn create(&mut self, _topic: &str, _partitions: u32) -> Result<()> {
        Ok(())
    }

    fn produce(&mut self, _topic: &str, load: &Produce) -> Result<Figures> {
        self.send(
            load,
            match load.level {
                Level::Accepted => Kind::Accepted,
                Level::Durable => Kind::Durable,
            },
        )
    }

    fn echo(&mut self, load: &Produce) -> Option<Result<Figures>> {
        Some(self.send(load, Kind::Echo))
    }

    fn fill(&mut self, _topic: &str, _load: &Produce) -> Result<Figures> {
        anyhow::bail!("has no partitions to speak of")
    }

    fn asked(&self) -> &'static str {
        "everything at once"
    }

    fn consume(&mut self, _topic: &str, load: &Consume) -> Result<Figures> {
        let partitions = load.produced.partitions;
        let kind = match load.is_cold {
            true => Kind::ReadFile,
            false => Kind::ReadMemory,
        };
        let record_bytes = load.produced.record_bytes as u64;
        let bytes = load.records * record_bytes / u64::from(partitions);
        let connections = (0..partitions).map(|partition| {
            let request = frame(&bytes.to_le_bytes(), partition, kind);
            let blocks = Blocks {
                record_bytes,
                bytes: 0,
                crc: Digest::new(CrcAlgorithm::Crc32Iscsi),
            };
            Ok((self.connect(blocks)?, request))
        });
        load::consume(connections.collect::<Result<_>>()?, load)
    }

    fn cannot(&self, workload: &Workload) -> Option<String> {
        (workload.kind == Work::Fill).then(|| "has no partitions to speak of".into())
    }

    fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }

    fn stop(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), Process::stop)
    }
}

fn frame(body: &[u8], partition: u32, kind: Kind) -> Vec<u8> {
    let bytes = u32::try_from(body.len()).expect("a body is small");
    let header = [bytes, partition, crc_fast::crc32_iscsi(body), kind as u32];
    let mut frame = Vec::with_capacity(16 + body.len());
    for field in header {
        // A vector takes whatever is written.
        let _ = frame.write_all(&field.to_le_bytes());
    }
    frame.extend(body);
    frame
}

/// Eight bytes for each batch.
struct Acks {
    batch_records: u64,
    records: u64,
}

impl Wire for Acks {
    fn receive(&mut self, bytes: &[u8], _out: &mut Vec<u8>) -> Result<usize> {
        let acks = bytes.len() / 8;
        self.records += acks as u64 * self.batch_records;
        Ok(acks * 8)
    }

    fn records(&self) -> u64 {
        self.records
    }
}

/// Opaque bytes.
struct Blocks {
    record_bytes: u64,
    bytes: u64,
    crc: Digest,
}

impl Wire for Blocks {
    fn receive(&mut self, bytes: &[u8], _out: &mut Vec<u8>) -> Result<usize> {
        self.crc.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn records(&self) -> u64 {
        self.bytes / self.record_bytes
    }
}

const PARTITIONS: usize = 16;
/// As in a node (`crates/storage/src/log/space.rs`).
const RESERVED_BYTES_MIN: usize = 256 << 10;
