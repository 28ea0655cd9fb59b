//! Inputs to begin with: what a log that works has on its disk.

use corelog_record::{Chain, NodeId, Offset, PartitionId, Position, Timestamp, TopicId, TopicName};

use super::{decoders, recovery};
use crate::format::carry::Carry;
use crate::format::manifest::{EDITS_AT, Header};
use crate::format::node::Node;
use crate::format::quarantine::{Name, Reason};
use crate::format::replica::{Replica, Role};
use crate::format::snapshot::{self, Summary};
use crate::format::topic::{Settings, Topic};
use crate::testing::batch;

pub(super) fn batches() -> Vec<Vec<u8>> {
    let (one, three) = (one(), three());
    let both = [one.as_slice(), &three].concat();
    [one, three, both].into_iter().flat_map(both_ways).collect()
}

pub(super) fn indexes() -> Vec<Vec<u8>> {
    let [killed, _] = recovery::images();
    both_ways(killed.file(".index")).to_vec()
}

pub(super) fn manifests() -> Vec<Vec<u8>> {
    let images = recovery::images().iter();
    let edits = images.map(|image| image.file("manifest").get(EDITS_AT..).unwrap_or_default());
    // Without the space that is still free.
    let used = edits.map(|edits| edits.len() - edits.iter().rev().take_while(|b| **b == 0).count());
    let images = recovery::images().iter().zip(used);
    let edits = images.map(|(image, used)| {
        let end = EDITS_AT + used.next_multiple_of(16);
        image
            .file("manifest")
            .get(EDITS_AT..end)
            .unwrap_or_default()
            .to_vec()
    });
    edits.flat_map(both_ways).collect()
}

pub(super) fn marks() -> Vec<Vec<u8>> {
    let images = recovery::images().iter();
    let slots = images.flat_map(|image| image.file("mark").chunks(4096));
    let sectors = slots.filter_map(|slot| slot.get(..512)).map(<[u8]>::to_vec);
    sectors.flat_map(both_ways).collect()
}

pub(super) fn files() -> Vec<Vec<u8>> {
    let time = Timestamp::from_millis(1_700_000_000_000);
    let mut files = Vec::new();
    let names = ("events".parse::<TopicName>(), "daily".parse());
    if let (Ok(name), Ok(snapshot)) = names {
        let topic = Topic {
            id: TopicId::from_bytes([7; 16]),
            name,
            partitions: 3,
            created: time,
            settings: Settings::default(),
            replicas: vec![Replica {
                role: Role::Follower,
                sources: vec!["127.0.0.1:7400".to_owned()],
                ..Replica::owner(PartitionId::new(1))
            }],
        };
        let topic_file = topic.encode().unwrap_or_default();
        let summary = Summary {
            name: snapshot,
            created: time,
            topics: vec![snapshot::Topic {
                name: topic.name.clone(),
                id: topic.id,
                settings: topic_file.clone(),
                partitions: vec![snapshot::Partition {
                    partition: PartitionId::new(2),
                    log_start: Offset::ZERO,
                    end: Offset::ZERO.plus(9),
                    chain: Some(Chain::from_raw(9)),
                    bytes: 300,
                    segments: 1,
                }],
            }],
        };
        files.push((1, topic_file));
        files.extend(summary.encode().map(|bytes| (1, bytes)));
    }
    let node = Node {
        id: NodeId::from_bytes([4; 16]),
        created: time,
    };
    files.push((1, node.encode()));
    let carry = Carry {
        log_start: Offset::ZERO,
        batch: one(),
    };
    files.push((3, carry.encode()));
    let header = Header::encode(&decoders::header());
    files.push((0, header.get(..512).unwrap_or_default().to_vec()));
    let inputs = files.into_iter();
    inputs
        .flat_map(|(how, bytes)| [input(0, &bytes), input(how, &bytes)])
        .collect()
}

pub(super) fn names() -> Vec<Vec<u8>> {
    let name = Name {
        time: Timestamp::from_millis(1_763_628_300_123),
        reason: Reason::Torn,
        topic: TopicId::from_bytes([7; 16]),
        partition: PartitionId::new(7),
        position: Position::ZERO.plus(4096),
        file: "00000000000000000000.log".to_owned(),
    };
    let store = "00000000000000001234.2.log".to_owned();
    let index = "00000000000000001234.index".to_owned();
    [name.to_string(), store, index]
        .map(String::into_bytes)
        .to_vec()
}

pub(super) fn stores() -> Vec<Vec<u8>> {
    let [killed, clean] = recovery::images();
    let stores = [killed.file(".log"), clean.file(".log")];
    let short = batches();
    let ways = [0, 1, 3, 5, 7, 11];
    let inputs = stores
        .into_iter()
        .flat_map(|store| ways.map(|how| input(how, store)));
    inputs.chain(short).collect()
}

pub(super) fn recoveries() -> Vec<Vec<u8>> {
    let mut inputs = vec![vec![0], vec![1]];
    for which in 0..2 {
        for (what, file) in (0..10).zip(0..) {
            inputs.push(vec![which, what, file, 1, 20]);
            inputs.push(vec![which, what, file, 0, 20, 9 - what, file + 1, 2, 30]);
        }
    }
    inputs
}

fn one() -> Vec<u8> {
    batch(&[b"a value"], Timestamp::from_millis(1_700_000_000_000))
}

fn three() -> Vec<u8> {
    batch(&[b"one", b"", &[7; 200]], Timestamp::from_millis(12))
}

/// As it is, and to be repaired.
fn both_ways(bytes: impl AsRef<[u8]>) -> [Vec<u8>; 2] {
    [input(0, bytes.as_ref()), input(1, bytes.as_ref())]
}

fn input(how: u8, bytes: &[u8]) -> Vec<u8> {
    let mut input = vec![how];
    input.extend_from_slice(bytes);
    input
}
