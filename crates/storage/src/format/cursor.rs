//! Reading and writing fixed-width little-endian fields, one after the other.

use corelog_record::{Offset, Ordinal, Position};

use super::Error;

/// Takes fields off the front of some bytes.
pub(super) struct Reader<'a> {
    what: &'static str,
    whole: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `bytes`; `what` names them in errors.
    pub(super) fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self {
            what,
            whole: bytes,
            rest: bytes,
        }
    }

    /// Reads the first `len` of `bytes`, of which the last 4 are the CRC-32 of the others: checks
    /// that, and leaves the others to be read.
    pub(super) fn checked(what: &'static str, bytes: &'a [u8], len: usize) -> Result<Self, Error> {
        let too_short = Error::TooShort {
            what,
            needed: len,
            found: bytes.len(),
        };
        let Some((rest, crc)) = bytes.get(..len).and_then(<[u8]>::split_last_chunk) else {
            return Err(too_short);
        };
        let expected = crc32fast::hash(rest);
        let found = u32::from_le_bytes(*crc);
        if expected != found {
            return Err(Error::Checksum {
                what,
                expected,
                found,
            });
        }
        Ok(Self {
            what,
            whole: rest,
            rest,
        })
    }

    /// The body that all that is left holds: its length, in the field `field`, a checksum over all but that, and itself.
    pub(super) fn body(mut self, field: &'static str, bytes_max: usize) -> Result<&'a [u8], Error> {
        let what = self.what;
        let body_bytes = self.u32()?;
        let (header, _) = self.whole.split_at(self.whole.len() - self.rest.len());
        let crc = self.u32()?;
        let body = self.rest;
        if body.len() > bytes_max {
            return Err(Error::TooLong {
                what,
                max: bytes_max,
                found: body.len(),
            });
        }
        if u64::try_from(body.len()).ok() != Some(body_bytes.into()) {
            return Err(Error::field(what, field, body_bytes.into()));
        }
        let expected = checksum(header, body);
        match expected == crc {
            true => Ok(body),
            false => Err(Error::Checksum {
                what,
                expected,
                found: crc,
            }),
        }
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let Some((field, rest)) = self.rest.split_first_chunk() else {
            let needed = self.whole.len() - self.rest.len() + N;
            return Err(Error::TooShort {
                what: self.what,
                needed,
                found: self.whole.len(),
            });
        };
        self.rest = rest;
        Ok(*field)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Error> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, Error> {
        self.array().map(i64::from_le_bytes)
    }

    pub(super) fn offset(&mut self, field: &'static str) -> Result<Offset, Error> {
        self.number(field, Offset::new)
    }

    pub(super) fn ordinal(&mut self, field: &'static str) -> Result<Ordinal, Error> {
        self.number(field, Ordinal::new)
    }

    pub(super) fn position(&mut self, field: &'static str) -> Result<Position, Error> {
        self.number(field, Position::new)
    }

    fn number<T>(&mut self, field: &'static str, of: fn(u64) -> Option<T>) -> Result<T, Error> {
        let (what, found) = (self.what, self.u64()?);
        of(found).ok_or(Error::field(what, field, found))
    }
}

/// Puts fields one after the other.
#[derive(Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(super) fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(super) fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(super) fn i64(&mut self, value: i64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Fills with zeros up to `len` bytes, which there are not more of yet.
    pub(super) fn zeros_to(&mut self, len: usize) -> &mut Self {
        assert!(
            self.0.len() <= len,
            "{} bytes do not fit into {len}",
            self.0.len()
        );
        self.0.resize(len, 0);
        self
    }

    /// Appends the CRC-32 of all bytes so far.
    pub(super) fn crc(&mut self) -> &mut Self {
        let crc = crc32fast::hash(&self.0);
        self.u32(crc)
    }

    /// Appends the length of `body`, which is less than 2^32, the CRC-32 of all bytes so far and those of `body`, and that.
    pub(super) fn body(&mut self, body: &[u8]) -> &mut Self {
        #[expect(clippy::cast_possible_truncation, reason = "within its limit")]
        self.u32(body.len() as u32);
        let crc = checksum(&self.0, body);
        self.u32(crc).bytes(body)
    }

    pub(super) fn take(&mut self) -> Vec<u8> {
        ::std::mem::take(&mut self.0)
    }
}

/// The CRC-32 over a header, but for where it stands there, and the `body` behind it.
pub(crate) fn checksum(header: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    hasher.update(body);
    hasher.finalize()
}
