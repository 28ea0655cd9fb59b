//! SIGKILL while segments are rolled and expire and snapshots are taken and deleted, round after
//! round on the same data directory.
//!
//! The record at offset `o` is always the same, so that whatever is read anywhere, in the topic or
//! in a topic restored from a snapshot, can be told right from wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use corelog_protocol::error::{ErrorBody, ErrorCode};
use corelog_protocol::message::restore_status::{self, State};
use corelog_protocol::message::{
    create_snapshot, create_topic, delete_snapshot, delete_topic, describe_topic, list_snapshots,
    restore_topic, snapshot,
};
use corelog_record::batch::{Batches, Codec, View};
use corelog_record::{Offset, TopicName};

use crate::support::chance;
use crate::support::deadline::until;
use crate::support::folder::Folder;
use crate::support::server::{Server, Start};
use crate::support::wire::{Target, Wire, batch};

const PARTITIONS: u32 = 3;
const RECORD_BYTES: usize = 20_000;
/// Three segments of each partition stay, the others expire.
const RETENTION_BYTES: u64 = 3 << 20;
/// Snapshots beyond these are deleted.
const SNAPSHOTS_KEPT: usize = 4;
/// A snapshot is restored and read in every round of this number.
const RESTORE_EVERY: usize = 5;

/// What was acknowledged is there, or expired; a snapshot that was acknowledged is there, whole, and
/// one that was deleted is not; every snapshot that is there can be restored and holds what it says.
/// `CORELOG_CRASH_KEPT_ROUNDS` sets the number of rounds; up to as many follow until everything has happened once.
#[test]
fn snapshots_and_retention_outlive_every_kill() {
    let mut random = chance::random("kept");
    let rounds = chance::number("CORELOG_CRASH_KEPT_ROUNDS", 50);
    let folder = Folder::new();
    let mut server = start(folder.path());
    let mut books = Books::new(&mut Wire::open(server.ready.listen).unwrap());
    let mut lived = 0;
    for round in 0..2 * rounds {
        if rounds <= round && books.has_all() {
            break;
        }
        // On a disk that takes longer for a snapshot than the first rounds last, there are more and longer ones.
        let longest = if round < rounds { 400_000 } else { 4_000_000 };
        books.live(&server, round, random.u64(20_000..longest));
        lived += 1;
        let ended = server.kill();
        assert!(!ended.log.contains("panicked"), "{}", ended.log);
        server = start(folder.path());
        let mut wire = Wire::open(server.ready.listen).unwrap();
        books.settle(&mut wire);
        if round % RESTORE_EVERY == 0 {
            books.restore_one(&mut wire, &mut random);
        }
    }
    println!(
        "{lived} rounds, {} snapshots acknowledged, {} restored, {} records promised, {} expired",
        books.taken,
        books.restored,
        books.promised(),
        books.expired()
    );
    assert!(books.taken > 0, "no snapshot was ever taken");
    assert!(books.restored > 0, "no snapshot was ever restored");
    assert!(books.expired() > 0, "nothing ever expired");
    let ended = server.stop();
    assert!(ended.status.success(), "{}", ended.log);
}

/// What is known of the topic and its snapshots.
struct Books {
    topic: Target,
    /// All below was acknowledged, by partition.
    acked: Vec<u64>,
    starts: Vec<u64>,
    /// Snapshots that were acknowledged, with what they told, and those whose fate is unknown.
    there: BTreeMap<String, snapshot::Snapshot>,
    perhaps: BTreeSet<String>,
    taken: usize,
    restored: usize,
}

impl Books {
    fn new(wire: &mut Wire) -> Self {
        let mut request = create_topic::Request {
            name: TopicName::new("kept").unwrap(),
            partitions: PARTITIONS,
            settings: Default::default(),
            if_not_exists: false,
        };
        request.settings.segment_bytes = 1 << 20;
        request.settings.retention_bytes = Some(RETENTION_BYTES);
        let (answer, _) = wire.call(&request, &[]).unwrap().unwrap();
        Self {
            topic: Target {
                name: request.name,
                id: answer.id,
            },
            acked: vec![0; PARTITIONS as usize],
            starts: vec![0; PARTITIONS as usize],
            there: BTreeMap::new(),
            perhaps: BTreeSet::new(),
            taken: 0,
            restored: 0,
        }
    }

    /// If everything happened once that may.
    fn has_all(&self) -> bool {
        self.taken > 0 && self.restored > 0 && self.expired() > 0
    }

    fn promised(&self) -> u64 {
        self.acked.iter().sum()
    }

    fn expired(&self) -> u64 {
        self.starts.iter().sum()
    }

    /// Producers and a keeper of snapshots at work, for some microseconds.
    fn live(&mut self, server: &Server, round: usize, microseconds: u64) {
        let address = server.ready.listen;
        let end = Instant::now() + Duration::from_micros(microseconds);
        thread::scope(|scope| {
            let producers: Vec<_> = (0..)
                .zip(&self.acked)
                .map(|(partition, acked)| {
                    let (topic, acked) = (&self.topic, *acked);
                    scope.spawn(move || produce(address, topic, partition, acked, end))
                })
                .collect();
            let keeper = Keeper {
                topic: &self.topic,
                there: &mut self.there,
                perhaps: &mut self.perhaps,
                taken: &mut self.taken,
            };
            let keeper = scope.spawn(move || keeper.keep(address, round, end));
            // The kill comes while they are at work: what they still wait for they never get.
            while Instant::now() < end {
                thread::park_timeout(end.saturating_duration_since(Instant::now()));
            }
            server.signal(nix::sys::signal::Signal::SIGKILL);
            for (acked, producer) in self.acked.iter_mut().zip(producers) {
                *acked = producer.join().unwrap();
            }
            keeper.join().unwrap();
        });
    }

    /// Holds the books against the server that came back.
    fn settle(&mut self, wire: &mut Wire) {
        let topic = self.describe(wire);
        assert_eq!(topic.partitions.len(), PARTITIONS as usize);
        for (number, partition) in (0..).zip(&topic.partitions) {
            let at = number as usize;
            assert_eq!(partition.state, describe_topic::State::Ok, "{partition:?}");
            let (start, end) = (partition.log_start, partition.log_end.get());
            assert!(self.starts[at] <= start.get(), "log start moved back");
            assert!(self.acked[at] <= end, "acknowledged and gone");
            let (start, found) = self.check_all(wire, number, start);
            assert_eq!(found, end);
            (self.starts[at], self.acked[at]) = (start.get(), end);
        }
        let listed = list(wire);
        for name in self.there.keys() {
            assert!(
                listed.contains_key(name),
                "{name} was acknowledged: {listed:?}"
            );
        }
        for (name, found) in listed {
            let is_unknown = self.perhaps.contains(&name);
            assert!(
                self.there.contains_key(&name) || is_unknown,
                "{name} was deleted"
            );
            if is_unknown {
                // What was told of it was lost; what it says of itself counts.
                self.there.insert(name, found);
            }
        }
        self.perhaps.clear();
    }

    /// Checks every record of a partition; gives where it begins and ends. What is expected to be there
    /// may expire meanwhile, then it is what is behind that.
    fn check_all(&self, wire: &mut Wire, partition: u32, start: Offset) -> (Offset, u64) {
        let mut start = start;
        loop {
            let error = match try_check(wire, &self.topic, partition, start) {
                Ok(end) => return (start, end),
                Err(error) => error,
            };
            assert!(error.is(ErrorCode::OutOfRange), "{error:?}");
            let later = self.describe(wire).partitions[partition as usize].log_start;
            assert!(start < later, "{start} is there: {error:?}");
            start = later;
        }
    }

    fn describe(&self, wire: &mut Wire) -> describe_topic::Answer {
        let request = describe_topic::Request {
            name: self.topic.name.clone(),
        };
        wire.call(&request, &[]).unwrap().unwrap().0
    }

    /// Restores one of the snapshots and reads all of it.
    fn restore_one(&mut self, wire: &mut Wire, random: &mut fastrand::Rng) {
        let names: Vec<_> = self.there.keys().cloned().collect();
        if names.is_empty() {
            return;
        }
        let name = &names[random.usize(..names.len())];
        let request = restore_topic::Request {
            source: name.clone(),
            source_topic: None,
            topic: TopicName::new("again").unwrap(),
            with_damage: false,
        };
        let (begun, _) = wire.call(&request, &[]).unwrap().unwrap();
        let request = restore_status::Request {
            restore: begun.restore,
        };
        let mut status = None;
        until("the topic is restored", || {
            let (answer, _) = wire.call(&request, &[]).unwrap().unwrap();
            let is_over = answer.state != State::Running;
            status = Some(answer);
            is_over
        });
        let status = status.unwrap();
        assert_eq!(status.failure, None, "{name}");
        let again = Target {
            name: status.topic,
            id: status.id.unwrap(),
        };
        let told = &self.there[name].topics[0];
        assert_eq!(told.partition_count, PARTITIONS);
        assert_eq!(status.partitions.len(), PARTITIONS as usize);
        for (number, restored) in (0..).zip(&status.partitions) {
            assert_eq!(restored.id.get(), number);
            let end = check(wire, &again, number, restored.log_start);
            assert_eq!(end, restored.log_end.get());
            if let Some(told) = told.partitions.get(number as usize) {
                assert_eq!((told.log_start, told.end.get()), (restored.log_start, end));
            }
        }
        self.restored += 1;
        let request = delete_topic::Request {
            name: again.name,
            id: again.id,
        };
        wire.call(&request, &[]).unwrap().unwrap();
    }
}

/// Takes snapshots and deletes old ones until the server is gone.
struct Keeper<'a> {
    topic: &'a Target,
    there: &'a mut BTreeMap<String, snapshot::Snapshot>,
    perhaps: &'a mut BTreeSet<String>,
    taken: &'a mut usize,
}

impl Keeper<'_> {
    fn keep(mut self, address: SocketAddr, round: usize, end: Instant) {
        // The server ends while this runs, and with it the connection.
        let Ok(kept) = self.try_to_keep(address, round, end) else {
            return;
        };
        if let Err(refused) = kept {
            let may_be = [ErrorCode::Busy, ErrorCode::Stopping];
            assert!(may_be.iter().any(|code| refused.is(*code)), "{refused:?}");
        }
    }

    fn try_to_keep(
        &mut self,
        address: SocketAddr,
        round: usize,
        end: Instant,
    ) -> io::Result<Result<(), Box<ErrorBody>>> {
        let mut wire = Wire::open(address)?;
        for turn in 0.. {
            if end <= Instant::now() {
                break;
            }
            let name = format!("r{round:04}-{turn:04}");
            let request = create_snapshot::Request {
                snapshot: name.clone(),
                topics: vec![self.topic.name.clone()],
            };
            self.perhaps.insert(name.clone());
            let answer = match wire.call(&request, &[])? {
                Ok((answer, _)) => answer,
                Err(refused) => return Ok(Err(refused)),
            };
            self.perhaps.remove(&name);
            self.there.insert(name, answer.taken);
            *self.taken += 1;
            while self.there.len() > SNAPSHOTS_KEPT
                && let Some((oldest, _)) = self.there.pop_first()
            {
                self.perhaps.insert(oldest.clone());
                let request = delete_snapshot::Request {
                    snapshot: oldest.clone(),
                    created: None,
                };
                if let Err(refused) = wire.call(&request, &[])? {
                    return Ok(Err(refused));
                }
                self.perhaps.remove(&oldest);
            }
        }
        Ok(Ok(()))
    }
}

/// Produces from `acked` on until the server is gone or time is up; gives what is acknowledged.
fn produce(address: SocketAddr, topic: &Target, partition: u32, acked: u64, end: Instant) -> u64 {
    let mut acked = acked;
    let mut produce = || -> io::Result<()> {
        let mut wire = Wire::open(address)?;
        const WINDOW: u64 = 8;
        let mut sent = acked;
        while acked < sent || Instant::now() < end {
            while sent < acked + WINDOW {
                let batch = batch(Codec::None, [value(partition, sent)]);
                wire.send(&topic.produce(partition), &batch)?;
                sent += 1;
            }
            let answer = wire
                .receive()?
                .read::<corelog_protocol::message::produce::Request>();
            match answer {
                Ok((answer, _)) => {
                    assert_eq!(answer.base.get(), acked, "offsets are dense");
                    acked = answer.end.get();
                }
                Err(error) => {
                    assert!(error.is(ErrorCode::Busy), "{error:?}");
                    return Ok(());
                }
            }
        }
        Ok(())
    };
    // The server ends while this runs.
    let _ = produce();
    acked
}

/// Checks every record of a partition from an offset on; gives where it ends.
pub(crate) fn check(wire: &mut Wire, topic: &Target, partition: u32, from: Offset) -> u64 {
    try_check(wire, topic, partition, from).unwrap()
}

/// The same, or the server's error.
fn try_check(
    wire: &mut Wire,
    topic: &Target,
    partition: u32,
    from: Offset,
) -> Result<u64, Box<ErrorBody>> {
    let mut next = from.get();
    for bytes in Batches::over(&wire.try_read_all(topic, partition, from)?) {
        let batch = View::verify(bytes.unwrap()).unwrap();
        assert_eq!(batch.base_offset().get(), next, "offsets are dense");
        let record = batch.records().unwrap().next().unwrap().unwrap();
        let expected = value(partition, next);
        assert!(
            record.value == Some(&expected[..]),
            "offset {next} was altered"
        );
        next += 1;
    }
    Ok(next)
}

pub(crate) fn value(partition: u32, offset: u64) -> Vec<u8> {
    let seed = offset * u64::from(PARTITIONS) + u64::from(partition);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut value = vec![0; RECORD_BYTES];
    random.fill(&mut value);
    value
}

fn list(wire: &mut Wire) -> BTreeMap<String, snapshot::Snapshot> {
    let (answer, _) = wire
        .call(&list_snapshots::Request::default(), &[])
        .unwrap()
        .unwrap();
    assert_eq!((answer.unreadable, answer.next), (Vec::new(), None));
    let snapshots = answer.snapshots.into_iter();
    snapshots.map(|one| (one.name.clone(), one)).collect()
}

fn start(data_dir: &Path) -> Server {
    Start::on(data_dir).cores(2).start()
}
