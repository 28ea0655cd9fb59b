//! Strategies: clones, replicas, who owns a partition.

use corelog_record::{Chain, CopyId, HistoryId, Lineage, NodeId, Ordinal, PartitionId};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use super::{answers, epoch, id16, name, number, offset, place, topic_id};
use crate::message::{
    chain_at, clone_topic, forget_follower, handover, promote, rejoin, repair_topic,
    replica_status, take_over,
};
use crate::request::Request;

pub(in crate::tests) fn request() -> impl Strategy<Value = Request> {
    prop_oneof![copying(), owning()]
}

fn copying() -> impl Strategy<Value = Request> {
    prop_oneof![
        (place(), offset()).prop_map(|((topic, id, partition), offset)| {
            Request::ChainAt(chain_at::Request {
                topic,
                id,
                partition,
                offset,
            })
        }),
        (
            name(),
            of(partition()),
            vec(address(), 0..3),
            vec(offset(), 0..3),
            any::<bool>(),
            of(any::<u64>())
        )
            .prop_map(|(topic, partition, from, segments, follow, rate_bytes)| {
                Request::CloneTopic(clone_topic::Request {
                    topic,
                    partition,
                    from,
                    segments,
                    follow,
                    rate_bytes,
                })
            }),
        (name(), of(topic_id()), of(partition())).prop_map(|(topic, id, partition)| {
            Request::ReplicaStatus(replica_status::Request {
                topic,
                id,
                partition,
            })
        }),
        (name(), topic_id(), of(partition()), vec(address(), 0..3)).prop_map(
            |(topic, id, partition, from)| {
                Request::RepairTopic(repair_topic::Request {
                    topic,
                    id,
                    partition,
                    from,
                })
            }
        ),
    ]
}

fn owning() -> impl Strategy<Value = Request> {
    prop_oneof![
        (name(), topic_id(), of(partition()), any::<bool>()).prop_map(
            |(topic, id, partition, accept_loss)| {
                Request::Promote(promote::Request {
                    topic,
                    id,
                    partition,
                    accept_loss,
                })
            }
        ),
        (
            name(),
            topic_id(),
            of(partition()),
            of(address()),
            any::<bool>(),
            any::<bool>()
        )
            .prop_map(|(topic, id, partition, to, abort, accept_loss)| {
                Request::Handover(handover::Request {
                    topic,
                    id,
                    partition,
                    to,
                    abort,
                    accept_loss,
                })
            }),
        (place(), id16(), offset(), any::<u64>(), epoch()).prop_map(
            |((topic, id, partition), history, end, chain, epoch)| {
                Request::TakeOver(take_over::Request {
                    topic,
                    id,
                    partition,
                    history: HistoryId::from_bytes(history),
                    end,
                    chain: Chain::from_raw(chain),
                    epoch,
                })
            }
        ),
        (name(), topic_id(), of(partition()), address()).prop_map(|(topic, id, partition, to)| {
            Request::Rejoin(rejoin::Request {
                topic,
                id,
                partition,
                to,
            })
        }),
        (name(), topic_id(), of(partition()), address()).prop_map(
            |(topic, id, partition, address)| {
                Request::ForgetFollower(forget_follower::Request {
                    topic,
                    id,
                    partition,
                    address,
                })
            }
        ),
    ]
}

pub(in crate::tests) fn copied() -> impl Strategy<Value = (chain_at::Answer, clone_topic::Answer)> {
    let boundary = (offset(), number(), any::<u64>(), of(epoch())).prop_map(
        |(offset, ordinal, chain, epoch)| chain_at::Answer {
            offset,
            ordinal: Ordinal::new(ordinal).unwrap(),
            chain: Chain::from_raw(chain),
            epoch,
        },
    );
    let cloned = (topic_id(), vec(partition(), 0..4), any::<bool>()).prop_map(
        |(id, partitions, created)| clone_topic::Answer {
            id,
            partitions,
            created,
        },
    );
    (boundary, cloned)
}

type Owned = (
    promote::Answer,
    handover::Answer,
    take_over::Answer,
    rejoin::Answer,
);

pub(in crate::tests) fn owned() -> impl Strategy<Value = Owned> {
    let promoted = (
        partition(),
        offset(),
        of(offset()),
        of(any::<u64>()),
        epoch(),
        any::<bool>(),
    )
        .prop_map(
            |(id, end, source_end, source_heard_ms, epoch, is_lossless)| promote::Partition {
                id,
                end,
                source_end,
                source_heard_ms,
                epoch,
                is_lossless,
            },
        );
    let handed = (partition(), offset(), epoch(), address()).prop_map(|(id, end, epoch, owner)| {
        handover::Partition {
            id,
            end,
            epoch,
            owner,
        }
    });
    let taken = (epoch(), id16()).prop_map(|(epoch, lineage)| take_over::Answer {
        epoch,
        lineage: Lineage::from_bytes(lineage),
    });
    let rejoined = (partition(), offset(), any::<[u64; 2]>(), of(".{0,30}")).prop_map(
        |(id, common, [records, bytes], file)| rejoin::Partition {
            id,
            common,
            records,
            bytes,
            file,
        },
    );
    (
        vec(promoted, 0..3).prop_map(|partitions| promote::Answer { partitions }),
        vec(handed, 0..3).prop_map(|partitions| handover::Answer { partitions }),
        taken,
        vec(rejoined, 0..3).prop_map(|partitions| rejoin::Answer { partitions }),
    )
}

pub(in crate::tests) fn mended()
-> impl Strategy<Value = (repair_topic::Answer, forget_follower::Answer)> {
    let replaced =
        (offset(), any::<[u64; 2]>(), address()).prop_map(|(base, [bytes, took_ms], from)| {
            repair_topic::Replaced {
                base,
                bytes,
                from,
                took_ms,
            }
        });
    let partition = (
        partition(),
        vec(replaced, 0..3),
        any::<u32>(),
        of(answers::error()),
    )
        .prop_map(
            |(id, segments, damage_left, error)| repair_topic::Partition {
                id,
                segments,
                damage_left,
                error,
            },
        );
    let forgotten = vec(any::<u32>().prop_map(PartitionId::new), 0..3);
    (
        vec(partition, 0..3).prop_map(|partitions| repair_topic::Answer { partitions }),
        forgotten.prop_map(|partitions| forget_follower::Answer { partitions }),
    )
}

pub(in crate::tests) fn replicas() -> impl Strategy<Value = replica_status::Answer> {
    (topic_id(), vec(replica(), 0..3))
        .prop_map(|(id, partitions)| replica_status::Answer { id, partitions })
}

fn replica() -> impl Strategy<Value = replica_status::Partition> {
    (
        (partition(), role(), state(), of(address()), of(id16())),
        of(epoch()),
        (
            of(answers::error()),
            offset(),
            any::<bool>(),
            of(offset()),
            of(offset()),
        ),
        any::<[Option<u64>; 5]>(),
        (any::<[u64; 3]>(), any::<[u32; 2]>()),
        (vec(receiving(), 0..3), vec(dropped(), 0..2)),
        (vec(follower(), 0..3), vec(address(), 0..3)),
    )
        .prop_map(
            |(what, let_go, ends, lags, (counts, segments), lists, nodes)| {
                let (id, role, state, source, target) = what;
                let (error, end, closed, until, source_end) = ends;
                let [
                    source_heard_ms,
                    owner_heard_ms,
                    lag_records,
                    lag_bytes,
                    lag_ms,
                ] = lags;
                let [bytes_done, bytes_total, repairs] = counts;
                let [segments_done, segments_total] = segments;
                let (receiving, dropped) = lists;
                let (followers, outranked) = nodes;
                replica_status::Partition {
                    id,
                    role,
                    state,
                    source,
                    target: target.map(NodeId::from_bytes),
                    let_go,
                    error,
                    end,
                    closed,
                    until,
                    source_end,
                    source_heard_ms,
                    owner_heard_ms,
                    lag_records,
                    lag_bytes,
                    lag_ms,
                    bytes_done,
                    bytes_total,
                    segments_done,
                    segments_total,
                    receiving,
                    dropped,
                    followers,
                    outranked,
                    repairs,
                }
            },
        )
}

fn receiving() -> impl Strategy<Value = replica_status::Receiving> {
    (offset(), address(), any::<[u64; 2]>()).prop_map(
        |(segment, from, [bytes_done, bytes_total])| replica_status::Receiving {
            segment,
            from,
            bytes_done,
            bytes_total,
        },
    )
}

fn dropped() -> impl Strategy<Value = replica_status::Dropped> {
    (address(), answers::error()).prop_map(|(from, error)| replica_status::Dropped { from, error })
}

fn follower() -> impl Strategy<Value = replica_status::Follower> {
    let heard = any::<(u64, bool)>();
    (of(id16()), of(address()), id16(), offset(), heard).prop_map(
        |(node, address, copy, end, (heard_ms, is_silent))| replica_status::Follower {
            node: node.map(NodeId::from_bytes),
            address,
            copy: CopyId::from_bytes(copy),
            end,
            heard_ms,
            is_silent,
        },
    )
}

pub(in crate::tests) fn role() -> impl Strategy<Value = replica_status::Role> {
    use replica_status::Role;
    prop_oneof![
        Just(Role::Owner),
        Just(Role::Follower),
        Just(Role::HandingOver),
        Just(Role::Fenced)
    ]
}

pub(in crate::tests) fn state() -> impl Strategy<Value = replica_status::State> {
    use replica_status::State;
    prop_oneof![
        Just(State::Idle),
        Just(State::Copying),
        Just(State::Following),
        Just(State::Done),
        Just(State::Waiting),
        Just(State::Stopped)
    ]
}

fn partition() -> impl Strategy<Value = PartitionId> {
    any::<u32>().prop_map(PartitionId::new)
}

fn address() -> impl Strategy<Value = String> {
    ".{0,30}"
}
