//! Sizes in bytes, written with binary units.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, de};

/// A number of bytes; reads and writes as `128MiB`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ByteSize(u64);

/// What is wrong with a size in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ByteSizeError {
    /// No number, or something that is none, before the unit.
    #[error("`{text}` is no size: write a whole number and B, KiB, MiB, GiB or TiB, as in 128MiB")]
    Malformed {
        /// The whole text.
        text: String,
    },
    /// More bytes than 64 bits hold.
    #[error("size `{text}` is beyond {max} bytes", max = u64::MAX)]
    TooLarge {
        /// The whole text.
        text: String,
    },
}

const UNITS: [(&str, u32); 5] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];

impl ByteSize {
    /// This many bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// This many KiB.
    pub const fn from_kib(count: u32) -> Self {
        Self((count as u64) << 10)
    }

    /// This many MiB.
    pub const fn from_mib(count: u32) -> Self {
        Self((count as u64) << 20)
    }

    /// This many GiB.
    pub const fn from_gib(count: u32) -> Self {
        Self((count as u64) << 30)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

/// Writes the largest unit that leaves a whole number, so the text reads back as the same size.
impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |&&(_, shift): &&(&str, u32)| (self.0 >> shift) << shift == self.0;
        let (unit, shift) = UNITS
            .iter()
            .find(whole)
            .filter(|_| self.0 > 0)
            .unwrap_or(&("B", 0));
        f.pad(&format!("{}{unit}", self.0 >> shift))
    }
}

impl FromStr for ByteSize {
    type Err = ByteSizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || ByteSizeError::Malformed {
            text: text.to_owned(),
        };
        let too_large = || ByteSizeError::TooLarge {
            text: text.to_owned(),
        };
        let trimmed = text.trim();
        let digits = trimmed.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit = trimmed
            .strip_prefix(digits)
            .unwrap_or_default()
            .trim_start();
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(malformed());
        }
        let shift = match UNITS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(unit))
        {
            Some((_, shift)) => *shift,
            None if unit.is_empty() => 0,
            None => return Err(malformed()),
        };
        let count: u64 = digits.parse().ok().ok_or_else(too_large)?;
        count
            .checked_mul(1 << shift)
            .map(Self)
            .ok_or_else(too_large)
    }
}

/// A number of bytes anywhere; in formats for people (TOML, JSON) also a text such as `128MiB`.
impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = ByteSize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of bytes, or a size such as `128MiB`")
            }

            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<ByteSize, E> {
                Ok(ByteSize(bytes))
            }

            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<ByteSize, E> {
                u64::try_from(bytes).map(ByteSize).map_err(E::custom)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteSize, E> {
                text.parse().map_err(E::custom)
            }
        }
        if deserializer.is_human_readable() {
            deserializer.deserialize_any(Visitor)
        } else {
            deserializer.deserialize_u64(Visitor)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ByteSize, ByteSizeError};

    #[test]
    fn a_size_reads_back_as_it_was_written() {
        for bytes in [0, 1, 1023, 1024, 1025, 128 << 20, 1 << 40, u64::MAX] {
            let size = ByteSize::from_bytes(bytes);
            assert_eq!(size.to_string().parse(), Ok(size));
        }
        assert_eq!(ByteSize::from_mib(128).to_string(), "128MiB");
    }

    #[test]
    fn a_size_without_a_unit_is_bytes_and_case_does_not_matter() {
        assert_eq!("4096".parse(), Ok(ByteSize::from_kib(4)));
        assert_eq!(" 2 gib ".parse(), Ok(ByteSize::from_gib(2)));
    }

    #[test]
    fn what_is_no_size_says_so() {
        for text in ["", "MiB", "-1", "1.5MiB", "1MB", "1 2B", "0x10"] {
            assert!(
                matches!(
                    text.parse::<ByteSize>(),
                    Err(ByteSizeError::Malformed { .. })
                ),
                "{text}"
            );
        }
        for text in ["18446744073709551616", "16777216TiB"] {
            assert!(matches!(
                text.parse::<ByteSize>(),
                Err(ByteSizeError::TooLarge { .. })
            ));
        }
    }
}
