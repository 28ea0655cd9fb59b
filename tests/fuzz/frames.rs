//! Good frames of every kind, to be bent.

use std::collections::BTreeSet;

use corelog_protocol::frame::PREFIX_BYTES;
use corelog_protocol::kind::Kind;
use corelog_protocol::message::{
    Call, alter_topic, authenticate, chain_at, clone_topic, copy_segments, create_snapshot,
    create_topic, delete_snapshot, delete_topic, describe_topic, fetch, forget_follower, handover,
    hello, list_offsets, list_snapshots, metadata, ping, promote, rejoin, reopen_partition,
    repair_topic, replica_status, restore_status, restore_topic, scrub_topic, segments, take_over,
    truncate,
};
use corelog_protocol::request;
use corelog_record::batch::Codec;
use corelog_record::{
    Chain, HistoryId, LeaderEpoch, Offset, PartitionId, Position, Timestamp, TopicId, TopicName,
};

use crate::support::wire::{Target, batch};

/// A frame in parts; [`Frame::bytes`] puts it together with a good checksum.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u16,
    pub(crate) correlation: u32,
    pub(crate) head: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

impl Frame {
    fn of<R: Call>(request: &R, body: Vec<u8>) -> Self {
        let mut bytes = Vec::new();
        request::encode(Default::default(), request, body.len(), &mut bytes).unwrap();
        Self {
            kind: R::KIND.number(),
            correlation: 0,
            head: bytes.split_off(PREFIX_BYTES),
            body,
        }
    }

    /// The frame on the wire, lengths and checksum right.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let frame_bytes = PREFIX_BYTES - 4 + self.head.len() + self.body.len();
        let mut bytes = Vec::with_capacity(4 + frame_bytes);
        bytes.extend_from_slice(&u32::try_from(frame_bytes).unwrap().to_le_bytes());
        bytes.extend_from_slice(&[1, 0]);
        bytes.extend_from_slice(&self.kind.to_le_bytes());
        bytes.extend_from_slice(&self.correlation.to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(self.head.len()).unwrap().to_le_bytes());
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&bytes);
        checksum.update(&self.head);
        bytes.extend_from_slice(&checksum.finalize().to_le_bytes());
        bytes.extend_from_slice(&self.head);
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// Hello, as the first frame of a connection.
pub(crate) fn hello() -> Frame {
    let request = hello::Request {
        versions: vec![1],
        client: "fuzz".to_owned(),
    };
    Frame::of(&request, Vec::new())
}

/// Good requests of every kind but Hello; those that change topics name one that is not there.
pub(crate) fn all(prey: &Target) -> Vec<Frame> {
    let none = Vec::new;
    let mut frames = vec![
        Frame::of(&ping::Request {}, none()),
        Frame::of(&metadata::Request { topics: None }, none()),
        Frame::of(
            &describe_topic::Request {
                name: prey.name.clone(),
            },
            none(),
        ),
        Frame::of(&prey.fetch(0, Offset::ZERO), none()),
        Frame::of(&prey.produce(0), none()),
        Frame::of(&list_offsets(prey), none()),
        Frame::of(&truncate(prey), none()),
        Frame::of(&reopen(prey), none()),
        Frame::of(&token(), none()),
    ];
    frames.extend(topics());
    frames.extend(transfer(prey));
    frames.extend(snapshots());
    frames.extend(replicas());
    // The ways a batch can be bent are many: every codec gets its frames.
    for codec in [
        Codec::None,
        Codec::None,
        Codec::Gzip,
        Codec::Snappy,
        Codec::Lz4,
        Codec::Zstd,
    ] {
        frames.push(Frame::of(&prey.produce(0), records(codec)));
        frames.push(Frame::of(&prey.produce(1), records(codec)));
    }
    frames
}

/// One batch of a few records, large enough to be compressed.
pub(crate) fn records(codec: Codec) -> Vec<u8> {
    batch(codec, (0..4).map(|number| format!("{number}").repeat(60)))
}

/// True for kinds whose answer is not due at once or at all.
pub(crate) fn is_first_only(kind: u16) -> bool {
    kind == Kind::Hello.number() || kind == Kind::Authenticate.number()
}

fn token() -> authenticate::Request {
    authenticate::Request {
        method: "none".to_owned(),
        token: vec![1, 2, 3],
    }
}

fn list_offsets(prey: &Target) -> list_offsets::Request {
    list_offsets::Request {
        topic: prey.name.clone(),
        id: prey.id,
        partition: PartitionId::new(1),
        at: list_offsets::At::Time(Timestamp::from_millis(1_700_000_000_000)),
    }
}

fn truncate(prey: &Target) -> truncate::Request {
    truncate::Request {
        topic: prey.name.clone(),
        id: prey.id,
        partition: PartitionId::new(1),
        lowest: Offset::ZERO,
    }
}

fn reopen(prey: &Target) -> reopen_partition::Request {
    reopen_partition::Request {
        topic: prey.name.clone(),
        id: prey.id,
        partition: PartitionId::new(1),
    }
}

/// A topic that is not there.
fn nowhere() -> (TopicName, TopicId) {
    let name = TopicName::new("nowhere").unwrap();
    (name, TopicId::from_bytes([9; 16]))
}

fn topics() -> Vec<Frame> {
    let (name, id) = nowhere();
    vec![
        Frame::of(
            &create_topic::Request {
                name: name.clone(),
                partitions: 0,
                settings: Default::default(),
                if_not_exists: false,
            },
            Vec::new(),
        ),
        Frame::of(
            &alter_topic::Request {
                name: name.clone(),
                id,
                partitions: Some(2),
                settings: Default::default(),
            },
            Vec::new(),
        ),
        Frame::of(&delete_topic::Request { name, id }, Vec::new()),
    ]
}

fn transfer(prey: &Target) -> Vec<Frame> {
    let (topic, id, partition) = (prey.name.clone(), prey.id, PartitionId::new(0));
    let segments = segments::Request {
        topic: topic.clone(),
        id,
        partition,
        from: Offset::ZERO,
    };
    let copy = copy_segments::Request {
        topic,
        id,
        partition,
        history: HistoryId::of(id, partition),
        parts: vec![copy_segments::Part {
            segment: Offset::ZERO,
            generation: 0,
            position: Position::ZERO,
            bytes: None,
        }],
        piece_bytes_max: 4 << 20,
    };
    let chain = chain_at::Request {
        topic: prey.name.clone(),
        id,
        partition,
        offset: Offset::ZERO,
    };
    vec![
        Frame::of(&segments, Vec::new()),
        Frame::of(&copy, Vec::new()),
        Frame::of(&chain, Vec::new()),
    ]
}

/// None that is taken is one of those that are restored or deleted.
fn snapshots() -> Vec<Frame> {
    let (name, _) = nowhere();
    let take = create_snapshot::Request {
        snapshot: "taken".to_owned(),
        topics: vec![name.clone()],
    };
    let restore = restore_topic::Request {
        source: "missed".to_owned(),
        source_topic: Some(name.clone()),
        topic: name,
        with_damage: true,
    };
    let delete = delete_snapshot::Request {
        snapshot: "missed".to_owned(),
        created: None,
    };
    vec![
        Frame::of(&take, Vec::new()),
        Frame::of(&list_snapshots::Request::default(), Vec::new()),
        Frame::of(&delete, Vec::new()),
        Frame::of(&restore, Vec::new()),
        Frame::of(&restore_status::Request { restore: 1 }, Vec::new()),
    ]
}

/// The address is one where nobody listens.
fn replicas() -> Vec<Frame> {
    let ((topic, id), address) = (nowhere(), "127.0.0.1:1".to_owned());
    let (number, partition) = (PartitionId::new(0), Some(PartitionId::new(0)));
    let scrub = scrub_topic::Request {
        topic: topic.clone(),
        id,
        partition,
        start: true,
    };
    let clone = clone_topic::Request {
        topic: topic.clone(),
        partition,
        from: Vec::new(),
        segments: vec![Offset::ZERO],
        follow: true,
        rate_bytes: Some(1),
    };
    let status = replica_status::Request {
        topic: topic.clone(),
        id: Some(id),
        partition,
    };
    let promote = promote::Request {
        topic: topic.clone(),
        id,
        partition,
        accept_loss: true,
    };
    let hand_over = handover::Request {
        topic: topic.clone(),
        id,
        partition,
        to: Some(address.clone()),
        abort: false,
        accept_loss: true,
    };
    let take_over = take_over::Request {
        topic: topic.clone(),
        id,
        partition: number,
        history: HistoryId::of(id, number),
        end: Offset::ZERO,
        chain: Chain::from_raw(7),
        epoch: LeaderEpoch::new(1).unwrap(),
    };
    let rejoin = rejoin::Request {
        topic: topic.clone(),
        id,
        partition,
        to: address.clone(),
    };
    let repair = repair_topic::Request {
        topic: topic.clone(),
        id,
        partition,
        from: vec![address.clone()],
    };
    let forget = forget_follower::Request {
        topic,
        id,
        partition,
        address,
    };
    vec![
        Frame::of(&scrub, Vec::new()),
        Frame::of(&clone, Vec::new()),
        Frame::of(&status, Vec::new()),
        Frame::of(&promote, Vec::new()),
        Frame::of(&hand_over, Vec::new()),
        Frame::of(&take_over, Vec::new()),
        Frame::of(&rejoin, Vec::new()),
        Frame::of(&repair, Vec::new()),
        Frame::of(&forget, Vec::new()),
    ]
}

/// How long a request that is well-formed may keep its answer back, in milliseconds.
pub(crate) fn wait_ms(request: &request::Request) -> u32 {
    match request {
        request::Request::Fetch(fetch::Request { max_wait_ms, .. }) => *max_wait_ms,
        _ => 0,
    }
}

/// Those that nobody bends, and why.
const LEFT_OUT: [(Kind, &str); 1] = [(
    Kind::Hello,
    "the first frame of a connection, which all others need",
)];

/// Half of all kinds were never bent: they came later than this list.
#[test]
fn every_kind_is_bent_but_those_that_are_named_with_a_reason() {
    let (name, id) = nowhere();
    let bent: BTreeSet<_> = all(&Target { name, id }).iter().map(|f| f.kind).collect();
    let left_out = LEFT_OUT.map(|(kind, _)| kind);
    let kinds = Kind::ALL.iter().filter(|kind| !left_out.contains(kind));
    assert_eq!(bent, kinds.map(|kind| kind.number()).collect());
}
