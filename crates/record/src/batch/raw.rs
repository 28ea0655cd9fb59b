//! One record as its bytes: the tight loop under `check` and under every reader.

#![deny(clippy::indexing_slicing)]

use crate::RecordFault;

/// A record's fields, borrowed.
#[derive(Clone, Debug)]
pub(super) struct Raw<'a> {
    pub(super) attributes: u8,
    pub(super) timestamp_delta: i64,
    pub(super) offset_delta: i32,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: Headers<'a>,
    /// Bytes of the headers' names and values.
    pub(super) header_bytes: usize,
}

/// A record's headers in order: names and values.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    /// Walked once already, so reading it again cannot fail.
    fields: Cursor<'a>,
    /// A word, as its neighbours are: half of one is written slower than it is read back.
    remaining: usize,
}

/// The bytes not read yet.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl<'a> Raw<'a> {
    /// Takes the next record off `cursor`: every length in it adds up, every header name is UTF-8.
    #[inline]
    pub(super) fn take(cursor: &mut Cursor<'a>) -> Result<Self, RecordFault> {
        let length = cursor.varint()?;
        let mut body = Cursor(cursor.bytes(length)?);
        let attributes = body.byte()?;
        let timestamp_delta = body.varlong()?;
        let offset_delta = body.varint()?;
        let key = body.nullable()?;
        let value = body.nullable()?;
        let (headers, header_bytes) = Headers::take(&mut body)?;
        if !body.0.is_empty() {
            return Err(RecordFault::Excess {
                bytes: body.0.len(),
            });
        }
        Ok(Self {
            attributes,
            timestamp_delta,
            offset_delta,
            key,
            value,
            headers,
            header_bytes,
        })
    }

    /// Bytes that count against the record limit.
    #[inline]
    pub(super) fn payload_bytes(&self) -> usize {
        self.key.map_or(0, <[u8]>::len) + self.value.map_or(0, <[u8]>::len) + self.header_bytes
    }
}

impl<'a> Headers<'a> {
    /// Those of a record that has none.
    pub(super) const NONE: Self = Self {
        fields: Cursor(&[]),
        remaining: 0,
    };

    /// Goes on with headers that were put aside: `bytes` and `count` are what [`Headers::as_bytes`] and
    /// `len` gave. Of other bytes come those headers that can be read, and never a panic.
    pub fn over(bytes: &'a [u8], count: usize) -> Self {
        Self {
            fields: Cursor(bytes),
            remaining: count.min(bytes.len() / HEADER_BYTES_MIN),
        }
    }

    /// The headers that are left, as they lie in their record.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.fields.0
    }

    /// The headers, and the bytes of their names and values. Nothing of a record lies behind them.
    #[inline]
    fn take(body: &mut Cursor<'a>) -> Result<(Self, usize), RecordFault> {
        let count = body.varint()?;
        let remaining = usize::try_from(count)
            .ok()
            .ok_or(RecordFault::Length { found: count })?;
        let fields = body.clone();
        // Most records have none, and need no call for that.
        let bytes = match remaining {
            0 => 0,
            _ => body.go_on(|rest| rest.headers(remaining))?,
        };
        Ok((Self { fields, remaining }, bytes))
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a str, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        self.remaining = self.remaining.checked_sub(1)?;
        let header = self.fields.header().ok();
        if header.is_none() {
            self.remaining = 0;
        }
        header
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining, Some(self.remaining))
    }
}

impl ExactSizeIterator for Headers<'_> {}

impl<'a> Cursor<'a> {
    /// Has a call take something off. It is lent a copy: a cursor whose address is known elsewhere lies in memory,
    /// all others in registers.
    #[inline]
    pub(super) fn go_on<T>(&mut self, take: impl FnOnce(&mut Self) -> T) -> T {
        let mut lent = Self(self.0);
        let taken = take(&mut lent);
        self.0 = lent.0;
        taken
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, RecordFault> {
        let (byte, rest) = self.0.split_first().ok_or(RecordFault::Cut)?;
        self.0 = rest;
        Ok(*byte)
    }

    /// So many bytes; a negative length is a fault.
    #[inline]
    fn bytes(&mut self, length: i32) -> Result<&'a [u8], RecordFault> {
        let count = usize::try_from(length)
            .ok()
            .ok_or(RecordFault::Length { found: length })?;
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(RecordFault::Cut)?;
        self.0 = rest;
        Ok(bytes)
    }

    /// A length and so many bytes; −1 is null.
    #[inline]
    fn nullable(&mut self) -> Result<Option<&'a [u8]>, RecordFault> {
        match self.varint()? {
            -1 => Ok(None),
            length => self.bytes(length).map(Some),
        }
    }

    /// Walks so many headers; gives the bytes of their names and values.
    fn headers(&mut self, count: usize) -> Result<usize, RecordFault> {
        let mut bytes = 0;
        for _ in 0..count {
            let (name, value) = self.header()?;
            bytes += name.len() + value.map_or(0, <[u8]>::len);
        }
        Ok(bytes)
    }

    fn header(&mut self) -> Result<(&'a str, Option<&'a [u8]>), RecordFault> {
        let length = self.varint()?;
        let name = str::from_utf8(self.bytes(length)?)
            .ok()
            .ok_or(RecordFault::HeaderName)?;
        Ok((name, self.nullable()?))
    }

    /// A zigzag number of at most 32 bits.
    #[inline]
    fn varint(&mut self) -> Result<i32, RecordFault> {
        let zigzag = match self.short() {
            Some(zigzag) => zigzag,
            None => u32::try_from(self.go_on(|rest| rest.groups(u32::BITS))?)
                .ok()
                .ok_or(RecordFault::Varint)?,
        };
        Ok(signed(zigzag))
    }

    /// A zigzag number of at most 64 bits.
    #[inline]
    fn varlong(&mut self) -> Result<i64, RecordFault> {
        let zigzag = match self.short() {
            Some(zigzag) => u64::from(zigzag),
            None => self.go_on(|rest| rest.groups(u64::BITS))?,
        };
        Ok((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed())
    }

    /// A number of one or two groups, as all numbers of small records are.
    #[inline]
    fn short(&mut self) -> Option<u32> {
        let (value, rest) = match *self.0 {
            [byte, ref rest @ ..] if byte < 0x80 => (u32::from(byte), rest),
            [low, high, ref rest @ ..] if high < 0x80 => {
                (u32::from(low & 0x7f) | u32::from(high) << 7, rest)
            }
            _ => return None,
        };
        self.0 = rest;
        Some(value)
    }

    /// Groups of 7 bits, the least significant first, all but the last marked by the high bit.
    #[cold]
    fn groups(&mut self, bits: u32) -> Result<u64, RecordFault> {
        let mut value = 0u64;
        let mut shift = 0;
        loop {
            let byte = self.byte()?;
            let group = u64::from(byte & 0x7f);
            if shift >= bits || (group << shift) >> shift != group {
                return Err(RecordFault::Varint);
            }
            value |= group << shift;
            if byte < 0x80 {
                return Ok(value);
            }
            shift += 7;
        }
    }
}

/// The number that is written as `zigzag`.
#[inline]
pub(super) const fn signed(zigzag: u32) -> i32 {
    (zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed()
}

/// Bytes of the smallest header: an empty name and no value, a length each.
const HEADER_BYTES_MIN: usize = 2;

#[cfg(test)]
mod tests {
    use super::{Cursor, Headers};
    use crate::RecordFault;

    #[test]
    fn headers_that_were_put_aside_go_on_where_they_stood() {
        let bytes = *b"\x02a\x02b\x00\x01\x02c\x00";
        let all = [("a", Some(&b"b"[..])), ("", None), ("c", Some(&b""[..]))];
        let mut headers = Headers::over(&bytes, 3);
        for from in 0..=3 {
            let again = Headers::over(headers.as_bytes(), headers.len());
            assert!(again.eq(all.into_iter().skip(from)));
            assert_eq!(headers.next(), all.get(from).copied());
        }
    }

    #[test]
    fn of_bytes_that_are_no_headers_come_those_that_are() {
        let cut = Headers::over(b"\x02a\x02b\x02", usize::MAX);
        assert_eq!(cut.collect::<Vec<_>>(), [("a", Some(&b"b"[..]))]);
        assert_eq!(Headers::over(b"\x02\xff\x00\x00\x00", 2).count(), 0);
        assert_eq!(Headers::over(b"", 7).size_hint(), (0, Some(0)));
    }

    #[test]
    fn numbers_of_every_length_are_read() {
        let varint = |bytes: &[u8]| Cursor(bytes).varint();
        assert_eq!(varint(&[0]), Ok(0));
        assert_eq!(varint(&[1]), Ok(-1));
        assert_eq!(varint(&[2]), Ok(1));
        assert_eq!(varint(&[0xac, 2]), Ok(150));
        assert_eq!(varint(&[0xfe, 0xff, 0xff, 0xff, 0x0f]), Ok(i32::MAX));
        assert_eq!(varint(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Ok(i32::MIN));
        let longest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        assert_eq!(Cursor(&longest).varlong(), Ok(i64::MIN));
    }

    #[test]
    fn numbers_with_too_many_bits_or_too_few_bytes_are_faults() {
        let varint = |bytes: &[u8]| Cursor(bytes).varint();
        assert_eq!(
            varint(&[0xff, 0xff, 0xff, 0xff, 0x1f]),
            Err(RecordFault::Varint)
        );
        assert_eq!(
            varint(&[0x80, 0x80, 0x80, 0x80, 0x80, 0]),
            Err(RecordFault::Varint)
        );
        assert_eq!(varint(&[0x80]), Err(RecordFault::Cut));
        assert_eq!(varint(&[]), Err(RecordFault::Cut));
        let too_long = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2];
        assert_eq!(Cursor(&too_long).varlong(), Err(RecordFault::Varint));
        assert_eq!(Cursor(&[0x80; 11]).varlong(), Err(RecordFault::Varint));
    }
}
