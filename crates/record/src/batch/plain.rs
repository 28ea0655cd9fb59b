//! The way to a record's fields where its numbers are short: with one load and no loop.

#![deny(clippy::indexing_slicing)]

use super::raw::{Cursor, Headers, Raw, signed};
use crate::RecordFault;

/// The first bytes of a record, of which the next is the lowest.
struct Head {
    bytes: u64,
    taken: usize,
}

impl<'a> Raw<'a> {
    /// Takes the next record off `cursor`, for who looks at a few of its fields: a call would give all of them through memory.
    #[inline(always)]
    pub(super) fn skim(cursor: &mut Cursor<'a>) -> Result<Self, RecordFault> {
        match Self::plain(cursor.0) {
            Some((raw, rest)) => {
                cursor.0 = rest;
                Ok(raw)
            }
            None => cursor.go_on(Self::other),
        }
    }

    /// Any other record: its registers are not those of whoever calls.
    #[inline(never)]
    fn other(cursor: &mut Cursor<'a>) -> Result<Self, RecordFault> {
        Self::take(cursor)
    }

    /// The record at the beginning of `bytes` and what lies behind it; `None` unless its numbers take a byte or two, or three of its
    /// offset, it has no headers and no fault, and is not the last few bytes. Nearly all records are such ones.
    #[inline(always)]
    fn plain(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let mut head = Head {
            bytes: u64::from_le_bytes(*bytes.first_chunk()?),
            taken: 0,
        };
        let length = count(head.number()?)?;
        let (record, behind) = bytes.split_at_checked(head.taken + length)?;
        let attributes = head.byte();
        let timestamp_delta = signed(head.number()?);
        let offset_delta = signed(head.far_number()?);
        let key = head.number()?;
        let rest = record.get(head.whole()?..)?;
        let (key, rest) = field(key, rest)?;
        let mut head = Head {
            bytes: u64::from(u16::from_le_bytes(*rest.first_chunk()?)),
            taken: 0,
        };
        let value = head.number()?;
        let (value, rest) = field(value, rest.get(head.taken..)?)?;
        let raw = Self {
            attributes,
            timestamp_delta: timestamp_delta.into(),
            offset_delta,
            key,
            value,
            headers: Headers::NONE,
            header_bytes: 0,
        };
        (rest == [0]).then_some((raw, behind))
    }
}

impl Head {
    #[inline(always)]
    fn byte(&mut self) -> u8 {
        let [byte, ..] = self.bytes.to_le_bytes();
        self.bytes >>= 8;
        self.taken += 1;
        byte
    }

    /// A zigzag number of one or two groups.
    #[inline(always)]
    fn number(&mut self) -> Option<u32> {
        let low = self.byte();
        if low < 0x80 {
            return Some(low.into());
        }
        let high = self.byte();
        (high < 0x80).then_some(u32::from(low & 0x7f) | u32::from(high) << 7)
    }

    /// One of up to three groups: as many records a batch may have. With a loop for this and that above, a check takes 3 % more.
    #[inline(always)]
    fn far_number(&mut self) -> Option<u32> {
        let low = self.byte();
        if low < 0x80 {
            return Some(low.into());
        }
        let high = self.byte();
        let two = u32::from(low & 0x7f) | u32::from(high & 0x7f) << 7;
        if high < 0x80 {
            return Some(two);
        }
        let last = self.byte();
        (last < 0x80).then_some(two | u32::from(last) << 14)
    }

    /// How many bytes were taken, if there were as many.
    #[inline(always)]
    fn whole(&self) -> Option<usize> {
        (self.taken <= size_of_val(&self.bytes)).then_some(self.taken)
    }
}

/// A field of such a length at the beginning of `bytes`, −1 being null, and what lies behind it.
#[inline(always)]
fn field(zigzag: u32, bytes: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    match zigzag {
        NULL => Some((None, bytes)),
        zigzag => {
            let (field, rest) = bytes.split_at_checked(count(zigzag)?)?;
            Some((Some(field), rest))
        }
    }
}

/// A length that is not negative.
#[inline(always)]
fn count(zigzag: u32) -> Option<usize> {
    usize::try_from(signed(zigzag)).ok()
}

/// The length −1.
const NULL: u32 = 1;

#[cfg(test)]
mod tests {
    use super::{Cursor, Raw};
    use crate::batch::{Builder, COUNT_MAX, Codec, HEADER_BYTES};
    use crate::{Record, Timestamp};
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    /// The one record of a batch, without the batch's header.
    fn record(delta: i64, key: Option<Vec<u8>>, value: Option<Vec<u8>>) -> Vec<u8> {
        let mut builder = Builder::new(Codec::None);
        let first = Record::new(Timestamp::from_millis(1_000_000), "");
        builder.append_record(&first).unwrap();
        let before = builder.clone().build().unwrap().len();
        let second = Record {
            timestamp: Timestamp::from_millis(1_000_000 + delta),
            key,
            value,
            headers: Vec::new(),
        };
        builder.append_record(&second).unwrap();
        builder.build().unwrap().split_off(before.max(HEADER_BYTES))
    }

    fn assert_agrees(bytes: &[u8]) -> bool {
        let Some((raw, behind)) = Raw::plain(bytes) else {
            return false;
        };
        let mut cursor = Cursor(bytes);
        let known = Raw::take(&mut cursor).unwrap();
        assert_eq!(format!("{raw:?}"), format!("{known:?}"));
        assert_eq!(behind, cursor.0);
        true
    }

    /// From the 8,193rd record of a batch on the slow way was gone.
    #[test]
    fn records_are_read_with_one_load_however_many_lie_before_them() {
        // The zigzag of 0, 63, 64, 8,191, 8,192, and of the last record that a batch may have.
        let deltas: [(u32, &[u8]); 6] = [
            (0, &[0]),
            (63, &[0x7e]),
            (64, &[0x80, 1]),
            (8_191, &[0xfe, 0x7f]),
            (8_192, &[0x80, 0x80, 1]),
            (COUNT_MAX - 1, &[0xfe, 0x88, 0x7a]),
        ];
        for (delta, varint) in deltas {
            let body = [&[0, 0], varint, &[1, 1, 0]].concat();
            let length = 2 * u8::try_from(body.len()).unwrap();
            let behind = [12, 0, 0, 0];
            let bytes = [&[length], &body[..], &behind].concat();
            assert!(assert_agrees(&bytes), "{delta}");
            let (raw, _) = Raw::plain(&bytes).unwrap();
            assert_eq!(u32::try_from(raw.offset_delta), Ok(delta));
        }
    }

    fn field() -> impl Strategy<Value = Option<Vec<u8>>> {
        option::of(prop_oneof![
            vec(any::<u8>(), 0..70),
            vec(any::<u8>(), 4_000..4_090)
        ])
    }

    proptest! {
        #[test]
        fn a_record_of_short_numbers_is_read_as_it_would_be_with_a_loop(
            delta in -60i64..60, key in option::of(vec(any::<u8>(), 0..60)), value in field(),
            behind in vec(any::<u8>(), 1..9),
        ) {
            let bytes = [record(delta, key, value), behind].concat();
            prop_assert!(assert_agrees(&bytes));
        }

        #[test]
        fn whatever_is_read_is_read_as_it_would_be_with_a_loop(
            delta in any::<i16>(), key in field(), value in field(),
            changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4), kept in 0usize..20,
        ) {
            let mut bytes = record(delta.into(), key, value);
            for (at, to) in changes {
                let first = bytes.len().min(16);
                *at.get_mut(bytes.split_at_mut(first).0) = to;
            }
            bytes.truncate(bytes.len().max(kept) - kept);
            assert_agrees(&bytes);
        }

        #[test]
        fn noise_is_read_as_it_would_be_with_a_loop(bytes in vec(prop_oneof![0u8..40, any::<u8>()], 0..40)) {
            assert_agrees(&bytes);
        }
    }
}
