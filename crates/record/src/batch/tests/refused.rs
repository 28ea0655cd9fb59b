//! Each field that a server refuses is refused by its own error; what a reader admits beyond that it
//! reads.

use super::{build, read, record, reseal, sample};
use crate::batch::{self, Codec, Rules, TIMESTAMP_MAX, View, split_first};
use crate::{Error, RecordFault, Timestamp};

/// The sample with `bytes` written at `at`, resealed.
fn tampered(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut batch = sample(Codec::None);
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    reseal(&mut batch);
    batch
}

/// The error for a sample so tampered with.
fn refusal(at: usize, bytes: &[u8]) -> Error {
    batch::check(&tampered(at, bytes), &Rules::default()).unwrap_err()
}

/// The fault of one record whose bytes stand where the records stand.
fn fault(body: &[u8]) -> RecordFault {
    let mut batch = build(Codec::None, &[record(5, None, None)]);
    batch.truncate(batch::HEADER_BYTES);
    batch.push(u8::try_from(body.len()).unwrap() << 1);
    batch.extend_from_slice(body);
    reseal(&mut batch);
    match batch::check(&batch, &Rules::default()) {
        Err(Error::Record { index: 0, fault }) => fault,
        other => panic!("expected a fault of record 0, got {other:?}"),
    }
}

#[test]
fn another_magic_is_refused() {
    for magic in [0, 1, 3, 0xff] {
        assert!(matches!(refusal(16, &[magic]), Error::Magic { .. }));
    }
}

#[test]
fn a_negative_base_offset_or_one_at_the_end_of_time_is_refused() {
    for base in [-1, i64::MIN, i64::MAX, i64::MAX - 2] {
        assert!(
            matches!(refusal(0, &base.to_be_bytes()), Error::BaseOffset { found, .. } if found == base)
        );
    }
    assert!(View::verify(&tampered(0, &(i64::MAX - 3).to_be_bytes())).is_ok());
}

#[test]
fn an_unknown_codec_is_refused() {
    for number in 5..8 {
        assert!(matches!(refusal(22, &[number]), Error::UnknownCodec { found } if found == number));
    }
}

#[test]
fn flags_that_a_producer_cannot_set_are_refused_and_read() {
    assert!(matches!(refusal(22, &[1 << 3]), Error::LogAppendTime));
    assert!(matches!(refusal(22, &[1 << 4]), Error::Transactional));
    assert!(matches!(refusal(22, &[1 << 5]), Error::Control));
    assert!(matches!(
        refusal(22, &[1 << 6]),
        Error::Attributes { found: 0x40 }
    ));
    assert!(matches!(
        refusal(21, &[0x80]),
        Error::Attributes { found: 0x8000 }
    ));
    let control = tampered(22, &[1 << 4 | 1 << 5]);
    let view = View::verify(&control).unwrap();
    assert!(view.is_control());
    assert!(view.header().is_transactional());
}

#[test]
fn a_batch_with_append_time_gives_all_its_records_that_time() {
    let bytes = tampered(22, &[1 << 3]);
    let records = read(&View::verify(&bytes).unwrap()).unwrap();
    let time = Timestamp::from_millis(1_700_000_000_900);
    assert!(records.iter().all(|(_, record)| record.timestamp == time));
}

#[test]
fn producer_fields_are_refused_and_read() {
    assert!(matches!(
        refusal(43, &[0; 8]),
        Error::Producer {
            id: 0,
            epoch: -1,
            sequence: -1
        }
    ));
    assert!(matches!(
        refusal(51, &[0; 2]),
        Error::Producer {
            id: -1,
            epoch: 0,
            sequence: -1
        }
    ));
    assert!(matches!(
        refusal(53, &[0; 4]),
        Error::Producer {
            id: -1,
            epoch: -1,
            sequence: 0
        }
    ));
    assert!(View::verify(&tampered(43, &[0; 14])).is_ok());
}

#[test]
fn a_count_out_of_range_is_refused() {
    let count = |count: i32, delta: i32| {
        let mut bytes = tampered(57, &count.to_be_bytes());
        bytes[23..27].copy_from_slice(&delta.to_be_bytes());
        reseal(&mut bytes);
        batch::check(&bytes, &Rules::default()).unwrap_err()
    };
    assert!(matches!(count(0, 0), Error::Count { found: 0, .. }));
    // A batch may have lost its records, not its offsets.
    assert!(matches!(
        count(0, -1),
        Error::LastOffsetDelta {
            found: -1,
            count: 0
        }
    ));
    assert!(matches!(count(-1, 0), Error::Count { found: -1, .. }));
    assert!(matches!(
        count(1_000_001, 1_000_000),
        Error::Count {
            found: 1_000_001,
            ..
        }
    ));
    assert!(matches!(count(i32::MAX, i32::MAX), Error::Count { .. }));
    assert!(matches!(
        count(3, 1),
        Error::LastOffsetDelta { found: 1, count: 3 }
    ));
    assert!(matches!(
        count(3, -1),
        Error::LastOffsetDelta { found: -1, .. }
    ));
    assert!(matches!(count(2, 1), Error::TrailingBytes { .. }));
    assert!(matches!(
        count(4, 3),
        Error::Record {
            index: 3,
            fault: RecordFault::Cut
        }
    ));
}

/// What no reader takes is found first, as the page says: the offsets before the flags and the producer.
#[test]
fn a_negative_last_offset_is_refused_before_what_a_server_alone_refuses() {
    for (at, field) in [(21, &[0, 16][..]), (43, &5_i64.to_be_bytes())] {
        let mut bytes = tampered(at, field);
        let alone = batch::check(&bytes, &Rules::default()).unwrap_err();
        assert!(matches!(
            alone,
            Error::Transactional | Error::Producer { .. }
        ));
        bytes[57..61].copy_from_slice(&0_i32.to_be_bytes());
        bytes[23..27].copy_from_slice(&(-1_i32).to_be_bytes());
        reseal(&mut bytes);
        let refused = batch::check(&bytes, &Rules::default()).unwrap_err();
        let is_first = matches!(refused, Error::LastOffsetDelta { found: -1, .. });
        assert!(is_first, "{refused:?}");
    }
}

/// Compaction removes records and keeps the span of offsets.
#[test]
fn a_last_offset_beyond_the_count_is_refused_and_read() {
    assert!(matches!(
        refusal(26, &[9]),
        Error::LastOffsetDelta { found: 9, count: 3 }
    ));
    let bytes = tampered(26, &[9]);
    let view = View::verify(&bytes).unwrap();
    assert_eq!((view.count(), view.next_offset().get()), (3, 10));
    assert_eq!(read(&view).unwrap().len(), 3);
}

#[test]
fn times_out_of_range_are_refused() {
    let late = TIMESTAMP_MAX.millis() + 1;
    for found in [-1, i64::MIN, late, i64::MAX] {
        assert!(
            matches!(refusal(27, &found.to_be_bytes()), Error::Timestamp { found: f, .. } if f == found)
        );
        assert!(
            matches!(refusal(35, &found.to_be_bytes()), Error::Timestamp { found: f, .. } if f == found)
        );
    }
}

/// A producer of ten thousand records was not told which one to leave out.
#[test]
fn a_record_with_a_time_out_of_range_is_named() {
    let late = TIMESTAMP_MAX.millis() + 1;
    // The builder takes only times in range: all are shifted into it, and the base is set right behind that.
    for (time, shift) in [(-7, 7), (late, -1)] {
        // Base and greatest time are sound.
        let times = [1_700_000_000_000, time, 1_700_000_000_900];
        let shifted = times.map(|time| record(time + shift, None, None));
        let mut bytes = build(Codec::None, &shifted);
        bytes[27..35].copy_from_slice(&times[0].to_be_bytes());
        bytes[35..43].copy_from_slice(&times[2].to_be_bytes());
        reseal(&mut bytes);
        let refusal = batch::check(&bytes, &Rules::default()).unwrap_err();
        let Error::Record { index: 1, fault } = refusal else {
            panic!("{refusal:?}");
        };
        let max = TIMESTAMP_MAX.millis();
        assert_eq!(fault, RecordFault::Timestamp { found: time, max });
    }
}

/// It was said that its base timestamp was the highest of its records.
#[test]
fn a_max_timestamp_below_the_base_is_refused_as_that() {
    let claimed = 1_699_999_999_999_i64;
    let refusal = refusal(35, &claimed.to_be_bytes());
    assert!(
        matches!(refusal, Error::MaxBelowBase { claimed: c, base: 1_700_000_000_500 } if c == claimed),
        "{refusal:?}"
    );
}

#[test]
fn a_max_timestamp_that_no_record_has_is_refused() {
    for claimed in [1_700_000_000_899i64, 1_700_000_000_901] {
        let refusal = refusal(35, &claimed.to_be_bytes());
        assert!(matches!(
            refusal,
            Error::MaxTimestamp { claimed: c, found: 1_700_000_000_900 } if c == claimed
        ));
    }
}

#[test]
fn records_that_do_not_add_up_are_refused_by_their_own_fault() {
    use RecordFault::{
        Attributes, Cut, Excess, HeaderName, Length, OffsetDelta, TimestampDelta, Varint,
    };
    // attributes, timestamp delta, offset delta, null key, null value, no headers
    assert_eq!(fault(&[]), Cut);
    assert_eq!(fault(&[0, 0, 0, 1, 1]), Cut);
    assert_eq!(fault(&[9, 0, 0, 1, 1, 0]), Attributes { found: 9 });
    assert_eq!(
        fault(&[0, 0, 2, 1, 1, 0]),
        OffsetDelta {
            found: 1,
            expected: 0
        }
    );
    assert_eq!(
        fault(&[0, 0, 1, 1, 1, 0]),
        OffsetDelta {
            found: -1,
            expected: 0
        }
    );
    assert_eq!(fault(&[0, 0, 0, 3, 1, 0]), Length { found: -2 });
    assert_eq!(fault(&[0, 0, 0, 1, 5, 0]), Length { found: -3 });
    assert_eq!(fault(&[0, 0, 0, 1, 4, 0]), Cut);
    assert_eq!(fault(&[0, 0, 0, 1, 1, 1]), Length { found: -1 });
    assert_eq!(fault(&[0, 0, 0, 1, 1, 0, 7]), Excess { bytes: 1 });
    assert_eq!(fault(&[0, 0, 0, 1, 1, 2, 1, 1]), Length { found: -1 });
    assert_eq!(fault(&[0, 0, 0, 1, 1, 2, 2, 0xff, 1]), HeaderName);
    assert_eq!(fault(&[0, 0, 0, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f]), Cut);
    assert_eq!(
        fault(&[0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2]),
        Varint
    );
    let delta = [
        0, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 1, 1, 0,
    ];
    assert_eq!(fault(&delta), TimestampDelta { found: i64::MAX });
}

#[test]
fn a_record_beyond_the_limit_is_refused_wherever_its_bytes_are() {
    let mut large = record(0, Some(b"kk"), Some(b"vvv"));
    large
        .headers
        .push(("nnnn".to_owned(), Some(b"wwwww".to_vec())));
    assert_eq!(large.bytes(), 14);
    let bytes = build(Codec::None, &[record(0, None, None), large]);
    let rules = Rules {
        record_bytes_max: 13,
        ..Rules::default()
    };
    let refusal = batch::check(&bytes, &rules).unwrap_err();
    assert!(matches!(
        refusal,
        Error::RecordTooLarge {
            index: 1,
            bytes: 14,
            max: 13
        }
    ));
}

#[test]
fn a_batch_is_exactly_as_long_as_it_says() {
    let bytes = sample(Codec::None);
    let len = bytes.len();
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(matches!(
        View::verify(&longer),
        Err(Error::Excess { bytes: 1 })
    ));
    for end in 0..len {
        assert!(
            matches!(View::verify(&bytes[..end]), Err(Error::Cut { available, .. }) if available == end)
        );
        let split = split_first(&bytes[..end]);
        assert!(if end == 0 {
            matches!(split, Ok(None))
        } else {
            matches!(split, Err(Error::Cut { .. }))
        });
    }
    let rules = Rules {
        batch_bytes_max: len - 1,
        ..Rules::default()
    };
    assert!(matches!(
        batch::check(&bytes, &rules),
        Err(Error::BatchTooLarge { .. })
    ));
}

#[test]
fn a_length_that_no_batch_has_is_refused_before_anything_is_believed() {
    for length in [0, 48, -1, i32::MIN, i32::MAX, (16 << 20) - 11] {
        let mut bytes = sample(Codec::None);
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        assert!(matches!(split_first(&bytes), Err(Error::Length { found, .. }) if found == length));
    }
}

#[test]
fn records_of_a_compressed_batch_are_not_read_as_they_lie_there() {
    let bytes = tampered(22, &[4]);
    let records = View::verify(&bytes).unwrap().records();
    assert!(matches!(
        records,
        Err(Error::Compressed { codec: Codec::Zstd })
    ));
}

#[cfg(not(feature = "compression"))]
#[test]
fn a_build_without_compression_says_so() {
    let mut builder = batch::Builder::new(Codec::Zstd);
    builder.append(Timestamp::ZERO, None, None, &[]).unwrap();
    assert!(matches!(
        builder.build(),
        Err(Error::CodecUnavailable { codec: Codec::Zstd })
    ));
}
