//! A server process behind a proxy, at an address that stays while the server comes and goes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use corelog_protocol::error::{ErrorBody, ErrorCode};
use corelog_protocol::message::list_offsets::At;
use corelog_protocol::message::settings::{SettingsChange, TopicSettings};
use corelog_protocol::message::{Call, alter_topic, clone_topic, create_topic, truncate};
use corelog_record::batch::Codec;
use corelog_record::{Offset, PartitionId, TopicName};
use corelog_storage::format::topic as file;

use crate::support::corelog::Corelog;
use crate::support::deadline::until;
use crate::support::folder::Folder;
use crate::support::proxy::{Odds, Proxy};
use crate::support::server::{Ended, Server, Start};
use crate::support::wire::{Target, Wire, batch};

/// A node that other nodes reach through its proxy, and the test directly.
pub(crate) struct Node {
    dir: PathBuf,
    wrapper: Vec<String>,
    cores: u16,
    pub(crate) proxy: Proxy,
    server: Option<Server>,
}

/// What a process has open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) sockets: usize,
    /// Files that have no name any more.
    pub(crate) unnamed: usize,
}

impl Node {
    /// A node of one core on a fresh directory of this name.
    pub(crate) fn start(folder: &Folder, name: &str) -> Self {
        Self::on(folder.path().join(name), Vec::new(), 1)
    }

    /// A node on a directory as those see it who are run through `wrapper`.
    pub(crate) fn on(dir: PathBuf, wrapper: Vec<String>, cores: u16) -> Self {
        let proxy = Proxy::listen(1 + cores, Odds::default(), fastrand::Rng::new());
        let mut node = Self {
            dir,
            wrapper,
            cores,
            proxy,
            server: None,
        };
        node.up();
        node
    }

    /// Starts the server, which is down.
    pub(crate) fn up(&mut self) {
        self.up_out_of_reach();
        self.connect();
    }

    /// The same of one that other nodes do not reach.
    pub(crate) fn up_out_of_reach(&mut self) {
        assert!(self.server.is_none(), "it is up");
        let start = Start::on(&self.dir).cores(self.cores);
        let start = start.through(self.wrapper.clone()).arg("--advertise");
        self.server = Some(start.arg(self.address()).start());
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        let ended = self.taken().kill();
        assert_calm(&ended);
    }

    /// An ordered stop.
    pub(crate) fn stop(&mut self) {
        self.log_at_stop();
    }

    /// What it had logged when it was stopped in order.
    pub(crate) fn log_at_stop(&mut self) -> String {
        let ended = self.taken().stop();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
        assert_calm(&ended);
        ended.log
    }

    /// The server, which is about to end. No way leads to its ports from now on: soon they may be another one's, with a topic of
    /// the same name.
    fn taken(&mut self) -> Server {
        self.proxy.lead_to(Vec::new());
        self.server.take().unwrap()
    }

    /// Other nodes do not reach it.
    pub(crate) fn disconnect(&self) {
        self.proxy.lead_nowhere();
    }

    /// Other nodes reach it again.
    pub(crate) fn connect(&self) {
        let ready = &self.server().ready;
        self.proxy.lead_to(ready.doors());
    }

    /// Where other nodes and clients reach it.
    pub(crate) fn address(&self) -> String {
        self.proxy.address.to_string()
    }

    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    pub(crate) fn corelog(&self) -> Corelog {
        Corelog::to(self.server())
    }

    pub(crate) fn wire(&self) -> Wire {
        Wire::open(self.server().ready.listen).unwrap()
    }

    /// Asks over a connection of its own.
    pub(crate) fn ask<R: Call>(&self, request: &R) -> Result<R::Answer, Box<ErrorBody>> {
        let answer = self.wire().call(request, &[]).unwrap();
        answer.map(|(head, _)| head)
    }

    /// A topic with the smallest segments.
    pub(crate) fn topic(&self, name: &str, partitions: u32) -> Target {
        let request = create_topic::Request {
            name: TopicName::new(name).unwrap(),
            partitions,
            settings: TopicSettings {
                segment_bytes: 1 << 20,
                ..TopicSettings::default()
            },
            if_not_exists: false,
        };
        let id = self.ask(&request).unwrap().id;
        Target {
            name: request.name,
            id,
        }
    }

    /// Produces `batches` batches of two records of about 16 KiB; gives the high watermark.
    pub(crate) fn fill(&self, topic: &Target, partition: u32, batches: usize) -> Offset {
        self.wait_until_served(topic, partition);
        let mut wire = self.wire();
        let mut random = fastrand::Rng::new();
        let sent = (0..batches).map(|_| {
            let value = |_| {
                let mut value = vec![0; 1 + random.usize(..32 << 10)];
                random.fill(&mut value);
                value
            };
            let bytes = batch(Codec::None, (0..2).map(value));
            (wire.send(&topic.produce(partition), &bytes).unwrap(), bytes)
        });
        let mut end = Offset::ZERO;
        let mut sent = sent.collect::<BTreeMap<_, _>>();
        while !sent.is_empty() {
            let reply = wire.receive().unwrap();
            let bytes = sent.remove(&reply.correlation).unwrap();
            match reply.read::<corelog_protocol::message::produce::Request>() {
                Ok((answer, _)) => end = end.max(answer.end),
                // Behind a standstill, too, an owner asks its followers first.
                Err(error) => {
                    assert!(error.is(ErrorCode::Busy), "{error:?}");
                    self.wait_until_served(topic, partition);
                    let again = wire.send(&topic.produce(partition), &bytes).unwrap();
                    sent.insert(again, bytes);
                }
            }
        }
        end
    }

    /// Behind a start an owner asks its followers first.
    pub(crate) fn wait_until_served(&self, topic: &Target, partition: u32) {
        let mut wire = self.wire();
        let latest = topic.list_offsets(partition, At::Latest);
        until("the partition is served", || {
            let told = wire.call(&latest, &[]).unwrap();
            !told.is_err_and(|error| error.is(ErrorCode::Busy))
        });
    }

    /// Produces `batches` batches and waits for no answer; they come on the connection, if at all.
    pub(crate) fn pour(&self, topic: &Target, partition: u32, batches: usize) -> Wire {
        let mut wire = self.wire();
        let value = vec![b'.'; 20 << 10];
        let bytes = batch(Codec::None, [&value, &value]);
        for _ in 0..batches {
            wire.send(&topic.produce(partition), &bytes).unwrap();
        }
        wire
    }

    /// Makes all partitions of a topic copies of those at `sources`, and follows them.
    pub(crate) fn follow(&self, topic: &Target, sources: &[&Self]) -> clone_topic::Answer {
        self.ask(&cloning(topic, sources)).unwrap()
    }

    /// Changes a topic's settings, and how many partitions it has if that is given.
    pub(crate) fn alter(
        &self,
        topic: &Target,
        partitions: Option<u32>,
        settings: SettingsChange,
    ) -> alter_topic::Answer {
        self.ask(&altering(topic, partitions, settings)).unwrap()
    }

    /// Lets go of what lies below an offset.
    pub(crate) fn truncate(&self, topic: &Target, lowest: Offset) {
        let request = truncate::Request {
            topic: topic.name.clone(),
            id: topic.id,
            partition: PartitionId::new(0),
            lowest,
        };
        until("it is truncated", || match self.ask(&request) {
            Ok(answer) => answer.log_start == lowest,
            Err(error) => {
                assert!(error.is(ErrorCode::Busy), "{error:?}");
                false
            }
        });
    }

    /// The directory of a topic.
    pub(crate) fn topic_dir(&self, topic: &Target) -> PathBuf {
        self.dir.join("topics").join(topic.name.as_str())
    }

    /// A topic's file as it is now.
    pub(crate) fn topic_file(&self, topic: &Target) -> file::Topic {
        let bytes = std::fs::read(self.topic_dir(topic).join("topic")).unwrap();
        file::Topic::decode(&bytes).unwrap()
    }

    /// What the server's process has open.
    pub(crate) fn open(&self) -> Open {
        let dir = format!("/proc/{}/fd", self.server().pid());
        let links = std::fs::read_dir(dir).unwrap().flatten();
        let targets = links.filter_map(|link| std::fs::read_link(link.path()).ok());
        let targets: Vec<_> = targets
            .map(|path| path.to_string_lossy().into_owned())
            .collect();
        let count = |is: fn(&&String) -> bool| targets.iter().filter(is).count();
        Open {
            sockets: count(|path| path.starts_with("socket:")),
            unnamed: count(|path| path.starts_with('/') && path.contains(".log (deleted)")),
        }
    }

    /// The bytes of all stores in the node's quarantine, by file name.
    pub(crate) fn quarantine(&self) -> BTreeMap<String, Vec<u8>> {
        let Ok(files) = std::fs::read_dir(self.dir.join("quarantine")) else {
            return BTreeMap::new();
        };
        let read = |file: std::fs::DirEntry| {
            let name = file.file_name().to_string_lossy().into_owned();
            (name, std::fs::read(file.path()).unwrap())
        };
        files.flatten().map(read).collect()
    }
}

/// What is asked of a node that is to follow.
pub(crate) fn cloning(topic: &Target, sources: &[&Node]) -> clone_topic::Request {
    clone_topic::Request {
        topic: topic.name.clone(),
        partition: None,
        from: sources.iter().map(|source| source.address()).collect(),
        segments: Vec::new(),
        follow: true,
        rate_bytes: None,
    }
}

/// What is asked of a node whose topic is to change.
pub(crate) fn altering(
    topic: &Target,
    partitions: Option<u32>,
    settings: SettingsChange,
) -> alter_topic::Request {
    alter_topic::Request {
        name: topic.name.clone(),
        id: topic.id,
        partitions,
        settings,
    }
}

fn assert_calm(ended: &Ended) {
    assert!(!ended.log.contains("panicked"), "{}", ended.log);
}
