//! Strategies: snapshots, restores, scrubs.

use corelog_record::{CoreId, Offset, PartitionId, Timestamp};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use super::{answers, epoch, name, number, offset, place, replicas, settings, topic_id};
use crate::message::{
    create_snapshot, delete_snapshot, describe_topic, list_snapshots, restore_status,
    restore_topic, scrub_topic, snapshot,
};
use crate::request::Request;

pub(in crate::tests) fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        (".{0,20}", vec(name(), 0..4)).prop_map(|(snapshot, topics)| {
            Request::CreateSnapshot(create_snapshot::Request { snapshot, topics })
        }),
        (of(".{0,20}"), of(".{0,20}")).prop_map(|(snapshot, after)| {
            Request::ListSnapshots(list_snapshots::Request { snapshot, after })
        }),
        (".{0,20}", of(time())).prop_map(|(snapshot, created)| {
            Request::DeleteSnapshot(delete_snapshot::Request { snapshot, created })
        }),
        (".{0,40}", of(name()), name(), any::<bool>()).prop_map(
            |(source, source_topic, topic, with_damage)| {
                Request::RestoreTopic(restore_topic::Request {
                    source,
                    source_topic,
                    topic,
                    with_damage,
                })
            },
        ),
        any::<u64>()
            .prop_map(|restore| Request::RestoreStatus(restore_status::Request { restore })),
        (place(), any::<bool>(), any::<bool>()).prop_map(
            |((topic, id, partition), is_one, start)| {
                Request::ScrubTopic(scrub_topic::Request {
                    topic,
                    id,
                    partition: is_one.then_some(partition),
                    start,
                })
            }
        ),
    ]
}

type Answers = (
    create_snapshot::Answer,
    restore_status::Answer,
    scrub_topic::Answer,
    describe_topic::Answer,
);

pub(in crate::tests) fn answers() -> impl Strategy<Value = Answers> {
    (taken(), restored(), scrubbed(), described())
}

fn taken() -> impl Strategy<Value = create_snapshot::Answer> {
    let partition = (any::<u32>(), [offset(), offset()], any::<u32>(), number()).prop_map(
        |(id, [log_start, end], segments, bytes)| snapshot::Partition {
            id: PartitionId::new(id),
            log_start,
            end,
            segments,
            bytes,
        },
    );
    let topic = (name(), topic_id(), any::<[u64; 2]>(), vec(partition, 0..4)).prop_map(
        |(name, id, [segments, bytes], partitions)| snapshot::Topic {
            name,
            id,
            partition_count: 7,
            segments,
            bytes,
            partitions,
        },
    );
    (".{0,20}", time(), vec(topic, 0..3)).prop_map(|(name, created, topics)| {
        create_snapshot::Answer {
            taken: snapshot::Snapshot {
                name,
                created,
                topics,
            },
        }
    })
}

fn restored() -> impl Strategy<Value = restore_status::Answer> {
    use restore_status::State;
    let state = prop_oneof![Just(State::Running), Just(State::Done), Just(State::Failed)];
    let partition = (any::<u32>(), [offset(), offset()]).prop_map(|(id, [log_start, log_end])| {
        restore_status::Partition {
            id: PartitionId::new(id),
            log_start,
            log_end,
        }
    });
    (
        (state, name(), any::<[u64; 2]>(), of(topic_id())),
        vec(partition, 0..4),
        of(answers::error()),
    )
        .prop_map(
            |((state, topic, [bytes_done, bytes_total], id), partitions, failure)| {
                restore_status::Answer {
                    state,
                    topic,
                    bytes_done,
                    bytes_total,
                    id,
                    partitions,
                    failure,
                }
            },
        )
}

fn scrubbed() -> impl Strategy<Value = scrub_topic::Answer> {
    use scrub_topic::{Outcome, State};
    let outcome = prop_oneof![
        Just(Outcome::Never),
        Just(Outcome::Whole),
        Just(Outcome::Unread),
        Just(Outcome::Stopped)
    ];
    let state = prop_oneof![
        Just(State::Idle),
        Just(State::Waiting),
        Just(State::Running)
    ];
    let partition = (
        (any::<u32>(), state, any::<[u64; 2]>(), of(time())),
        (outcome, vec(damage(), 0..3)),
    )
        .prop_map(
            |((id, state, [bytes_done, bytes_total], scrubbed_at), (outcome, damage))| {
                scrub_topic::Partition {
                    id: PartitionId::new(id),
                    state,
                    bytes_done,
                    bytes_total,
                    scrubbed_at,
                    outcome,
                    damage,
                }
            },
        );
    vec(partition, 0..4).prop_map(|partitions| scrub_topic::Answer { partitions })
}

fn described() -> impl Strategy<Value = describe_topic::Answer> {
    let last =
        (".{0,20}", offset()).prop_map(|(name, end)| describe_topic::LastSnapshot { name, end });
    let awaited = (".{0,30}", of(".{0,30}"))
        .prop_map(|(address, owner)| describe_topic::Awaited { address, owner });
    let partition = (
        (any::<u32>(), any::<u16>(), epoch(), any::<[bool; 2]>()),
        [offset(), offset(), offset(), offset()],
        vec(damage(), 0..3),
        of(time()),
        of(last),
        (
            (replicas::role(), replicas::state()),
            of(".{0,30}"),
            vec(awaited, 0..3),
            any::<[Option<u64>; 3]>(),
        ),
    )
        .prop_map(
            |(
                (id, core, epoch, [closed, read_only]),
                offsets,
                damage,
                scrubbed_at,
                snapshot,
                replica,
            )| {
                let ((role, copying), source, waits_for, [lag_records, lag_bytes, lag_ms]) =
                    replica;
                let [log_start, high_watermark, durable, log_end] = offsets;
                describe_topic::Partition {
                    id: PartitionId::new(id),
                    core: CoreId::new(core),
                    log_start,
                    high_watermark,
                    durable,
                    log_end,
                    segments: 1,
                    bytes: 2,
                    epoch,
                    closed,
                    state: describe_topic::State::Damaged,
                    waits_for,
                    damage,
                    read_only,
                    scrubbed_at,
                    snapshot,
                    role,
                    source,
                    copying,
                    lag_records,
                    lag_bytes,
                    lag_ms,
                }
            },
        );
    (topic_id(), settings(), vec(partition, 0..4)).prop_map(|(id, settings, partitions)| {
        describe_topic::Answer {
            id,
            settings,
            partitions,
        }
    })
}

fn damage() -> impl Strategy<Value = describe_topic::Damage> {
    let offsets: [_; 3] = std::array::from_fn(|_| offset());
    offsets.prop_map(|[from, to, segment]: [Offset; 3]| describe_topic::Damage {
        from,
        to,
        segment,
    })
}

fn time() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp::from_millis)
}
