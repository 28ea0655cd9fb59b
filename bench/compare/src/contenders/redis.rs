//! Redis Streams: a stream is a partition, an entry with one field a record.
//!
//! A batch is so many `XADD` in one pipeline; where an acknowledgement waits for the disk they stand in
//! `MULTI`/`EXEC`, since Redis syncs once per turn of its loop and a turn takes no more than 16 KiB of a
//! pipeline, but a transaction whole. Reading is `XRANGE` from behind the last id.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::contender::{Consume, Contender, Figures, Level, Produce, Promise};
use crate::load::{self, Connection, Wire};
use crate::payload::{self, Batches, Check};
use crate::process::{Process, free_port};
use crate::sending::Requests;
use crate::workload::{Kind, Workload};

#[derive(Default)]
pub struct Redis {
    port: u16,
    process: Option<Process>,
}

impl Contender for Redis {
    fn name(&self) -> &'static str {
        "Redis Streams"
    }

    fn version(&self) -> Result<String> {
        let out = Command::new("redis-server").arg("--version").output();
        let out = out.context("redis-server is not installed")?;
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let version = text.split("v=").nth(1).and_then(|v| v.split(' ').next());
        Ok(version.context("no version")?.to_owned())
    }

    fn promise(&self, level: Level) -> Promise {
        Ok(match level {
            Level::Accepted => "written to the append-only file, synced each second",
            Level::Durable => "in the append-only file and synced",
        })
    }

    fn settings(&self, level: Level) -> String {
        format!(
            "appendonly yes, appendfsync {}, save \"\", no rewrites",
            fsync(level)
        )
    }

    fn start(&mut self, folder: &Path, load: &Produce) -> Result<()> {
        self.port = free_port()?;
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]);
        command.args([
            "--appendfsync",
            fsync(load.level),
            "--auto-aof-rewrite-percentage",
            "0",
        ]);
        command
            .args(["--port", &self.port.to_string()])
            .arg("--dir")
            .arg(folder);
        let mut process = Process::start(&command, &folder.join("log"))?;
        let port = self.port;
        process.wait_until(|| {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
            stream.write_all(b"PING\r\n").ok()?;
            let mut answer = [0; 5];
            std::io::Read::read_exact(&mut stream, &mut answer).ok()?;
            (&answer == b"+PONG").then_some(())
        })?;
        self.process = Some(process);
        Ok(())
    }

    fn create(&mut self, _topic: &str, _partitions: u32) -> Result<()> {
        Ok(()) // The first entry makes a stream.
    }

    fn produce(&mut self, topic: &str, load: &Produce) -> Result<Figures> {
        let batches = Batches::new(load.record_bytes, load.batch_records);
        let is_transaction = load.level == Level::Durable && load.batch_records > 1;
        let requests = (0..load.partitions).map(|partition| {
            let key = format!("{topic}-{partition}");
            Requests::new(batches.iter().map(|records| {
                let adds = records.iter().flat_map(|record| add(&key, record));
                match is_transaction {
                    true => [&b"MULTI\r\n"[..], &adds.collect::<Vec<_>>(), b"EXEC\r\n"].concat(),
                    false => adds.collect(),
                }
            }))
        });
        let requests = requests.collect::<Result<Vec<_>>>()?;
        let connections = (0..load.clients).map(|client| {
            let requests = requests[(client % load.partitions) as usize].clone();
            Ok((self.connect(Acks::default())?, requests))
        });
        load::produce(connections.collect::<Result<_>>()?, load)
    }

    fn fill(&mut self, topic: &str, load: &Produce) -> Result<Figures> {
        let record = payload::record(load.record_bytes);
        let key = |partition| format!("{topic}-{partition}");
        let adds = (0..load.partitions).flat_map(|partition| add(&key(partition), &record));
        let requests = Requests::new([adds.collect()])?;
        let connections = vec![(self.connect(Acks::default())?, requests)];
        load::produce(connections, &load.as_one_batch())
    }

    fn consume(&mut self, topic: &str, load: &Consume) -> Result<Figures> {
        let connections = (0..load.produced.partitions).map(|partition| {
            let entries = Entries {
                key: format!("{topic}-{partition}"),
                count: (READ_BYTES / load.produced.record_bytes).clamp(1, 10_000),
                left: 0,
                strings: 0,
                last: Vec::new(),
                check: Check::new(load.produced.record_bytes, load.produced.batch_records),
            };
            let first = entries.request(b"-");
            Ok((self.connect(entries)?, first))
        });
        load::consume(connections.collect::<Result<_>>()?, load)
    }

    fn cannot(&self, workload: &Workload) -> Option<String> {
        (workload.kind == Kind::ConsumeCold).then(|| "keeps all of its data in memory".into())
    }

    fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }

    fn stop(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), Process::stop)
    }
}

impl Redis {
    fn connect(&self, wire: impl Wire + 'static) -> Result<Connection> {
        Ok(Connection {
            stream: TcpStream::connect(("127.0.0.1", self.port))?,
            wire: Box::new(wire),
        })
    }
}

fn fsync(level: Level) -> &'static str {
    match level {
        Level::Accepted => "everysec",
        Level::Durable => "always",
    }
}

fn add(key: &str, record: &[u8]) -> Vec<u8> {
    command(&[b"XADD", key.as_bytes(), b"*", b"v", record])
}

fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        out.extend(format!("${}\r\n", word.len()).into_bytes());
        out.extend(*word);
        out.extend(b"\r\n");
    }
    out
}

/// What a server says, cut into its smallest parts.
enum Part<'a> {
    Line,
    Array(usize),
    Bulk(&'a [u8]),
}

/// The next part and its length; `None` if it has not arrived whole.
fn part(bytes: &[u8]) -> Result<Option<(Part<'_>, usize)>> {
    let Some(end) = bytes
        .iter()
        .take(LINE_BYTES_MAX)
        .position(|&byte| byte == b'\n')
    else {
        return Ok(None);
    };
    let line = &bytes[1..end.saturating_sub(1).max(1)];
    let number = || -> Result<usize> { Ok(std::str::from_utf8(line)?.parse()?) };
    let start = end + 1;
    Ok(match bytes[0] {
        b'+' | b':' => Some((Part::Line, start)),
        b'*' => Some((Part::Array(number()?), start)),
        b'$' => {
            let length = number()?;
            let bulk = bytes.get(start..start + length);
            let is_whole = start + length + 2 <= bytes.len();
            let bulk = bulk.filter(|_| is_whole);
            bulk.map(|bulk| (Part::Bulk(bulk), start + length + 2))
        }
        _ => bail!("redis says {:?}", String::from_utf8_lossy(line)),
    })
}

/// Each entry's id is its acknowledgement, be it alone or in an array.
#[derive(Default)]
struct Acks {
    records: u64,
}

impl Wire for Acks {
    fn receive(&mut self, bytes: &[u8], _out: &mut Vec<u8>) -> Result<usize> {
        let mut used = 0;
        while let Some((part, length)) = next(bytes, used)? {
            self.records += u64::from(matches!(part, Part::Bulk(_)));
            used += length;
        }
        Ok(used)
    }

    fn records(&self) -> u64 {
        self.records
    }
}

/// Entries of a stream: each an id, a field's name and a record.
struct Entries {
    key: String,
    count: usize,
    /// Entries to come in this answer, and strings of the present one that came.
    left: usize,
    strings: u8,
    last: Vec<u8>,
    check: Check,
}

impl Entries {
    fn request(&self, start: &[u8]) -> Vec<u8> {
        let count = self.count.to_string();
        let key = self.key.as_bytes();
        command(&[b"XRANGE", key, start, b"+", b"COUNT", count.as_bytes()])
    }
}

impl Wire for Entries {
    fn receive(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize> {
        let mut used = 0;
        while let Some((part, length)) = next(bytes, used)? {
            used += length;
            match part {
                Part::Array(entries) if self.left == 0 => self.left = entries,
                Part::Array(_) | Part::Line => {}
                Part::Bulk(id) if self.strings == 0 => {
                    self.last.clear();
                    self.last.push(b'(');
                    self.last.extend(id);
                    self.strings = 1;
                }
                Part::Bulk(_) if self.strings == 1 => self.strings = 2,
                Part::Bulk(record) => {
                    self.check.take(record)?;
                    self.strings = 0;
                    self.left -= 1;
                    if self.left == 0 {
                        out.extend(self.request(&self.last));
                    }
                }
            }
        }
        Ok(used)
    }

    fn records(&self) -> u64 {
        self.check.records
    }
}

fn next(bytes: &[u8], used: usize) -> Result<Option<(Part<'_>, usize)>> {
    match bytes.get(used..) {
        Some(rest) if !rest.is_empty() => part(rest),
        _ => Ok(None),
    }
}

const LINE_BYTES_MAX: usize = 1024;
/// What an answer to `XRANGE` holds at most.
const READ_BYTES: usize = 1 << 20;
