//! NATS JetStream: a stream in files, with one subject, is a partition; a message is a record.
//!
//! Each message is published with a subject for its acknowledgement, a batch as so many in one pipeline.
//! Reading is a pull consumer without acknowledgements that asks for the next messages while those that it
//! asked for last are still on their way.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
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

#[derive(Default)]
pub struct Nats {
    port: u16,
    process: Option<Process>,
}

impl Contender for Nats {
    fn name(&self) -> &'static str {
        "NATS JetStream"
    }

    fn version(&self) -> Result<String> {
        let out = Command::new("nats-server").arg("--version").output();
        let out = out.context("nats-server is not installed")?;
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let version = text.split_whitespace().last().context("no version")?;
        Ok(version.trim_start_matches('v').to_owned())
    }

    fn promise(&self, level: Level) -> Promise {
        match level {
            Level::Accepted => Ok("written to the page cache, synced every two minutes"),
            Level::Durable if self.has_sync_always() => Ok("written and synced"),
            Level::Durable => {
                let version = self.version().map_err(|error| error.to_string())?;
                Err(format!(
                    "{version} cannot sync before it acknowledges (since 2.10: `sync_interval: always`)"
                ))
            }
        }
    }

    fn settings(&self, level: Level) -> String {
        settings(level).replace('\n', ", ")
    }

    fn config_files(&self) -> &'static [&'static str] {
        &[CONFIG]
    }

    fn start(&mut self, folder: &Path, load: &Produce) -> Result<()> {
        self.port = free_port()?;
        let config = folder.join(CONFIG);
        let text = format!(
            "listen: 127.0.0.1:{}\nping_interval: \"10m\"\njetstream {{\nstore_dir: \"{}\"\n{}\n}}\n",
            self.port,
            folder.display(),
            settings(load.level)
        );
        fs::write(&config, text)?;
        let mut command = Command::new("nats-server");
        command.arg("--config").arg(&config);
        let mut process = Process::start(&command, &folder.join("log"))?;
        process.wait_until(|| self.greet(ASKED).ok())?;
        self.process = Some(process);
        Ok(())
    }

    fn create(&mut self, topic: &str, partitions: u32) -> Result<()> {
        let mut stream = self.greet(ASKED)?;
        for partition in 0..partitions {
            let name = format!("{topic}-{partition}");
            let config = format!(
                r#"{{"name":"{name}","subjects":["{name}"],"retention":"limits","storage":"file","discard":"old","num_replicas":1,"max_consumers":-1,"max_msgs":-1,"max_bytes":-1,"max_age":0,"max_msg_size":-1}}"#
            );
            ask(
                &mut stream,
                &format!("$JS.API.STREAM.CREATE.{name}"),
                &config,
            )?;
        }
        Ok(())
    }

    fn produce(&mut self, topic: &str, load: &Produce) -> Result<Figures> {
        let connections = (0..load.clients).map(|client| {
            let partition = client % load.partitions;
            let batches = Batches::new(load, topic, partition);
            let subject = format!("{topic}-{partition}");
            let inbox = format!("inbox.{client}");
            let requests = Requests::new(batches.iter().map(|records| {
                let each = records.iter();
                each.flat_map(|record| publish(&subject, &inbox, record))
                    .collect()
            }));
            Ok((self.connect(&inbox, Acks::default())?, requests))
        });
        load::produce(connections.collect::<Result<_>>()?, load)
    }

    fn fill(&mut self, topic: &str, load: &Produce) -> Result<Figures> {
        let record = payload::record(load.record_bytes);
        let all = (0..load.partitions)
            .flat_map(|partition| publish(&format!("{topic}-{partition}"), "inbox.fill", &record));
        let requests = Requests::new([all.collect()]);
        let connections = vec![(self.connect("inbox.fill", Acks::default())?, requests)];
        load::produce(connections, &load.as_one_batch())
    }

    fn asked(&self) -> &'static str {
        "messages of 2 MiB, and as many ahead"
    }

    fn consume(&mut self, topic: &str, load: &Consume) -> Result<Figures> {
        let connections = (0..load.produced.partitions).map(|partition| {
            let stream = format!("{topic}-{partition}");
            let config = format!(
                r#"{{"stream_name":"{stream}","config":{{"name":"reader","deliver_policy":"all","ack_policy":"none","replay_policy":"instant","inactive_threshold":60000000000}}}}"#
            );
            let subject = format!("$JS.API.CONSUMER.CREATE.{stream}.reader");
            ask(&mut self.greet(ASKED)?, &subject, &config)?;
            let inbox = format!("inbox.{partition}");
            let count = (FETCH_BYTES / load.produced.record_bytes).max(1) as u64;
            let messages = Messages {
                request: pull(&stream, &inbox, count),
                count,
                check: Check::new(&load.produced, topic, partition),
            };
            let first = messages.request.repeat(FETCHES);
            Ok((self.connect(&inbox, messages)?, first))
        });
        load::consume(connections.collect::<Result<_>>()?, load)
    }

    fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }

    fn stop(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), Process::stop)
    }
}

impl Nats {
    fn has_sync_always(&self) -> bool {
        let version = self.version().unwrap_or_default();
        let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
        (numbers.next(), numbers.next()) >= (Some(2), Some(10))
    }

    /// A connection that the server has accepted, subscribed to what is answered to it.
    fn greet(&self, inbox: &str) -> Result<TcpStream> {
        let mut stream = load::connect(("127.0.0.1", self.port))?;
        let connect =
            r#"CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true}"#;
        stream.write_all(format!("{connect}\r\nSUB {inbox} 1\r\nPING\r\n").as_bytes())?;
        receive_until(&mut stream, "PONG\r\n")?;
        Ok(stream)
    }

    fn connect(&self, inbox: &str, wire: impl Wire + 'static) -> Result<Connection> {
        Ok(Connection {
            stream: self.greet(inbox)?,
            wire: Box::new(wire),
        })
    }
}

/// Settings beside the address and the folder.
fn settings(level: Level) -> &'static str {
    match level {
        Level::Accepted => "max_file_store: 64GB",
        Level::Durable => "max_file_store: 64GB\nsync_interval: always",
    }
}

/// Sends one request of the server's own interface, and waits for its answer.
fn ask(stream: &mut TcpStream, subject: &str, body: &str) -> Result<()> {
    let bytes = body.len();
    stream.write_all(format!("PUB {subject} {ASKED} {bytes}\r\n{body}\r\n").as_bytes())?;
    let answer = receive_until(stream, "}\r\n")?;
    ensure!(
        !answer.contains("\"error\""),
        "nats answers {answer} to {body}"
    );
    Ok(())
}

fn receive_until(stream: &mut TcpStream, end: &str) -> Result<String> {
    let mut received = Vec::new();
    let mut some = [0; 4096];
    while !received.ends_with(end.as_bytes()) {
        let bytes = stream.read(&mut some)?;
        ensure!(bytes > 0, "nats closed the connection");
        received.extend(&some[..bytes]);
    }
    Ok(String::from_utf8(received)?)
}

fn publish(subject: &str, inbox: &str, record: &[u8]) -> Vec<u8> {
    let mut out = format!("PUB {subject} {inbox} {}\r\n", record.len()).into_bytes();
    out.extend(record);
    out.extend(b"\r\n");
    out
}

/// Asks for the next `count` messages.
fn pull(stream: &str, inbox: &str, count: u64) -> Vec<u8> {
    let body = format!(r#"{{"batch":{count},"expires":60000000000}}"#);
    let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.reader");
    publish(&subject, inbox, body.as_bytes())
}

/// The body of a message, `None` for any other line; and the length of all of it.
type Said<'a> = (Option<&'a [u8]>, usize);

/// What is said next; `None` if it has not arrived whole.
fn message(bytes: &[u8]) -> Result<Option<Said<'_>>> {
    let Some(end) = bytes
        .iter()
        .take(LINE_BYTES_MAX)
        .position(|&byte| byte == b'\n')
    else {
        return Ok(None);
    };
    let line = std::str::from_utf8(&bytes[..end])?.trim_end();
    if line.starts_with("MSG ") {
        let length: usize = line.rsplit(' ').next().unwrap_or("").parse()?;
        let body = bytes.get(end + 1..end + 1 + length);
        let length = end + 1 + length + 2;
        return Ok(body
            .filter(|_| length <= bytes.len())
            .map(|body| (Some(body), length)));
    }
    match line.split(' ').next() {
        Some("PING" | "PONG" | "+OK" | "INFO") => Ok(Some((None, end + 1))),
        _ => bail!("nats says {line}"),
    }
}

/// A message for each message.
#[derive(Default)]
struct Acks {
    records: u64,
}

impl Wire for Acks {
    fn receive(&mut self, bytes: &[u8], _out: &mut Vec<u8>) -> Result<usize> {
        let mut used = 0;
        while let Some((body, length)) = message(&bytes[used..])? {
            used += length;
            let Some(body) = body else { continue };
            // {"stream":"…","seq":…} or {"error":…}
            ensure!(
                body.starts_with(b"{\"stream\""),
                "nats answers {}",
                String::from_utf8_lossy(body)
            );
            self.records += 1;
        }
        Ok(used)
    }

    fn records(&self) -> u64 {
        self.records
    }
}

/// Messages of a stream.
struct Messages {
    request: Vec<u8>,
    count: u64,
    check: Check,
}

impl Wire for Messages {
    fn receive(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize> {
        let mut used = 0;
        while let Some((body, length)) = message(&bytes[used..])? {
            used += length;
            let Some(body) = body else { continue };
            self.check.take(body)?;
            if self.check.records.is_multiple_of(self.count) {
                out.extend(&self.request);
            }
        }
        Ok(used)
    }

    fn records(&self) -> u64 {
        self.check.records
    }
}

const CONFIG: &str = "nats.conf";
const ASKED: &str = "inbox.asked";
const LINE_BYTES_MAX: usize = 4096;
