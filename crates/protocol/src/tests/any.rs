//! Strategies: any request, and the values that heads are made of.

use corelog_record::{
    Chain, CopyId, HistoryId, LeaderEpoch, Lineage, NodeId, Offset, PartitionId, Position,
    Timestamp, TopicId, TopicName,
};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use crate::message::ack::Level;
use crate::message::epoch::Epoch;
use crate::message::settings::{Change, RetentionHold, SettingsChange, TopicSettings};
use crate::message::{
    alter_topic, authenticate, copy_segments, create_topic, delete_topic, describe_topic, fetch,
    hello, list_offsets, metadata, ping, produce, reopen_partition, segments, truncate,
};
use crate::request::Request;

pub(super) mod answers;
pub(super) mod kept;
pub(super) mod replicas;

pub(super) fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        connection_request(),
        topic_request(),
        partition_request(),
        follow_request(),
        kept::request(),
        replicas::request(),
    ]
}

fn connection_request() -> impl Strategy<Value = Request> {
    prop_oneof![
        (vec(any::<u8>(), 0..5), ".{0,20}")
            .prop_map(|(versions, client)| Request::Hello(hello::Request { versions, client })),
        ("[a-z]{0,9}", vec(any::<u8>(), 0..300)).prop_map(|(method, token)| {
            Request::Authenticate(authenticate::Request { method, token })
        }),
        Just(Request::Ping(ping::Request {})),
        of(vec(name(), 0..20)).prop_map(|topics| Request::Metadata(metadata::Request { topics })),
    ]
}

fn topic_request() -> impl Strategy<Value = Request> {
    prop_oneof![
        (name(), any::<u32>(), settings(), any::<bool>()).prop_map(
            |(name, partitions, settings, if_not_exists)| {
                Request::CreateTopic(create_topic::Request {
                    name,
                    partitions,
                    settings,
                    if_not_exists,
                })
            }
        ),
        (name(), topic_id(), of(any::<u32>()), settings_change()).prop_map(
            |(name, id, partitions, settings)| {
                Request::AlterTopic(alter_topic::Request {
                    name,
                    id,
                    partitions,
                    settings,
                })
            }
        ),
        (name(), topic_id())
            .prop_map(|(name, id)| Request::DeleteTopic(delete_topic::Request { name, id })),
        name().prop_map(|name| Request::DescribeTopic(describe_topic::Request { name })),
    ]
}

fn partition_request() -> impl Strategy<Value = Request> {
    prop_oneof![
        (place(), of(level()), any::<u32>()).prop_map(|((topic, id, partition), level, run)| {
            Request::Produce(produce::Request {
                topic,
                id,
                partition,
                level,
                run,
            })
        }),
        (
            place(),
            offset(),
            any::<[u32; 3]>(),
            of(epoch()),
            of(follower())
        )
            .prop_map(
                |((topic, id, partition), offset, limits, last_epoch, follower)| {
                    let [max_bytes, min_bytes, max_wait_ms] = limits;
                    Request::Fetch(fetch::Request {
                        topic,
                        id,
                        partition,
                        offset,
                        max_bytes,
                        min_bytes,
                        max_wait_ms,
                        last_epoch,
                        follower,
                    })
                }
            ),
        (place(), at()).prop_map(|((topic, id, partition), at)| {
            Request::ListOffsets(list_offsets::Request {
                topic,
                id,
                partition,
                at,
            })
        }),
        (place(), offset()).prop_map(|((topic, id, partition), lowest)| {
            Request::Truncate(truncate::Request {
                topic,
                id,
                partition,
                lowest,
            })
        }),
        place().prop_map(|(topic, id, partition)| {
            Request::ReopenPartition(reopen_partition::Request {
                topic,
                id,
                partition,
            })
        }),
    ]
}

fn follow_request() -> impl Strategy<Value = Request> {
    prop_oneof![
        (place(), offset()).prop_map(|((topic, id, partition), from)| {
            Request::Segments(segments::Request {
                topic,
                id,
                partition,
                from,
            })
        }),
        (place(), id16(), vec(part(), 0..5), any::<u32>()).prop_map(
            |((topic, id, partition), history, parts, piece_bytes_max)| {
                Request::CopySegments(copy_segments::Request {
                    topic,
                    id,
                    partition,
                    history: HistoryId::from_bytes(history),
                    parts,
                    piece_bytes_max,
                })
            }
        ),
    ]
}

fn part() -> impl Strategy<Value = copy_segments::Part> {
    (offset(), any::<u32>(), number(), of(any::<u64>())).prop_map(
        |(segment, generation, position, bytes)| copy_segments::Part {
            segment,
            generation,
            position: Position::new(position).unwrap(),
            bytes,
        },
    )
}

fn follower() -> impl Strategy<Value = fetch::Follower> {
    (
        id16(),
        offset(),
        any::<u64>(),
        of(id16()),
        of(".{0,30}"),
        vec(epoch_row(), 0..5),
    )
        .prop_map(
            |(copy, end, chain, node, address, epochs)| fetch::Follower {
                copy: CopyId::from_bytes(copy),
                end,
                chain: Chain::from_raw(chain),
                node: node.map(NodeId::from_bytes),
                address,
                epochs,
            },
        )
}

fn settings_change() -> impl Strategy<Value = SettingsChange> {
    (
        of(level()),
        [change(), change(), change(), change()],
        of(any::<u64>()),
        of(hold()),
    )
        .prop_map(|(ack, changes, segment_bytes, retention_hold)| {
            let [
                retention_age_ms,
                retention_bytes,
                segment_age_ms,
                retention_hold_bytes,
            ] = changes;
            SettingsChange {
                ack,
                retention_age_ms,
                retention_bytes,
                segment_bytes,
                segment_age_ms,
                retention_hold,
                retention_hold_bytes,
            }
        })
}

fn change() -> impl Strategy<Value = Change<u64>> {
    prop_oneof![
        Just(Change::Keep),
        Just(Change::Clear),
        any::<u64>().prop_map(Change::Set)
    ]
}

fn settings() -> impl Strategy<Value = TopicSettings> {
    (level(), any::<[Option<u64>; 4]>(), any::<u64>(), hold()).prop_map(
        |(ack, bounds, segment_bytes, retention_hold)| {
            let [
                retention_age_ms,
                retention_bytes,
                segment_age_ms,
                retention_hold_bytes,
            ] = bounds;
            TopicSettings {
                ack,
                retention_age_ms,
                retention_bytes,
                segment_bytes,
                segment_age_ms,
                retention_hold,
                retention_hold_bytes,
            }
        },
    )
}

fn hold() -> impl Strategy<Value = RetentionHold> {
    prop_oneof![
        Just(RetentionHold::None),
        Just(RetentionHold::Snapshotted),
        Just(RetentionHold::Replicated),
    ]
}

fn at() -> impl Strategy<Value = list_offsets::At> {
    prop_oneof![
        Just(list_offsets::At::Earliest),
        Just(list_offsets::At::Latest),
        any::<i64>().prop_map(|ms| list_offsets::At::Time(Timestamp::from_millis(ms))),
    ]
}

fn epoch_row() -> impl Strategy<Value = Epoch> {
    (epoch(), id16(), offset()).prop_map(|(epoch, lineage, start)| Epoch {
        epoch,
        lineage: Lineage::from_bytes(lineage),
        start,
    })
}

fn place() -> impl Strategy<Value = (TopicName, TopicId, PartitionId)> {
    (name(), topic_id(), any::<u32>().prop_map(PartitionId::new))
}

fn name() -> impl Strategy<Value = TopicName> {
    "[A-Za-z0-9_-][A-Za-z0-9._-]{0,40}".prop_map(|name| TopicName::new(&name).unwrap())
}

fn level() -> impl Strategy<Value = Level> {
    prop_oneof![Just(Level::Durable), Just(Level::Accepted)]
}

fn epoch() -> impl Strategy<Value = LeaderEpoch> {
    (0..=i32::MAX).prop_map(|number| LeaderEpoch::new(number).unwrap())
}

fn offset() -> impl Strategy<Value = Offset> {
    number().prop_map(|number| Offset::new(number).unwrap())
}

/// Numbers of every width, of at most 63 bits.
fn number() -> impl Strategy<Value = u64> {
    (any::<u64>(), 1..64u32).prop_map(|(number, shift)| number >> shift)
}

fn topic_id() -> impl Strategy<Value = TopicId> {
    id16().prop_map(TopicId::from_bytes)
}

fn id16() -> impl Strategy<Value = [u8; 16]> {
    any::<[u8; 16]>()
}
