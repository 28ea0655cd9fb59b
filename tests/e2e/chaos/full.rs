//! The disk is full, at the start and while serving: writes wait for room, reads go on, nothing
//! that was acknowledged is lost, and when there is room it goes on by itself.
//!
//! What was appended when the space was found missing is unknown to its producer: it stays in
//! memory and goes out when there is room, unless the server ends before. All behind is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::settings::{Change, SettingsChange};
use corelog_protocol::message::{
    alter_topic, create_snapshot, create_topic, delete_snapshot, delete_topic, describe_topic,
    produce, reopen_partition, truncate,
};
use corelog_record::batch::{Batches, Codec, View};
use corelog_record::{Offset, PartitionId, TopicName};

use crate::support::corelog::Corelog;
use crate::support::deadline::until;
use crate::support::folder::Folder;
use crate::support::mount::Mount;
use crate::support::server::{Server, Start};
use crate::support::wire::{Target, Wire, batch};

#[test]
fn a_full_disk_is_said_and_ends_by_itself() {
    let folder = Folder::new();
    let (mount, mut server, mut wire, topic) = on_small_disk(&folder);
    let mut log = Log::default();
    for _ in 0..10 {
        assert_eq!(log.produce(&mut wire, &topic), None);
    }

    let filler = mount.fill();
    log.produce_until_full(&mut wire, &topic);
    log.assert_held(&mut wire, &topic);
    assert_eq!(wire.state(&topic), describe_topic::State::Full);
    assert_no_topic_is_made(&mut wire);
    let args = [
        "produce",
        "full",
        "--compression",
        "none",
        "--timeout",
        "10s",
    ];
    let (_, said, _) = Corelog::to(&server)
        .feed(args, &[b'x'; 4 * RECORD_BYTES])
        .parts();
    assert!(said.contains("StorageFull"), "{said}");
    assert!(
        said.contains("--retention-bytes"),
        "it says what to do: {said}"
    );
    std::fs::remove_file(&filler).unwrap();
    log.produce_again(&mut wire, &topic);
    log.assert_held(&mut wire, &topic);
    assert_eq!(wire.state(&topic), describe_topic::State::Ok);

    // Killed while it is full, it comes back on the full disk, and on with room; also with a directory
    // from before it noted where that is.
    let place = mount.outside("data/place");
    std::fs::remove_file(&place).unwrap();
    let filler = mount.fill();
    log.produce_until_full(&mut wire, &topic);
    drop(wire);
    server.kill();
    server = start(&mount);
    assert!(!place.exists(), "there was no room for it");
    wire = Wire::open(server.ready.listen).unwrap();
    log.assert_held(&mut wire, &topic);
    log.produce_until_full(&mut wire, &topic);
    std::fs::remove_file(&filler).unwrap();
    log.produce_again(&mut wire, &topic);
    log.assert_held(&mut wire, &topic);

    // So does a stop: what was promised is there afterwards.
    let filler = mount.fill();
    drop(wire);
    let ended = server.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    assert!(!ended.log.contains("panicked"), "{}", ended.log);
    std::fs::remove_file(&filler).unwrap();
    server = start(&mount);
    assert!(place.exists());
    wire = Wire::open(server.ready.listen).unwrap();
    log.assert_held(&mut wire, &topic);
    assert_eq!(log.produce(&mut wire, &topic), None);
}

/// Nobody makes room but the topics themselves: one is truncated, the retention of another is
/// lowered. Both find the little room that this takes, and writes go on by themselves.
#[test]
fn truncation_and_retention_make_room_on_a_full_disk() {
    let folder = Folder::new();
    let mount = Mount::small(&folder, 2 * DISK_BYTES);
    println!("on {}", mount.kind);
    let server = start(&mount);
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let (cut, aged) = (
        wire.topic("cut", 1, 1 << 20),
        wire.topic("aged", 1, 1 << 20),
    );
    let (mut in_cut, mut in_aged) = (Log::default(), Log::default());
    for _ in 0..40 {
        assert_eq!(in_cut.produce(&mut wire, &cut), None);
        assert_eq!(in_aged.produce(&mut wire, &aged), None);
    }
    let _filler = mount.fill();
    in_cut.produce_until_full(&mut wire, &cut);
    in_aged.produce_until_full(&mut wire, &aged);
    in_cut.assert_held(&mut wire, &cut);
    // No snapshot can be taken, which is said and leaves nothing behind.
    let request = create_snapshot::Request {
        snapshot: "full".to_owned(),
        topics: Vec::new(),
    };
    if let Err(error) = wire.call(&request, &[]).unwrap() {
        let code = error.known_code();
        assert!(
            matches!(code, Some(ErrorCode::StorageFull | ErrorCode::Busy)),
            "{error:?}"
        );
        assert!(!mount.outside("data/snapshots/full/snapshot").exists());
    } else {
        let request = delete_snapshot::Request {
            snapshot: request.snapshot,
            created: None,
        };
        wire.call(&request, &[]).unwrap().unwrap();
    }

    let request = truncate::Request {
        topic: cut.name.clone(),
        id: cut.id,
        partition: PartitionId::new(0),
        lowest: Offset::ZERO.plus(30),
    };
    until("the topic is truncated", || {
        match wire.call(&request, &[]).unwrap() {
            Ok((answer, _)) => answer.log_start == request.lowest,
            Err(error) => {
                assert!(error.is(ErrorCode::StorageFull), "{error:?}");
                false
            }
        }
    });
    in_cut.produce_again(&mut wire, &cut);
    let request = keep_a_mebibyte(&aged);
    wire.call(&request, &[]).unwrap().unwrap();
    in_aged.produce_again(&mut wire, &aged);
    assert_eq!(wire.state(&aged), describe_topic::State::Ok);
    let ended = server.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
}

/// Not a block is left when the operator does what the runbook says, and again when it was done.
#[test]
fn where_not_a_block_is_left_retention_is_lowered_and_topics_are_deleted() {
    let folder = Folder::new();
    let mount = Mount::small(&folder, 2 * DISK_BYTES);
    println!("on {}", mount.kind);
    let server = start(&mount);
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let (aged, gone) = (
        wire.topic("aged", 1, 1 << 20),
        wire.topic("gone", 1, 1 << 20),
    );
    let (mut in_aged, mut in_gone) = (Log::default(), Log::default());
    for _ in 0..40 {
        assert_eq!(in_aged.produce(&mut wire, &aged), None);
        assert_eq!(in_gone.produce(&mut wire, &gone), None);
    }
    let spare = mount.outside("data/spare");
    until("there is something to spare", || spare.exists());
    mount.fill();
    in_aged.produce_until_full(&mut wire, &aged);
    mount.fill();
    let request = keep_a_mebibyte(&aged);
    wire.call(&request, &[]).unwrap().unwrap();
    in_aged.produce_again(&mut wire, &aged);
    assert_eq!(wire.state(&aged), describe_topic::State::Ok);
    until("there is something to spare again", || spare.exists());

    mount.fill();
    in_gone.produce_until_full(&mut wire, &gone);
    mount.fill();
    let request = delete_topic::Request {
        name: gone.name,
        id: gone.id,
    };
    wire.call(&request, &[]).unwrap().unwrap();
    in_aged.produce_again(&mut wire, &aged);
    let ended = server.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
}

#[test]
fn a_first_start_on_a_full_disk_says_that_it_is_full() {
    let folder = Folder::new();
    let mount = Mount::small(&folder, DISK_BYTES);
    let filler = mount.fill();
    // On a file system that gives the last byte away, the directory finds no block.
    let begin = || Start::on(&mount.inside("data")).through(mount.wrapper());
    let (code, said) = begin().refused();
    println!("{}: {said}", mount.kind);
    assert_eq!(code, Some(1), "{said}");
    let sentence = said.lines().last().unwrap();
    assert!(sentence.starts_with("corelog: "), "{said}");
    assert!(sentence.contains("space"), "{said}");
    assert!(sentence.contains("data"), "names the directory: {said}");
    std::fs::remove_file(&filler).unwrap();
    let server = begin().start();
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let topic = wire.topic("begun", 1, 1 << 20);
    assert_eq!(Log::default().produce(&mut wire, &topic), None);
}

/// Torn bytes are not cut before they are copied, for which there is no room: their partition stays
/// closed, and once stayed so until an operator reopened it.
#[test]
fn a_partition_that_finds_no_room_to_open_opens_by_itself_when_there_is() {
    let folder = Folder::new();
    let (mount, server, mut wire, topic) = on_small_disk(&folder);
    let mut log = Log::default();
    for _ in 0..3 {
        assert_eq!(log.produce(&mut wire, &topic), None);
    }
    drop(wire);
    server.kill();
    tear(&mount.outside("data/topics/full/0/00000000000000000000.log"));
    let filler = mount.fill();
    let server = start(&mount);
    let mut wire = Wire::open(server.ready.listen).unwrap();
    // It was told as damaged, which consumers do not come back from. Now and then it is tried again.
    until("it is full", || {
        wire.state(&topic) == describe_topic::State::Full
    });
    let refused = wire.try_read_all(&topic, 0, Offset::ZERO).unwrap_err();
    let is_full = refused.is(ErrorCode::StorageFull) || refused.is(ErrorCode::Busy);
    assert!(is_full, "{refused}");
    // Whoever reopened it was told that nobody knows what came of that.
    let reopen = reopen_partition::Request {
        topic: topic.name.clone(),
        id: topic.id,
        partition: PartitionId::new(0),
    };
    let mut refused = None;
    until("it is not being opened", || {
        refused = wire.call(&reopen, &[]).unwrap().err();
        refused
            .as_ref()
            .is_none_or(|error| !error.is(ErrorCode::Busy))
    });
    assert!(refused.unwrap().is(ErrorCode::StorageFull));
    std::fs::remove_file(&filler).unwrap();
    until("it is open", || {
        wire.state(&topic) == describe_topic::State::Ok
    });
    log.assert_held(&mut wire, &topic);
    assert_eq!(log.produce(&mut wire, &topic), None);
    assert_eq!(
        std::fs::read_dir(mount.outside("data/quarantine"))
            .unwrap()
            .count(),
        1
    );
}

fn keep_a_mebibyte(topic: &Target) -> alter_topic::Request {
    alter_topic::Request {
        name: topic.name.clone(),
        id: topic.id,
        partitions: None,
        settings: SettingsChange {
            retention_bytes: Change::Set(1 << 20),
            ..SettingsChange::default()
        },
    }
}

/// What a write that was cut off may leave behind the last batch.
fn tear(store: &Path) {
    let mut bytes = std::fs::read(store).unwrap();
    // A batch ends in one zero.
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 2;
    assert!(
        end + TORN_BYTES < bytes.len(),
        "space is prepared behind the last batch"
    );
    bytes[end..end + TORN_BYTES].fill(b'?');
    std::fs::write(store, bytes).unwrap();
}

pub(super) fn start(mount: &Mount) -> Server {
    let start = Start::on(&mount.inside("data"));
    start.through(mount.wrapper()).start()
}

/// A server on a small disk, and a topic of its own.
pub(super) fn on_small_disk(folder: &Folder) -> (Mount, Server, Wire, Target) {
    let mount = Mount::small(folder, DISK_BYTES);
    println!("on {}", mount.kind);
    let server = start(&mount);
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let topic = wire.topic("full", 1, 1 << 20);
    (mount, server, wire, topic)
}

/// What was produced, and what became of it.
#[derive(Default)]
struct Log {
    next: u64,
    acked: BTreeMap<u64, Offset>,
    unknown: BTreeSet<u64>,
}

impl Log {
    /// Produces one more record; gives the code of the error, if it was not acknowledged.
    fn produce(&mut self, wire: &mut Wire, topic: &Target) -> Option<ErrorCode> {
        let number = self.next;
        self.next += 1;
        let batch = batch(Codec::None, [record(number)]);
        // Each is a run of its own, so that none is refused for the one before.
        let request = produce::Request {
            run: u32::try_from(self.next).unwrap(),
            ..topic.produce(0)
        };
        let code = match wire.call(&request, &batch).unwrap() {
            Ok((answer, _)) => {
                self.acked.insert(number, answer.base);
                return None;
            }
            Err(error) => error.known_code().unwrap(),
        };
        match code {
            ErrorCode::OutcomeUnknown => drop(self.unknown.insert(number)),
            ErrorCode::StorageFull => {}
            code => panic!("{code}"),
        }
        Some(code)
    }

    /// Produces into what is prepared, until there is no more.
    fn produce_until_full(&mut self, wire: &mut Wire, topic: &Target) {
        for _ in 0..DISK_BYTES / RECORD_BYTES as u64 {
            if self.produce(wire, topic) == Some(ErrorCode::StorageFull) {
                return;
            }
        }
        panic!("more was taken than there is room for");
    }

    /// Tries until it is taken; nobody tells the server that there is room.
    fn produce_again(&mut self, wire: &mut Wire, topic: &Target) {
        until("there is room again", || {
            self.produce(wire, topic).is_none()
        });
    }

    /// What was acknowledged is there once, what was refused is not, what is unknown at most once;
    /// all in the order of the sends.
    fn assert_held(&self, wire: &mut Wire, topic: &Target) {
        let bytes = wire.read_all(topic, 0, Offset::ZERO);
        let (mut next, mut last, mut found) = (Offset::ZERO, None, BTreeMap::new());
        for bytes in Batches::over(&bytes) {
            let batch = View::verify(bytes.unwrap()).unwrap();
            assert_eq!(batch.base_offset(), next, "offsets are dense");
            let value = batch.records().unwrap().next().unwrap().unwrap().value;
            let number = u64::from_le_bytes(value.unwrap()[..8].try_into().unwrap());
            assert!(value == Some(&record(number)), "{number} was altered");
            assert!(Some(number) > last, "{number} comes after {last:?}");
            last = Some(number);
            if !self.unknown.contains(&number) {
                found.insert(number, next);
            }
            next = batch.next_offset();
        }
        assert_eq!(found, self.acked);
    }
}

/// A record that nobody else has.
fn record(number: u64) -> Vec<u8> {
    let mut value = vec![b'x'; RECORD_BYTES];
    value[..8].copy_from_slice(&number.to_le_bytes());
    value
}

/// A topic that cannot be made is refused with the reason, and leaves nothing behind. For the first ones
/// there may be room among what the file system keeps for itself.
fn assert_no_topic_is_made(wire: &mut Wire) {
    let mut numbers = 0..;
    until("there is no room for one more", || {
        let name = format!("no-room-{}", numbers.next().unwrap());
        let request = create_topic::Request {
            name: TopicName::new(&name).unwrap(),
            partitions: 16,
            settings: Default::default(),
            if_not_exists: false,
        };
        let Err(error) = wire.call(&request, &[]).unwrap() else {
            return false;
        };
        assert!(error.is(ErrorCode::StorageFull), "{error:?}");
        let request = describe_topic::Request { name: request.name };
        let error = wire.call(&request, &[]).unwrap().map(drop).unwrap_err();
        assert!(error.is(ErrorCode::UnknownTopic), "{error:?}");
        true
    });
}

pub(super) const RECORD_BYTES: usize = 100_000;
const TORN_BYTES: usize = 64 << 10;
const DISK_BYTES: u64 = 24 << 20;
