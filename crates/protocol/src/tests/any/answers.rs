//! Strategies: the heads of answers, and errors.

use corelog_record::{
    Chain, CopyId, CoreId, HistoryId, NodeId, Ordinal, PartitionId, Position, Timestamp,
};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use super::{epoch, epoch_row, id16, level, name, number, offset, settings, topic_id};
use crate::error::{Detail, ErrorBody};
use crate::message::{fetch, metadata, produce, segments};

pub(in crate::tests) fn metadata() -> impl Strategy<Value = metadata::Answer> {
    let partition = (any::<u32>(), any::<u16>(), ".{0,30}").prop_map(|(id, core, address)| {
        metadata::Partition {
            id: PartitionId::new(id),
            core: CoreId::new(core),
            address,
        }
    });
    let topic = (name(), topic_id(), settings(), vec(partition, 0..4)).prop_map(
        |(name, id, settings, partitions)| metadata::Topic {
            name,
            id,
            settings,
            partitions,
        },
    );
    let missing = (name(), error()).prop_map(|(name, error)| metadata::TopicError { name, error });
    (
        id16(),
        vec(".{0,30}", 0..4),
        ".{0,30}",
        vec(topic, 0..4),
        vec(missing, 0..3),
    )
        .prop_map(|(node, cores, shared, topics, errors)| metadata::Answer {
            node: NodeId::from_bytes(node),
            cores,
            shared,
            topics,
            errors,
        })
}

pub(in crate::tests) fn fetched() -> impl Strategy<Value = fetch::Answer> {
    (
        offset(),
        offset(),
        offset(),
        offset(),
        vec(epoch_row(), 0..3),
        any::<u64>(),
    )
        .prop_map(
            |(log_start, high_watermark, segment_base, next, epochs, lag_bytes)| fetch::Answer {
                log_start,
                high_watermark,
                segment_base,
                next,
                epochs,
                lag_bytes,
            },
        )
}

pub(in crate::tests) fn produced() -> impl Strategy<Value = produce::Answer> {
    (offset(), offset(), epoch(), level()).prop_map(|(base, end, epoch, level)| produce::Answer {
        base,
        end,
        epoch,
        level,
    })
}

pub(in crate::tests) fn segments() -> impl Strategy<Value = segments::Answer> {
    (
        id16(),
        id16(),
        offset(),
        offset(),
        vec(epoch_row(), 0..3),
        vec(sealed(), 0..4),
        of(active()),
    )
        .prop_map(
            |(history, copy, log_start, high_watermark, epochs, sealed, active)| segments::Answer {
                history: HistoryId::from_bytes(history),
                copy: CopyId::from_bytes(copy),
                log_start,
                high_watermark,
                epochs,
                sealed,
                active,
            },
        )
}

fn sealed() -> impl Strategy<Value = segments::Sealed> {
    let digest = (
        [offset(), offset()],
        [number(), number()],
        any::<[u64; 4]>(),
        of(vec(any::<u8>(), 16)),
    )
        .prop_map(
            |([first, last], ordinals, [bytes, batches, base, end], hash)| {
                let [first_ordinal, last_ordinal] = ordinals.map(|n| Ordinal::new(n).unwrap());
                let [chain_base, chain_end] = [base, end].map(Chain::from_raw);
                segments::Digest {
                    kind: segments::DigestKind::Original,
                    first,
                    last,
                    first_ordinal,
                    last_ordinal,
                    bytes,
                    batches,
                    chain_base,
                    chain_end,
                    hash,
                }
            },
        );
    (offset(), any::<u32>(), digest, any::<[i64; 2]>()).prop_map(
        |(base, generation, digest, times)| {
            let [max_timestamp, sealed_at] = times.map(Timestamp::from_millis);
            segments::Sealed {
                base,
                generation,
                digest,
                max_timestamp,
                sealed_at,
            }
        },
    )
}

fn active() -> impl Strategy<Value = segments::Active> {
    (
        offset(),
        number(),
        number(),
        offset(),
        number(),
        any::<[u64; 2]>(),
    )
        .prop_map(
            |(base, base_ordinal, position, durable_offset, ordinal, chains)| {
                let [chain_base, durable_chain] = chains.map(Chain::from_raw);
                segments::Active {
                    base,
                    base_ordinal: Ordinal::new(base_ordinal).unwrap(),
                    chain_base,
                    durable_position: Position::new(position).unwrap(),
                    durable_offset,
                    durable_ordinal: Ordinal::new(ordinal).unwrap(),
                    durable_chain,
                }
            },
        )
}

pub(in crate::tests) fn error() -> impl Strategy<Value = ErrorBody> {
    let detail = (
        of(offset()),
        of(".{0,30}"),
        of(topic_id()),
        of(any::<u64>()),
        of(vec(any::<u8>(), 0..3)),
        [of(offset()), of(offset())],
        of(any::<u64>()),
    )
        .prop_map(
            |(log_start, address, topic_id, limit, versions, ends, source_heard_ms)| Detail {
                log_start,
                address,
                topic_id,
                limit,
                versions,
                end: ends[0],
                source_end: ends[1],
                source_heard_ms,
                ..Detail::default()
            },
        );
    (any::<u16>(), ".{0,100}", detail).prop_map(|(code, message, detail)| ErrorBody {
        code,
        message,
        detail,
    })
}
