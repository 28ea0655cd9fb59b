//! One value of each format, and any value of each, for the tests.

use std::collections::BTreeMap;

use corelog_record::{
    Chain, CopyId, HistoryId, LeaderEpoch, Lineage, NodeId, Offset, Ordinal, PartitionId, Position,
    Timestamp, TopicId, TopicName,
};
use proptest::prelude::*;

use crate::format::edit::{
    Add, Digest, Edit, End, Epoch, Generation, Kind, Point, SEALS_MAX, Scrubbed, Seal, Seals,
    Settings, Start,
};
use crate::format::index;
use crate::format::manifest::Header;
use crate::format::mark::Slot;
use crate::format::node::Node;
use crate::format::replica::{Peer, Replica, Role};
use crate::format::snapshot::{self, Name, Summary};
use crate::format::topic::{self, Ack, Topic};
use crate::testing::own::offset;

pub(super) fn ordinal(value: u64) -> Ordinal {
    Ordinal::new(value).unwrap()
}

/// A place whose ordinal and chain follow from its offset.
pub(super) fn point(at: u64) -> Point {
    Point {
        offset: offset(at),
        ordinal: ordinal(at / 10),
        chain: Chain::from_raw(at ^ 0xabcd),
    }
}

pub(super) fn seal(from: u64, to: u64) -> Seal {
    let (start, end) = (point(from), point(to));
    let digest = Digest {
        kind: Kind::Original,
        base: start.offset,
        end: end.offset,
        ordinal: start.ordinal,
        end_ordinal: end.ordinal,
        bytes: 100 * (to - from),
        batches: end.ordinal.since(start.ordinal),
        chain: start.chain,
        end_chain: end.chain,
        hash: None,
    };
    Seal {
        digest,
        max_timestamp: Timestamp::from_millis(1_700_000_000_000),
        sealed: Timestamp::from_millis(1_700_000_001_000),
    }
}

pub(super) fn seals() -> Edit {
    let seals = vec![seal(100, 200), seal(200, 300)];
    Edit::Seals(Seals { seals })
}

pub(super) fn epoch(number: i32, at: u64) -> Epoch {
    Epoch {
        epoch: LeaderEpoch::new(number).unwrap(),
        lineage: Lineage::from_bytes([number.to_le_bytes()[0]; 16]),
        offset: offset(at),
        ordinal: ordinal(at / 10),
    }
}

pub(super) fn header() -> Header {
    Header {
        topic: TopicId::from_bytes([0x11; 16]),
        partition: PartitionId::new(7),
        history: HistoryId::from_bytes([0x22; 16]),
        copy: CopyId::from_bytes([0x33; 16]),
    }
}

pub(super) fn edits() -> Vec<Edit> {
    let changes = BTreeMap::from([
        ("origin".to_owned(), Some("127.0.0.1:7400".to_owned())),
        ("other".to_owned(), None),
    ]);
    vec![
        Edit::Restart(point(100)),
        Edit::Epoch(epoch(0, 100)),
        Edit::Add(point(100).into()),
        Edit::Add(point(200).into()),
        Edit::Seal(seal(100, 200)),
        Edit::Generation(Generation {
            base: offset(100),
            generation: 1,
        }),
        Edit::Truncate(Start { start: offset(150) }),
        Edit::Epoch(epoch(1, 300)),
        Edit::TruncateSuffix(End {
            offset: offset(310),
            ordinal: ordinal(31),
            chain: Chain::from_raw(5),
            generation: Some(1),
            epoch: LeaderEpoch::new(1),
        }),
        Edit::Expire(Start { start: offset(200) }),
        Edit::Settings(Settings { changes }),
        Edit::Scrubbed(Scrubbed {
            time: Timestamp::from_millis(1_700_000_002_000),
        }),
    ]
}

pub(super) fn slot() -> Slot {
    Slot {
        history: HistoryId::from_bytes([0x22; 16]),
        copy: CopyId::from_bytes([0x33; 16]),
        sequence: 9,
        segment: offset(1000),
        generation: 2,
        is_clean: true,
        position: Position::new(65_536).unwrap(),
        offset: offset(1234),
        ordinal: ordinal(56),
        chain: Chain::from_raw(0x0123_4567_89ab_cdef),
        max_timestamp: Timestamp::from_millis(1_700_000_000_000),
        epoch: LeaderEpoch::new(3),
        born: Some(Timestamp::from_millis(1_699_999_990_000)),
    }
}

pub(super) fn index_header() -> index::Header {
    index::Header {
        history: HistoryId::from_bytes([0x22; 16]),
        base: offset(1000),
        ordinal: ordinal(50),
        chain: Chain::from_raw(0x0123_4567_89ab_cdef),
    }
}

pub(super) fn row() -> index::Row {
    index::Row {
        relative_offset: 17,
        position: 4100,
        max_timestamp: Timestamp::from_millis(1_700_000_000_000),
        relative_ordinal: 3,
        chain: Chain::from_raw(0xfedc_ba98_7654_3210),
    }
}

pub(super) fn topic() -> Topic {
    Topic {
        id: TopicId::from_bytes([0x11; 16]),
        name: TopicName::new("orders.eu").unwrap(),
        partitions: 8,
        created: Timestamp::from_millis(1_700_000_000_000),
        settings: topic::Settings {
            ack: Ack::Accepted,
            retention_age_ms: Some(604_800_000),
            ..topic::Settings::default()
        },
        replicas: Vec::new(),
    }
}

/// One replica of each kind.
pub(super) fn replicas() -> Vec<Replica> {
    let followed = Peer {
        node: NodeId::from_bytes([0x44; 16]),
        copy: CopyId::from_bytes([0x55; 16]),
        address: "10.0.0.2:7400".to_owned(),
    };
    let owner = Replica::owner(PartitionId::new(0));
    let sources = vec!["10.0.0.1:7400".to_owned()];
    vec![
        Replica {
            followers: vec![followed],
            ..owner.clone()
        },
        Replica {
            partition: PartitionId::new(1),
            role: Role::Follower,
            sources: sources.clone(),
            until: Some(offset(100)),
            rate: Some(1 << 20),
            segments: vec![offset(0), offset(50)],
            ..owner.clone()
        },
        Replica {
            partition: PartitionId::new(2),
            role: Role::HandingOver,
            sources: sources.clone(),
            ..owner.clone()
        },
        Replica {
            partition: PartitionId::new(3),
            role: Role::Fenced,
            sources,
            ..owner
        },
    ]
}

/// An owner that was promoted and has yet to tell whom it followed, and one that another node took the place of.
pub(super) fn outranking() -> Vec<Replica> {
    let addresses = vec!["10.0.0.1:7400".to_owned()];
    vec![
        Replica {
            outranked: addresses.clone(),
            ..Replica::owner(PartitionId::new(0))
        },
        Replica {
            role: Role::Fenced,
            sources: addresses,
            target: Some(NodeId::from_bytes([0x44; 16])),
            ..Replica::owner(PartitionId::new(1))
        },
    ]
}

pub(super) fn node() -> Node {
    Node {
        id: NodeId::from_bytes([0x44; 16]),
        created: Timestamp::from_millis(1_700_000_000_000),
    }
}

prop_compose! {
    pub(super) fn any_point()(at in 0..=Offset::MAX.get(), batches in 0..=Ordinal::MAX.get(), chain: u64)
        -> Point {
        Point { offset: offset(at), ordinal: ordinal(batches.min(at)), chain: Chain::from_raw(chain) }
    }
}

prop_compose! {
    fn any_seal()(
        start in any_point(),
        end in any_point(),
        bytes: u64,
        batches: u64,
        times: (i64, i64),
        hash: Option<[u8; 16]>,
    ) -> Seal {
        let digest = Digest {
            kind: Kind::Original,
            base: start.offset,
            end: end.offset,
            ordinal: start.ordinal,
            end_ordinal: end.ordinal,
            bytes,
            batches,
            chain: start.chain,
            end_chain: end.chain,
            hash: hash.map(serde_bytes::ByteArray::new),
        };
        Seal {
            digest,
            max_timestamp: Timestamp::from_millis(times.0),
            sealed: Timestamp::from_millis(times.1),
        }
    }
}

pub(super) fn any_edit() -> impl Strategy<Value = Edit> {
    let start = || {
        any_point().prop_map(|point| Start {
            start: point.offset,
        })
    };
    let changes = prop::collection::btree_map(".{0,20}", prop::option::of(".{0,40}"), 0..5);
    let number = prop::option::of((0..=i32::MAX).prop_map(|n| LeaderEpoch::new(n).unwrap()));
    prop_oneof![
        any_point().prop_map(|point| Edit::Add(Add::from(point))),
        any_seal().prop_map(Edit::Seal),
        prop::collection::vec(any_seal(), 1..=SEALS_MAX)
            .prop_map(|seals| Edit::Seals(Seals { seals })),
        (any_point(), any::<u32>()).prop_map(|(point, generation)| {
            Edit::Generation(Generation {
                base: point.offset,
                generation,
            })
        }),
        start().prop_map(Edit::Expire),
        start().prop_map(Edit::Truncate),
        (any_point(), any::<Option<u32>>(), number).prop_map(|(point, generation, epoch)| {
            let Point {
                offset,
                ordinal,
                chain,
            } = point;
            Edit::TruncateSuffix(End {
                offset,
                ordinal,
                chain,
                generation,
                epoch,
            })
        }),
        any_point().prop_map(Edit::Restart),
        (any_point(), 0..=i32::MAX, any::<[u8; 16]>()).prop_map(|(point, epoch, lineage)| {
            Edit::Epoch(Epoch {
                epoch: LeaderEpoch::new(epoch).unwrap(),
                lineage: Lineage::from_bytes(lineage),
                offset: point.offset,
                ordinal: point.ordinal,
            })
        }),
        changes.prop_map(|changes| Edit::Settings(Settings { changes })),
        any::<i64>().prop_map(|millis| {
            let time = Timestamp::from_millis(millis);
            Edit::Scrubbed(Scrubbed { time })
        }),
    ]
}

pub(super) fn snapshot() -> Summary {
    let partition = |number, end| snapshot::Partition {
        partition: PartitionId::new(number),
        log_start: Offset::new(end / 2).unwrap(),
        end: Offset::new(end).unwrap(),
        chain: None,
        bytes: end * 100,
        segments: u64::from(number) + 1,
    };
    Summary {
        name: Name::new("nightly").unwrap(),
        created: Timestamp::from_millis(1_700_000_000_000),
        topics: vec![snapshot::Topic {
            name: TopicName::new("orders").unwrap(),
            id: topic().id,
            settings: b"opaque".to_vec(),
            partitions: vec![partition(0, 1_000), partition(1, 0)],
        }],
    }
}
