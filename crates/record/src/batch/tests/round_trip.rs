//! What a builder wrote is what a check admits and a reader reads.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::{build, codecs, read, record, sample};
use crate::batch::{self, Batches, Builder, Codec, Rules, TIMESTAMP_MAX, View};
use crate::{Error, LeaderEpoch, Offset, Record, Timestamp};

fn records() -> impl Strategy<Value = Vec<Record>> {
    let field = || option::of(vec(any::<u8>(), 0..200));
    let headers = vec(("\\PC{0,8}", option::of(vec(any::<u8>(), 0..20))), 0..3);
    let millis = 0..=TIMESTAMP_MAX.millis();
    let record =
        (millis, field(), field(), headers).prop_map(|(millis, key, value, headers)| Record {
            timestamp: Timestamp::from_millis(millis),
            key,
            value,
            headers,
        });
    vec(record, 1..40)
}

proptest! {
    #[test]
    fn whatever_is_built_is_admitted_and_read_back(
        records in records(), base in 0..1u64 << 62, epoch in 0..=i32::MAX,
    ) {
        for codec in codecs() {
            let mut bytes = build(*codec, &records);
            let (base, epoch) = (Offset::new(base).unwrap(), LeaderEpoch::new(epoch).unwrap());
            batch::patch(&mut bytes, base, epoch);
            let view = batch::check(&bytes, &Rules::default()).unwrap();
            prop_assert_eq!(view.count() as usize, records.len());
            prop_assert_eq!(view.base_offset(), base);
            prop_assert_eq!(view.next_offset(), base.plus(records.len() as u64));
            prop_assert_eq!(view.epoch(), Some(epoch));
            prop_assert_eq!(view.base_timestamp(), records[0].timestamp);
            let latest = records.iter().map(|record| record.timestamp).max();
            prop_assert_eq!(Some(view.max_timestamp()), latest);
            let expected: Vec<_> = (base.get()..).zip(records.iter().cloned()).collect();
            prop_assert_eq!(read(&view).unwrap(), expected);
        }
    }

    #[test]
    fn a_run_of_batches_splits_where_they_were_joined(counts in vec(1usize..5, 0..6)) {
        let batches: Vec<_> = counts
            .iter()
            .map(|count| build(Codec::None, &vec![record(1, None, Some(b"x")); *count]))
            .collect();
        let run = batches.concat();
        let split: Vec<_> = Batches::over(&run).collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(split, batches);
    }
}

#[test]
fn a_batch_that_is_not_appended_yet_has_no_epoch() {
    let bytes = sample(Codec::None);
    let view = View::verify(&bytes).unwrap();
    assert_eq!(view.epoch(), None);
    assert_eq!(view.base_offset(), Offset::ZERO);
    assert_eq!(view.header_bytes()[..], bytes[..61]);
}

#[test]
fn a_builder_knows_its_size_and_refuses_what_does_not_fit() {
    let rules = Rules {
        batch_bytes_max: 200,
        record_bytes_max: 100,
        ..Rules::default()
    };
    let mut builder = Builder::with_rules(Codec::None, rules);
    let (now, value) = (Timestamp::from_millis(1), [7; 100]);
    builder.append(now, None, Some(&value), &[]).unwrap();
    let len = builder.len_bytes();
    let too_large = builder.append(now, Some(b"k"), Some(&value), &[]);
    assert!(matches!(
        too_large,
        Err(Error::RecordTooLarge {
            index: 1,
            bytes: 101,
            max: 100
        })
    ));
    let full = builder.append(now, None, Some(&value), &[]);
    assert!(matches!(full, Err(Error::BatchTooLarge { max: 200, .. })));
    let early = builder.append(Timestamp::from_millis(-1), None, None, &[]);
    assert!(matches!(early, Err(Error::Timestamp { found: -1, .. })));
    assert_eq!((builder.len_bytes(), builder.count()), (len, 1));
    assert_eq!(builder.build().unwrap().len(), len);
}

#[test]
fn a_builder_counts_its_records() {
    let rules = Rules {
        count_max: 2,
        ..Rules::default()
    };
    let mut builder = Builder::with_rules(Codec::None, rules);
    assert!(builder.is_empty());
    for _ in 0..2 {
        builder.append(Timestamp::ZERO, None, None, &[]).unwrap();
    }
    let third = builder.append(Timestamp::ZERO, None, None, &[]);
    assert!(matches!(
        third,
        Err(Error::Count {
            found: 3,
            min: 1,
            max: 2
        })
    ));
}

#[test]
fn a_batch_without_records_is_not_built() {
    let empty = Builder::new(Codec::None).build();
    assert!(matches!(empty, Err(Error::Count { found: 0, .. })));
}

/// The default limits allow a record of exactly 1 MiB, as a line of a log may be.
#[test]
fn a_record_at_the_limit_fits() {
    let mut value = vec![b'x'; 1 << 20];
    let bytes = build(Codec::None, &[record(0, None, Some(&value))]);
    batch::check(&bytes, &Rules::default()).unwrap();
    value.push(b'x');
    let over = Builder::new(Codec::None).append_record(&record(0, None, Some(&value)));
    assert!(matches!(over, Err(Error::RecordTooLarge { .. })));
}

/// Rules cannot stretch the format: what no reader would take is not built.
#[test]
fn no_rules_allow_more_than_the_format_does() {
    let rules = Rules {
        record_bytes_max: usize::MAX,
        batch_bytes_max: usize::MAX,
        count_max: u32::MAX,
    };
    let mut builder = Builder::with_rules(Codec::None, rules);
    let large = vec![0; batch::BYTES_MAX];
    let refused = builder.append(Timestamp::ZERO, None, Some(&large), &[]);
    assert!(matches!(
        refused,
        Err(Error::BatchTooLarge {
            max: batch::BYTES_MAX,
            ..
        })
    ));
    for _ in 0..batch::COUNT_MAX {
        builder.append(Timestamp::ZERO, None, None, &[]).unwrap();
    }
    let refused = builder.append(Timestamp::ZERO, None, None, &[]);
    assert!(matches!(
        refused,
        Err(Error::Count {
            max: batch::COUNT_MAX,
            ..
        })
    ));
    let bytes = builder.build().unwrap();
    assert_eq!(
        batch::check(&bytes, &rules).unwrap().count(),
        batch::COUNT_MAX
    );
}

#[test]
fn a_paused_walk_goes_on_where_it_stood() {
    let records: Vec<_> = (0..5).map(|n| record(n, None, Some(b"value"))).collect();
    let bytes = build(Codec::None, &records);
    let batch = View::verify(&bytes).unwrap();
    let mut walk = batch.records().unwrap();
    let mut offsets = Vec::new();
    while let Some(one) = walk.next() {
        offsets.push(one.unwrap().offset.get());
        walk = walk.pause().resume(batch.record_bytes());
    }
    assert_eq!(offsets, [0, 1, 2, 3, 4]);
    assert!(walk.pause().resume(b"other").next().is_none());
}
