//! The worked answers, as values.

use std::collections::BTreeMap;
use std::fmt::Debug;

use corelog_protocol::answer;
use corelog_protocol::error::{ErrorBody, ErrorCode};
use corelog_protocol::frame::Frame;
use corelog_protocol::message::{
    Call, ack::Level, alter_topic, authenticate, copy_segments, create_topic, delete_topic,
    describe_topic, epoch::Epoch, fetch, hello, list_offsets, metadata, ping, produce,
    reopen_partition, replica_status::Role, segments, settings::TopicSettings, truncate,
};
use corelog_record::{
    Chain, CopyId, CoreId, HistoryId, LeaderEpoch, Lineage, NodeId, Offset, Ordinal, PartitionId,
    Position, Timestamp, TopicName,
};

use super::{requests, stored_batch, topic_id};

mod kept;
mod replicas;

/// Something to do with the value of every example.
trait Visit {
    /// With that of a kind's.
    fn visit<R: Call>(&mut self, answer: &R::Answer, body: &[u8])
    where
        R::Answer: PartialEq + Debug,
    {
        self.visit_named::<R>(format!("{} answer", R::KIND), answer, body);
    }

    /// With that of one of several that a kind has.
    fn visit_named<R: Call>(&mut self, name: String, answer: &R::Answer, body: &[u8])
    where
        R::Answer: PartialEq + Debug;
}

/// Every example's bytes, body included. An answer has its request's correlation.
pub(super) fn encoded() -> BTreeMap<String, Vec<u8>> {
    struct Encode(BTreeMap<String, Vec<u8>>);
    impl Visit for Encode {
        fn visit_named<R: Call>(&mut self, name: String, answer: &R::Answer, body: &[u8])
        where
            R::Answer: PartialEq + Debug,
        {
            let correlation = requests::correlation(R::KIND);
            let mut out = Vec::new();
            answer::encode_ok::<R>(correlation, answer, body.len(), &mut out).unwrap();
            out.extend_from_slice(body);
            self.0.insert(name, out);
        }
    }
    let mut encode = Encode(BTreeMap::new());
    each(&mut encode);
    encode.0
}

/// Checks that `frame` reads as the value of the example `name`.
pub(super) fn check(name: &str, frame: &Frame<'_>) {
    struct Check<'a> {
        name: &'a str,
        frame: &'a Frame<'a>,
        is_met: bool,
    }
    impl Visit for Check<'_> {
        fn visit_named<R: Call>(&mut self, name: String, answer: &R::Answer, body: &[u8])
        where
            R::Answer: PartialEq + Debug,
        {
            if self.name == name {
                let found = answer::decode::<R>(self.frame).unwrap().unwrap();
                assert_eq!(&found, answer, "{}", self.name);
                assert_eq!(self.frame.body, body, "{}", self.name);
                self.is_met = true;
            }
        }
    }
    let mut check = Check {
        name,
        frame,
        is_met: false,
    };
    each(&mut check);
    assert!(check.is_met, "{name} has a value");
}

fn each(visit: &mut impl Visit) {
    connection(visit);
    topics(visit);
    records(visit);
    transfer(visit);
    kept::each(visit);
    replicas::each(visit);
}

fn connection(visit: &mut impl Visit) {
    visit.visit::<hello::Request>(
        &hello::Answer {
            version: 1,
            node: node(),
            core: CoreId::new(0),
            cores: cores(),
            shared: "127.0.0.1:7400".to_owned(),
            limits: hello::Limits::default(),
            auth: vec![hello::AUTH_NONE.to_owned()],
            software: "corelog 0.1.0".to_owned(),
        },
        &[],
    );
    let answer = authenticate::Answer {
        done: true,
        token: Vec::new(),
    };
    visit.visit::<authenticate::Request>(&answer, &[]);
    visit.visit::<ping::Request>(&ping::Answer {}, &[]);
    visit.visit::<metadata::Request>(
        &metadata::Answer {
            node: node(),
            cores: cores(),
            shared: "127.0.0.1:7400".to_owned(),
            topics: vec![metadata::Topic {
                name: TopicName::new("orders").unwrap(),
                id: topic_id(),
                settings: TopicSettings::default(),
                partitions: vec![metadata::Partition {
                    id: PartitionId::new(0),
                    core: CoreId::new(1),
                    address: "127.0.0.1:7402".to_owned(),
                }],
            }],
            errors: vec![metadata::TopicError {
                name: TopicName::new("missing").unwrap(),
                error: ErrorBody::new(ErrorCode::UnknownTopic, "there is no topic missing"),
            }],
        },
        &[],
    );
}

fn topics(visit: &mut impl Visit) {
    let settings = TopicSettings::default();
    let created = create_topic::Answer {
        id: topic_id(),
        created: true,
        partitions: 8,
        settings,
    };
    visit.visit::<create_topic::Request>(&created, &[]);
    let settings = TopicSettings {
        ack: Level::Accepted,
        retention_bytes: Some(1 << 30),
        ..TopicSettings::default()
    };
    visit.visit::<alter_topic::Request>(
        &alter_topic::Answer {
            partitions: 16,
            settings,
        },
        &[],
    );
    visit.visit::<delete_topic::Request>(&delete_topic::Answer {}, &[]);
    visit.visit::<describe_topic::Request>(
        &describe_topic::Answer {
            id: topic_id(),
            settings: TopicSettings::default(),
            partitions: vec![describe_topic::Partition {
                id: PartitionId::new(0),
                core: CoreId::new(1),
                log_start: offset(10),
                high_watermark: offset(42),
                durable: offset(42),
                log_end: offset(43),
                segments: 2,
                bytes: 4_096,
                epoch: epoch(1),
                closed: false,
                state: describe_topic::State::Ok,
                waits_for: Vec::new(),
                damage: Vec::new(),
                read_only: false,
                scrubbed_at: None,
                snapshot: None,
                role: Role::Owner,
                source: None,
                copying: Default::default(),
                lag_records: None,
                lag_bytes: None,
                lag_ms: None,
            }],
        },
        &[],
    );
}

fn records(visit: &mut impl Visit) {
    let (base, end) = (offset(0), offset(1));
    let produced = produce::Answer {
        base,
        end,
        epoch: epoch(1),
        level: Level::Durable,
    };
    visit.visit::<produce::Request>(&produced, &[]);
    let fetched = fetch::Answer {
        log_start: offset(0),
        high_watermark: offset(1),
        segment_base: offset(0),
        next: offset(1),
        epochs: Vec::new(),
        lag_bytes: 0,
    };
    visit.visit::<fetch::Request>(&fetched, &stored_batch());
    let found = list_offsets::Answer {
        offset: offset(0),
        timestamp: Some(Timestamp::from_millis(1_700_000_000_000)),
        log_start: offset(0),
        high_watermark: offset(1),
        epoch: None,
    };
    visit.visit::<list_offsets::Request>(&found, &[]);
    visit.visit::<truncate::Request>(
        &truncate::Answer {
            log_start: offset(10),
        },
        &[],
    );
    let reopened = reopen_partition::Answer {
        log_start: offset(10),
        log_end: offset(42),
        epoch: epoch(2),
        state: describe_topic::State::Ok,
        torn_bytes: 512,
        message: String::new(),
    };
    visit.visit::<reopen_partition::Request>(&reopened, &[]);
}

fn transfer(visit: &mut impl Visit) {
    let digest = segments::Digest {
        kind: segments::DigestKind::Original,
        first: offset(0),
        last: offset(41),
        first_ordinal: Ordinal::ZERO,
        last_ordinal: Ordinal::ZERO.plus(6),
        bytes: 4_096,
        batches: 7,
        chain_base: Chain::from_raw(1),
        chain_end: Chain::from_raw(2),
        hash: None,
    };
    visit.visit::<segments::Request>(
        &segments::Answer {
            history: HistoryId::of(topic_id(), PartitionId::new(0)),
            copy: CopyId::from_bytes([0xcc; 16]),
            log_start: offset(0),
            high_watermark: offset(43),
            epochs: vec![Epoch {
                epoch: epoch(1),
                lineage: Lineage::from_bytes([0xee; 16]),
                start: offset(0),
            }],
            sealed: vec![segments::Sealed {
                base: offset(0),
                generation: 0,
                digest,
                max_timestamp: Timestamp::from_millis(1_700_000_000_000),
                sealed_at: Timestamp::from_millis(1_700_000_060_000),
            }],
            active: Some(segments::Active {
                base: offset(42),
                base_ordinal: Ordinal::ZERO.plus(7),
                chain_base: Chain::from_raw(2),
                durable_position: Position::ZERO.plus(78),
                durable_offset: offset(43),
                durable_ordinal: Ordinal::ZERO.plus(8),
                durable_chain: Chain::from_raw(3),
            }),
        },
        &[],
    );
    let piece = copy_segments::Answer {
        segment: offset(0),
        generation: 0,
        position: Position::ZERO,
        bytes: 78,
        is_final: true,
    };
    visit.visit::<copy_segments::Request>(&piece, &stored_batch());
}

fn cores() -> Vec<String> {
    vec!["127.0.0.1:7401".to_owned(), "127.0.0.1:7402".to_owned()]
}

fn node() -> NodeId {
    NodeId::from_bytes([0x11; 16])
}

fn offset(number: u64) -> Offset {
    Offset::new(number).unwrap()
}

fn epoch(number: i32) -> LeaderEpoch {
    LeaderEpoch::new(number).unwrap()
}
