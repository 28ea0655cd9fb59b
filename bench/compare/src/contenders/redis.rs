//! Redis Streams: a stream is a partition, an entry with one field a record.
//!
//! A batch is so many `XADD` in one pipeline; where an acknowledgement waits for the disk they stand in
//! `MULTI`/`EXEC`, since Redis syncs once per turn of its loop and a turn takes no more than 16 KiB of a
//! pipeline, but a transaction whole. Reading is `XREADGROUP` of a group without acknowledgements: the server knows
//! where it is, so that more can be asked for before the last id has come, as by `XRANGE` it cannot.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::contender::{
    Consume, Contender, FETCH_BYTES, FETCHES, Figures, Level, Produce, Promise,
};
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
            Level::Accepted => {
                "in its memory or the append-only file: written within 2 s, synced each second"
            }
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
        process.wait_until(|| self.ping().ok())?;
        self.process = Some(process);
        Ok(())
    }

    fn create(&mut self, _topic: &str, _partitions: u32) -> Result<()> {
        Ok(()) // The first entry makes a stream.
    }

    fn produce(&mut self, topic: &str, load: &Produce) -> Result<Figures> {
        let is_transaction = load.level == Level::Durable && load.batch_records > 1;
        let requests = (0..load.partitions).map(|partition| {
            let key = format!("{topic}-{partition}");
            let batches = Batches::new(load, topic, partition);
            Requests::new(batches.iter().map(|records| {
                let adds = records.iter().flat_map(|record| add(&key, record));
                match is_transaction {
                    true => [&b"MULTI\r\n"[..], &adds.collect::<Vec<_>>(), b"EXEC\r\n"].concat(),
                    false => adds.collect(),
                }
            }))
        });
        let requests: Vec<_> = requests.collect();
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
        let requests = Requests::new([adds.collect()]);
        let connections = vec![(self.connect(Acks::default())?, requests)];
        load::produce(connections, &load.as_one_batch())
    }

    fn asked(&self) -> &'static str {
        "entries of 2 MiB, and as many ahead"
    }

    fn consume(&mut self, topic: &str, load: &Consume) -> Result<Figures> {
        let connections = (0..load.produced.partitions).map(|partition| {
            let key = format!("{topic}-{partition}");
            let check = Check::new(&load.produced, topic, partition);
            let entries = Entries::new(&key, load.produced.record_bytes, check);
            let group = command(&[b"XGROUP", b"CREATE", key.as_bytes(), GROUP, b"0"]);
            let first = [group, entries.request.repeat(FETCHES)].concat();
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
    /// Asks whether it serves.
    pub fn ping(&self) -> Result<()> {
        let mut stream = load::connect(("127.0.0.1", self.port))?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer)?;
        ensure!(&answer == b"+PONG", "redis loads what it has");
        Ok(())
    }

    fn connect(&self, wire: impl Wire + 'static) -> Result<Connection> {
        Ok(Connection {
            stream: load::connect(("127.0.0.1", self.port))?,
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
        // Nothing, be it an array or a string.
        _ if line == b"-1" => Some((Part::Line, start)),
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
    request: Vec<u8>,
    /// Parts that came of what is before the entries of this answer, and entries to come.
    head: u8,
    left: usize,
    /// Parts that came of the present entry.
    parts: u8,
    check: Check,
}

impl Entries {
    fn new(key: &str, record_bytes: usize, check: Check) -> Self {
        let count = (FETCH_BYTES / record_bytes).max(1).to_string();
        let group: [&[u8]; 4] = [b"XREADGROUP", b"GROUP", GROUP, b"one"];
        let what: [&[u8]; 6] = [
            b"COUNT",
            count.as_bytes(),
            b"NOACK",
            b"STREAMS",
            key.as_bytes(),
            b">",
        ];
        Self {
            request: command(&[&group[..], &what].concat()),
            head: 0,
            left: 0,
            parts: 0,
            check,
        }
    }

    /// Takes what comes next; true if an answer is whole.
    fn take(&mut self, part: &Part<'_>) -> Result<bool> {
        if self.left == 0 {
            // An array of one stream, which is an array of its key and of entries.
            self.head = match part {
                Part::Line => 0,
                _ => self.head + 1,
            };
            if let (HEAD_PARTS, Part::Array(entries)) = (self.head, part) {
                (self.head, self.left) = (0, *entries);
            }
            return Ok(false);
        }
        self.parts += 1;
        // An array of its id and of fields, which is an array of a name and a value.
        let (ENTRY_PARTS, Part::Bulk(record)) = (self.parts, part) else {
            return Ok(false);
        };
        self.check.take(record)?;
        self.parts = 0;
        self.left -= 1;
        Ok(self.left == 0)
    }
}

impl Wire for Entries {
    fn receive(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize> {
        let mut used = 0;
        while let Some((part, length)) = next(bytes, used)? {
            used += length;
            if self.take(&part)? {
                out.extend(&self.request);
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
/// Who reads.
const GROUP: &[u8] = b"readers";
const HEAD_PARTS: u8 = 4;
const ENTRY_PARTS: u8 = 5;

#[cfg(test)]
impl Redis {
    /// One that is there already.
    pub fn at(port: u16) -> Self {
        Self {
            port,
            process: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The next entries were asked for when the last one of those before had come, and meanwhile nothing was under way.
    #[test]
    fn for_each_answer_that_came_whole_more_is_asked_for_while_another_is_on_its_way() {
        let load = Produce {
            record_bytes: 8,
            ..crate::workload::row("consume-1k-1").load
        };
        let batches = Batches::new(&load, "bench", 0);
        let mut records = batches.iter().flatten();
        let mut entry = || {
            let head = "*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nv\r\n$8\r\n";
            [head.as_bytes(), records.next().unwrap(), b"\r\n"].concat()
        };
        let mut answer = || {
            let head = b"*1\r\n*2\r\n$7\r\nbench-0\r\n*2\r\n";
            [&head[..], &entry(), &entry()].concat()
        };
        let mut entries = Entries::new("bench-0", 8, Check::new(&load, "bench", 0));
        let mut out = Vec::new();
        // The group is made, and the first of two answers has come, but for its last byte.
        let arrived = [b"+OK\r\n".to_vec(), answer()].concat();
        let used = entries
            .receive(&arrived[..arrived.len() - 1], &mut out)
            .unwrap();
        assert_eq!((entries.records(), out.len()), (1, 0));
        entries.receive(&arrived[used..], &mut out).unwrap();
        assert_eq!((entries.records(), &out), (2, &entries.request));
        out.clear();
        entries.receive(&answer(), &mut out).unwrap();
        assert_eq!((entries.records(), &out), (4, &entries.request));
        out.clear();
        entries.receive(b"*-1\r\n", &mut out).unwrap();
        assert_eq!((entries.records(), out.len()), (4, 0));
    }
}
