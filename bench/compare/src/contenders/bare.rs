//! The yardstick, `bench/bare`: opaque bodies that are received, checked, copied and written.
//!
//! It has no records to decode: what is consumed is received, and its CRC-32C held against that of what is to come.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use crc_fast::{CrcAlgorithm, Digest};

use crate::contender::{Consume, Contender, Figures, Level, Produce, Promise};
use crate::load::{self, Connection, Wire};
use crate::payload::Batches;
use crate::process::Process;
use crate::sending::Requests;
use crate::workload::{Kind as Work, Workload};

pub struct Bare {
    program: PathBuf,
    address: String,
    process: Option<Process>,
    /// So many partitions were produced to.
    written: u32,
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
            written: 0,
        }
    }

    fn connect(&self, wire: impl Wire + 'static) -> Result<Connection> {
        Ok(Connection {
            stream: load::connect(&self.address)?,
            wire: Box::new(wire),
        })
    }

    fn send(&self, topic: &str, load: &Produce, kind: Kind) -> Result<Figures> {
        let requests = (0..load.partitions).map(|partition| {
            let batches = Batches::new(load, topic, partition);
            let frame = |records: Vec<&[u8]>| frame(&records.concat(), partition, kind);
            Requests::new(batches.iter().map(frame))
        });
        let requests: Vec<_> = requests.collect();
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
            Level::Accepted => {
                "in its memory, which a kill of it loses, with the next group on its way to the disk"
            }
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
        self.address = process.wait_for_word(&log, "ready ")?;
        self.process = Some(process);
        self.written = 0;
        Ok(())
    }

    fn create(&mut self, _topic: &str, _partitions: u32) -> Result<()> {
        Ok(())
    }

    fn produce(&mut self, topic: &str, load: &Produce) -> Result<Figures> {
        self.written = load.partitions;
        self.send(
            topic,
            load,
            match load.level {
                Level::Accepted => Kind::Accepted,
                Level::Durable => Kind::Durable,
            },
        )
    }

    fn echo(&mut self, load: &Produce) -> Option<Result<Figures>> {
        Some(self.send("echo", load, Kind::Echo))
    }

    fn fill(&mut self, _topic: &str, _load: &Produce) -> Result<Figures> {
        anyhow::bail!("has no partitions to speak of")
    }

    fn asked(&self) -> &'static str {
        "everything at once"
    }

    fn consume(&mut self, topic: &str, load: &Consume) -> Result<Figures> {
        let partitions = load.produced.partitions;
        let kind = match load.is_cold {
            true => Kind::ReadFile,
            false => Kind::ReadMemory,
        };
        let record_bytes = load.produced.record_bytes as u64;
        let bytes = load.records * record_bytes / u64::from(partitions);
        let connections = (0..partitions).map(|partition| {
            let request = frame(&bytes.to_le_bytes(), partition, kind);
            let due = match load.is_cold {
                true => {
                    let batches = Batches::new(&load.produced, topic, partition);
                    crc_of_stream(batches.iter().map(|records| records.concat()), bytes)
                }
                false => crc_of_stream([vec![SENT; 1 << 20]].into_iter(), bytes),
            };
            let blocks = Blocks::new(record_bytes, bytes, due);
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

    /// It writes what it accepted, but not because it is to end.
    fn stop(&mut self) -> Result<()> {
        let Some(process) = self.process.take() else {
            return Ok(());
        };
        let written = self.write();
        process.stop().and(written)
    }
}

impl Bare {
    /// Has each partition write what it accepted: one durable body more is acknowledged behind it.
    fn write(&self) -> Result<()> {
        let mut stream = load::connect(&self.address)?;
        for partition in 0..self.written {
            stream.write_all(&frame(&[0], partition, Kind::Durable))?;
        }
        let written = stream.read_exact(&mut vec![0; ACK_BYTES * self.written as usize]);
        written.context("bare does not write what it accepted")
    }
}

/// The CRC-32C of so many bytes of a stream that is sent again and again.
fn crc_of_stream(blocks: impl Iterator<Item = Vec<u8>>, bytes: u64) -> u64 {
    let blocks: Vec<_> = blocks.collect();
    let (mut crc, mut left) = (Digest::new(CrcAlgorithm::Crc32Iscsi), bytes);
    for block in blocks.iter().cycle() {
        let taken = left.min(block.len() as u64);
        crc.update(&block[..taken as usize]);
        left -= taken;
        if left == 0 {
            break;
        }
    }
    crc.finalize()
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
        let acks = bytes.len() / ACK_BYTES;
        self.records += acks as u64 * self.batch_records;
        Ok(acks * ACK_BYTES)
    }

    fn records(&self) -> u64 {
        self.records
    }
}

/// Opaque bytes, so many of them, and what their CRC-32C is to be.
struct Blocks {
    record_bytes: u64,
    bytes: u64,
    crc: Digest,
    bytes_due: u64,
    crc_due: u64,
}

impl Blocks {
    fn new(record_bytes: u64, bytes_due: u64, crc_due: u64) -> Self {
        Self {
            record_bytes,
            bytes: 0,
            crc: Digest::new(CrcAlgorithm::Crc32Iscsi),
            bytes_due,
            crc_due,
        }
    }
}

impl Wire for Blocks {
    fn receive(&mut self, bytes: &[u8], _out: &mut Vec<u8>) -> Result<usize> {
        self.crc.update(bytes);
        self.bytes += bytes.len() as u64;
        let is_whole = self.bytes_due <= self.bytes;
        let is_as_due = self.bytes == self.bytes_due && self.crc.finalize() == self.crc_due;
        ensure!(
            !is_whole || is_as_due,
            "bare sends other bytes than those due"
        );
        Ok(bytes.len())
    }

    fn records(&self) -> u64 {
        self.bytes / self.record_bytes
    }
}

const PARTITIONS: usize = 16;
const ACK_BYTES: usize = 8;
/// What it has in memory to send.
const SENT: u8 = 0x5a;
/// As in a node (`crates/storage/src/log/space.rs`).
const RESERVED_BYTES_MIN: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    /// The CRC was computed and never looked at: a reader of nothing but zeros was content.
    #[test]
    fn a_reader_refuses_bytes_that_are_not_those_that_were_sent() {
        let sent = [vec![1; 8], vec![2; 8]];
        let due = crc_of_stream(sent.clone().into_iter(), 24);
        let read = |bytes: &[u8]| {
            let mut blocks = Blocks::new(8, 24, due);
            let mut out = Vec::new();
            bytes
                .chunks(5)
                .try_for_each(|some| blocks.receive(some, &mut out).map(drop))
                .map(|()| blocks.records())
        };
        let stream = [&sent[0][..], &sent[1], &sent[0]].concat();
        assert_eq!(read(&stream).unwrap(), 3);
        read(&[0; 24]).unwrap_err();
        read(&[&stream[..], &[1]].concat()).unwrap_err();
    }
}
