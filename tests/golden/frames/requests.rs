//! The worked requests, as values.

use std::collections::BTreeMap;

use corelog_protocol::frame::CorrelationId;
use corelog_protocol::kind::Kind;
use corelog_protocol::message::{
    ack::Level, alter_topic, authenticate, copy_segments, create_snapshot, create_topic,
    delete_snapshot, delete_topic, describe_topic, epoch::Epoch, fetch, hello, list_offsets,
    list_snapshots, metadata, ping, produce, reopen_partition, restore_status, restore_topic,
    scrub_topic, segments, settings, truncate,
};
use corelog_protocol::request::Request;
use corelog_record::{
    Chain, CopyId, HistoryId, LeaderEpoch, Lineage, NodeId, Offset, PartitionId, Position,
    Timestamp, TopicName,
};

use super::{sent_batch, topic_id};

mod replicas;

/// The number of the examples of a kind: its place among the requests that stand here, from 1 on.
pub(super) fn correlation(kind: Kind) -> CorrelationId {
    let values = values();
    let index = values.iter().position(|value| value.kind() == kind);
    CorrelationId::new(u32::try_from(index.unwrap()).unwrap() + 1)
}

/// The value that an example's bytes mean.
pub(super) fn value(name: &str) -> Request {
    values()
        .into_iter()
        .find(|value| label(value) == name)
        .expect("every example has a value")
}

/// Every example's bytes, body included.
pub(super) fn encoded() -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for value in values() {
        all.insert(label(&value), frame(correlation(value.kind()), &value));
    }
    all
}

fn label(value: &Request) -> String {
    format!("{} request", value.kind())
}

fn frame(correlation: CorrelationId, value: &Request) -> Vec<u8> {
    let body = match value {
        Request::Produce(_) => sent_batch(),
        _ => Default::default(),
    };
    let mut out = Vec::new();
    value.encode(correlation, body.len(), &mut out).unwrap();
    out.extend_from_slice(&body);
    out
}

fn values() -> Vec<Request> {
    let mut values = connection();
    values.extend(topics());
    values.extend(records());
    values.extend(transfer());
    values.extend(keeping());
    values.extend(replicas::values());
    values
}

fn connection() -> Vec<Request> {
    vec![
        Request::Hello(hello::Request {
            versions: vec![1],
            client: "example".to_owned(),
        }),
        Request::Authenticate(authenticate::Request {
            method: "token".to_owned(),
            token: vec![1, 2, 3],
        }),
        Request::Ping(ping::Request {}),
        Request::Metadata(metadata::Request {
            topics: Some(vec![topic()]),
        }),
    ]
}

fn topics() -> Vec<Request> {
    let (name, id) = (topic(), topic_id());
    vec![
        Request::CreateTopic(create_topic::Request {
            name: name.clone(),
            partitions: 8,
            settings: settings::TopicSettings {
                retention_age_ms: Some(604_800_000),
                ..settings::TopicSettings::default()
            },
            if_not_exists: true,
        }),
        Request::AlterTopic(alter_topic::Request {
            name: name.clone(),
            id,
            partitions: Some(16),
            settings: settings::SettingsChange {
                ack: Some(Level::Accepted),
                retention_age_ms: settings::Change::Clear,
                retention_bytes: settings::Change::Set(1 << 30),
                ..settings::SettingsChange::default()
            },
        }),
        Request::DeleteTopic(delete_topic::Request {
            name: name.clone(),
            id,
        }),
        Request::DescribeTopic(describe_topic::Request { name }),
    ]
}

fn records() -> Vec<Request> {
    let (topic, id, partition) = (topic(), topic_id(), PartitionId::new(0));
    vec![
        Request::Produce(produce::Request {
            topic: topic.clone(),
            id,
            partition,
            level: Some(Level::Durable),
            run: 1,
        }),
        Request::Fetch(fetch::Request {
            topic: topic.clone(),
            id,
            partition,
            offset: Offset::ZERO,
            max_bytes: 1 << 20,
            min_bytes: 1,
            max_wait_ms: 500,
            last_epoch: None,
            follower: None,
        }),
        Request::ListOffsets(list_offsets::Request {
            topic: topic.clone(),
            id,
            partition,
            at: list_offsets::At::Time(Timestamp::from_millis(1_700_000_000_000)),
        }),
        Request::Truncate(truncate::Request {
            topic: topic.clone(),
            id,
            partition,
            lowest: Offset::ZERO.plus(10),
        }),
        Request::ReopenPartition(reopen_partition::Request {
            topic,
            id,
            partition,
        }),
    ]
}

fn transfer() -> Vec<Request> {
    let (topic, id, partition) = (topic(), topic_id(), PartitionId::new(0));
    vec![
        Request::Segments(segments::Request {
            topic: topic.clone(),
            id,
            partition,
            from: Offset::ZERO,
        }),
        Request::CopySegments(copy_segments::Request {
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
        }),
    ]
}

fn keeping() -> Vec<Request> {
    vec![
        Request::CreateSnapshot(create_snapshot::Request {
            snapshot: "monday".to_owned(),
            topics: vec![topic()],
        }),
        Request::ListSnapshots(list_snapshots::Request::default()),
        Request::DeleteSnapshot(delete_snapshot::Request {
            snapshot: "monday".to_owned(),
            created: Some(Timestamp::from_millis(1_700_000_000_000)),
        }),
        Request::RestoreTopic(restore_topic::Request {
            source: "monday".to_owned(),
            source_topic: None,
            topic: TopicName::new("orders-again").unwrap(),
            with_damage: false,
        }),
        Request::RestoreStatus(restore_status::Request { restore: 1 }),
        Request::ScrubTopic(scrub_topic::Request {
            topic: topic(),
            id: topic_id(),
            partition: Some(PartitionId::new(0)),
            start: true,
        }),
    ]
}

fn topic() -> TopicName {
    TopicName::new("orders").unwrap()
}

#[test]
fn a_follower_s_fetch_reads_back_as_it_was_written() {
    let Some(Request::Fetch(mut fetch)) = records().into_iter().nth(1) else {
        panic!("the second is a Fetch");
    };
    fetch.follower = Some(fetch::Follower {
        copy: CopyId::from_bytes([0xcc; 16]),
        end: Offset::ZERO.plus(42),
        chain: Chain::from_raw(u64::MAX),
        node: Some(NodeId::from_bytes([0x22; 16])),
        address: Some("10.0.0.2:7400".to_owned()),
        epochs: vec![Epoch {
            epoch: LeaderEpoch::new(3).unwrap(),
            lineage: Lineage::from_bytes([0xee; 16]),
            start: Offset::ZERO.plus(40),
        }],
    });
    let value = Request::Fetch(fetch);
    let bytes = frame(CorrelationId::new(1), &value);
    let decoder = super::Decoder::requests(super::FRAME_BYTES_MAX);
    assert_eq!(
        Request::decode(&super::cut(&bytes, decoder)).unwrap(),
        value
    );
}
