//! Whatever is encoded decodes to itself.

use corelog_record::{Chain, LeaderEpoch, Offset, Position, Timestamp};
use proptest::prelude::*;

use super::samples;
use crate::format::edit::{FRAME_BYTES_MAX, Frame};
use crate::format::index::{self, Row};
use crate::format::mark::Slot;
use crate::format::topic::{self, Ack, Hold, Topic};

proptest! {
    #[test]
    fn edits_come_back(edit in samples::any_edit(), sequence: u32) {
        let bytes = edit.encode(sequence);
        prop_assert!(bytes.len() <= FRAME_BYTES_MAX);
        let frame = Frame::read(&bytes).unwrap();
        prop_assert_eq!(frame.sequence, sequence);
        prop_assert_eq!(frame.decode().unwrap(), edit);
    }

    #[test]
    fn marks_come_back(
        numbers: (u64, u32, bool),
        segment in samples::any_point(),
        ahead in 0..1_u64 << 40,
        time: i64,
        epoch in prop::option::of(0..=i32::MAX),
        born in prop::option::of((i64::MIN..0).prop_union(1..i64::MAX)),
    ) {
        let (sequence, generation, is_clean) = numbers;
        let slot = Slot {
            sequence,
            generation,
            is_clean,
            segment: segment.offset,
            position: Position::new(ahead).unwrap(),
            offset: segment.offset.checked_add(ahead).unwrap_or(Offset::MAX),
            ordinal: segment.ordinal,
            chain: segment.chain,
            max_timestamp: Timestamp::from_millis(time),
            epoch: epoch.map(|epoch| LeaderEpoch::new(epoch).unwrap()),
            born: born.map(Timestamp::from_millis),
            ..samples::slot()
        };
        prop_assert_eq!(Slot::decode(&slot.encode()).unwrap(), slot);
        prop_assert_eq!(Slot::decode(&slot.encode()[..512]).unwrap(), slot);
    }

    #[test]
    fn indexes_come_back(base in samples::any_point(), rows: Vec<(u32, u32, i64, u32, u64)>) {
        let header = index::Header {
            base: base.offset,
            ordinal: base.ordinal,
            chain: base.chain,
            ..samples::index_header()
        };
        let rows = rows.into_iter().map(|(relative_offset, position, time, relative_ordinal, chain)| {
            let (max_timestamp, chain) = (Timestamp::from_millis(time), Chain::from_raw(chain));
            let relative_ordinal = relative_ordinal.min(relative_offset);
            Row { relative_offset, position, max_timestamp, relative_ordinal, chain }
        });
        let rows: Vec<_> = rows.collect();
        let mut bytes = header.encode().to_vec();
        bytes.extend(rows.iter().flat_map(Row::encode));
        prop_assert_eq!(index::Header::decode(&bytes).unwrap(), header);
        prop_assert_eq!(index::row_count(&bytes), rows.len());
        for (number, row) in rows.iter().enumerate() {
            prop_assert_eq!(index::row(&bytes, number).unwrap().unwrap(), *row);
        }
        prop_assert!(index::row(&bytes, rows.len()).is_none());
    }

    #[test]
    fn topics_come_back(
        partitions in any::<u32>(),
        is_durable in any::<bool>(),
        numbers in any::<(Option<i64>, Option<u64>, u64, Option<i64>)>(),
        retention_hold in prop::sample::select(&[Hold::None, Hold::Snapshotted, Hold::Replicated][..]),
        retention_hold_bytes in any::<Option<u64>>(),
        replica_count in 0..=4_usize,
    ) {
        let settings = topic::Settings {
            ack: if is_durable { Ack::Durable } else { Ack::Accepted },
            retention_age_ms: numbers.0,
            retention_bytes: numbers.1,
            segment_bytes: numbers.2,
            segment_age_ms: numbers.3,
            retention_hold,
            retention_hold_bytes,
        };
        let replicas = samples::replicas().split_off(replica_count);
        let topic = Topic { partitions, settings, replicas, ..samples::topic() };
        prop_assert_eq!(Topic::decode(&topic.encode().unwrap()).unwrap(), topic);
    }
}
