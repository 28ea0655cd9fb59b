//! RabbitMQ streams by their own binary protocol: a stream is a partition, a message a record.
//!
//! A batch is as many `Publish` frames as its messages need; a message is an AMQP 1.0 data section. Reading
//! grants the server ten chunks ahead and one more for each that came, and checks the CRC-32 of each.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::stream_protocol as protocol;
use crate::contender::{Consume, Contender, Figures, Level, Produce, Promise};
use crate::load::{self, Connection};
use crate::payload::{self, Batches, Check};
use crate::process::{Process, free_port};
use crate::sending::Requests;

#[derive(Default)]
pub struct RabbitMq {
    port: u16,
    server: Option<Process>,
    /// The port mapper, which would outlive the server if that started it.
    mapper: Option<Process>,
}

impl Contender for RabbitMq {
    fn name(&self) -> &'static str {
        "RabbitMQ streams"
    }

    fn version(&self) -> Result<String> {
        let folders =
            fs::read_dir(format!("{LIBRARY}/lib")).context("rabbitmq-server is not installed")?;
        let names = folders.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut versions = names.filter_map(|name| {
            let version = name.strip_prefix("rabbitmq_server-")?;
            Some(version.to_owned())
        });
        versions.next().context("rabbitmq-server is not installed")
    }

    fn promise(&self, level: Level) -> Promise {
        match level {
            Level::Accepted => Ok("written to the page cache, never synced"),
            Level::Durable => Err("streams acknowledge without a sync".into()),
        }
    }

    fn settings(&self, _level: Level) -> String {
        "plugin rabbitmq_stream, no other listeners".into()
    }

    fn config_files(&self) -> &'static [&'static str] {
        &[CONFIG, PLUGINS]
    }

    fn start(&mut self, folder: &Path, _load: &Produce) -> Result<()> {
        self.port = free_port()?;
        let mapper_port = free_port()?.to_string();
        let config = format!(
            "listeners.tcp = none\nstream.listeners.tcp.1 = 127.0.0.1:{}\n",
            self.port
        );
        fs::write(folder.join(CONFIG), config)?;
        fs::write(folder.join(PLUGINS), "[rabbitmq_stream].\n")?;
        let mut mapper = Command::new("epmd");
        mapper.args(["-port", &mapper_port, "-address", "127.0.0.1"]);
        self.mapper = Some(Process::start(&mapper, &folder.join("epmd.log"))?);
        let mut command = Command::new(format!("{LIBRARY}/bin/rabbitmq-server"));
        command
            .env("HOME", folder)
            .env("RABBITMQ_NODENAME", "bench@localhost")
            .env("RABBITMQ_CONFIG_FILE", folder.join(CONFIG))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join(PLUGINS))
            .env("RABBITMQ_MNESIA_BASE", folder.join("data"))
            .env("RABBITMQ_LOG_BASE", folder.join("logs"))
            .env("RABBITMQ_PID_FILE", folder.join("pid"))
            .env("RABBITMQ_DIST_PORT", free_port()?.to_string())
            .env("ERL_EPMD_PORT", mapper_port)
            .env("ERL_EPMD_ADDRESS", "127.0.0.1");
        let mut server = Process::start(&command, &folder.join("log"))?;
        server.wait_until(|| self.greet().ok())?;
        self.server = Some(server);
        Ok(())
    }

    fn create(&mut self, topic: &str, partitions: u32) -> Result<()> {
        let mut stream = self.greet()?;
        for partition in 0..partitions {
            protocol::create(&mut stream, &format!("{topic}-{partition}"))?;
        }
        Ok(())
    }

    fn produce(&mut self, topic: &str, load: &Produce) -> Result<Figures> {
        let requests = (0..load.partitions).map(|partition| {
            let batches = Batches::new(load, topic, partition);
            Requests::new(batches.iter().map(|records| protocol::publish(0, &records)))
        });
        let requests: Vec<_> = requests.collect();
        let connections = (0..load.clients).map(|client| {
            let mut stream = self.greet()?;
            let partition = client % load.partitions;
            protocol::declare_publisher(&mut stream, 0, &format!("{topic}-{partition}"))?;
            let wire = Box::new(protocol::Confirms::default());
            Ok((
                Connection { stream, wire },
                requests[partition as usize].clone(),
            ))
        });
        load::produce(connections.collect::<Result<_>>()?, load)
    }

    fn fill(&mut self, topic: &str, load: &Produce) -> Result<Figures> {
        let record = payload::record(load.record_bytes);
        let numbers: Vec<u32> = (0..load.partitions).collect();
        let mut connections = Vec::new();
        let mut each = *load;
        each.batch_records = numbers.len().min(PUBLISHERS_MAX);
        for numbers in numbers.chunks(each.batch_records) {
            let mut stream = self.greet()?;
            let mut request = Vec::new();
            for (publisher, number) in (0..=u8::MAX).zip(numbers) {
                protocol::declare_publisher(&mut stream, publisher, &format!("{topic}-{number}"))?;
                request.extend(protocol::publish(publisher, &[&record]));
            }
            let wire = Box::new(protocol::Confirms::default());
            connections.push((Connection { stream, wire }, Requests::new([request])));
        }
        each.batches = connections.len() as u64;
        load::produce(connections, &each)
    }

    fn asked(&self) -> &'static str {
        "10 chunks, of whatever size the server made them"
    }

    fn consume(&mut self, topic: &str, load: &Consume) -> Result<Figures> {
        let connections = (0..load.produced.partitions).map(|partition| {
            let name = format!("{topic}-{partition}");
            self.wait_for(&name)?;
            let stream = self.greet()?;
            let check = Check::new(&load.produced, topic, partition);
            let wire = Box::new(protocol::Chunks::new(check));
            let first = protocol::subscribe(&name);
            Ok((Connection { stream, wire }, first))
        });
        load::consume(connections.collect::<Result<_>>()?, load)
    }

    fn process(&self) -> Option<&Process> {
        self.server.as_ref()
    }

    fn stop(&mut self) -> Result<()> {
        let stopped = self.server.take().map_or(Ok(()), Process::stop);
        self.mapper = None;
        stopped
    }
}

impl RabbitMq {
    /// After a start, streams become available one after the other.
    fn wait_for(&self, name: &str) -> Result<()> {
        let started = Instant::now();
        loop {
            match protocol::declare_publisher(&mut self.greet()?, 0, name) {
                Err(_) if started.elapsed() < START_MAX => thread::sleep(Duration::from_millis(20)),
                declared => return declared,
            }
        }
    }

    fn greet(&self) -> Result<TcpStream> {
        let mut stream = load::connect(("127.0.0.1", self.port))?;
        protocol::greet(&mut stream)?;
        Ok(stream)
    }
}

const CONFIG: &str = "rabbitmq.conf";
const PLUGINS: &str = "plugins";
const START_MAX: Duration = Duration::from_secs(30);
const LIBRARY: &str = "/usr/lib/rabbitmq";
/// A publisher's number is a byte; a divisor of a thousand, so that all connections have as many.
const PUBLISHERS_MAX: usize = 250;
