//! Ids of 16 bytes: nodes, topics, histories, copies, lineages.
//!
//! They read and write as 32 hex digits for people, and as 16 raw bytes in binary formats.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::PartitionId;

/// A text or a run of bytes that is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// Not 32 characters (as text), or not 16 bytes.
    #[error("an id has 32 hex digits (16 bytes), found {found}")]
    Length {
        /// Characters or bytes found.
        found: usize,
    },
    /// A character that is no hex digit.
    #[error("an id is written in hex digits, found {found:?}")]
    Digit {
        /// The character found.
        found: char,
    },
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// The id of these bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The id's bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                from_hex(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    serializer.serialize_bytes(&self.0)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    deserializer.deserialize_str(Hex).map(Self)
                } else {
                    deserializer.deserialize_bytes(Bytes).map(Self)
                }
            }
        }
    };
}

id!(
    /// Names a node; drawn at random when its data directory is made.
    NodeId
);
id!(
    /// Names a topic; drawn at random when it is created, so a recreated topic is another one.
    TopicId
);
id!(
    /// Names a partition's log; shared by all its replicas.
    HistoryId
);
id!(
    /// Names one replica's files.
    CopyId
);
id!(
    /// Names one epoch's owner; settles ties between equal epochs.
    Lineage
);

impl HistoryId {
    /// The history id of a new partition: XXH3-128 of the topic id followed by the partition number
    /// (u32, little-endian), its 16 bytes little-endian.
    pub fn of(topic: TopicId, partition: PartitionId) -> Self {
        let mut input = [0; 20];
        let (id, number) = input.split_at_mut(16);
        id.copy_from_slice(topic.as_bytes());
        number.copy_from_slice(&partition.get().to_le_bytes());
        Self(xxhash_rust::xxh3::xxh3_128(&input).to_le_bytes())
    }
}

fn from_hex(text: &str) -> Result<[u8; 16], IdError> {
    let digits = text.chars().count();
    if digits != 32 {
        return Err(IdError::Length { found: digits });
    }
    let mut id = [0; 16];
    for (index, found) in text.chars().enumerate() {
        let digit = found.to_digit(16).ok_or(IdError::Digit { found })?;
        let byte = &mut id[index / 2];
        *byte = *byte << 4 | u8::try_from(digit).unwrap_or_default();
    }
    Ok(id)
}

/// An id as people see it.
struct Hex;

impl de::Visitor<'_> for Hex {
    type Value = [u8; 16];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an id: 32 hex digits")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<[u8; 16], E> {
        from_hex(text).map_err(E::custom)
    }
}

/// An id in a binary format.
struct Bytes;

impl<'de> de::Visitor<'de> for Bytes {
    type Value = [u8; 16];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an id: a binary of 16 bytes")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<[u8; 16], E> {
        bytes
            .try_into()
            .ok()
            .ok_or_else(|| E::custom(IdError::Length { found: bytes.len() }))
    }

    /// Formats without a byte type write bytes as a sequence of numbers.
    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<[u8; 16], A::Error> {
        let mut id = [0; 16];
        for (index, byte) in id.iter_mut().enumerate() {
            *byte = seq
                .next_element()?
                .ok_or_else(|| de::Error::custom(IdError::Length { found: index }))?;
        }
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::{HistoryId, IdError, TopicId};
    use crate::PartitionId;

    #[test]
    fn an_id_reads_back_as_it_was_written() {
        let id = TopicId::from_bytes([0xa5, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xff]);
        assert_eq!(id.to_string(), "a50102030405060708090a0b0c0d0eff");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().to_uppercase().parse(), Ok(id));
    }

    #[test]
    fn what_is_no_id_says_why() {
        assert_eq!("a5".parse::<TopicId>(), Err(IdError::Length { found: 2 }));
        let text = "g".repeat(32);
        assert_eq!(text.parse::<TopicId>(), Err(IdError::Digit { found: 'g' }));
        assert_eq!(
            "é".repeat(16).parse::<TopicId>(),
            Err(IdError::Length { found: 16 })
        );
    }

    #[test]
    fn partitions_and_topics_have_histories_of_their_own() {
        let topic = TopicId::from_bytes([7; 16]);
        let first = HistoryId::of(topic, PartitionId::new(0));
        assert_eq!(first, HistoryId::of(topic, PartitionId::new(0)));
        assert_ne!(first, HistoryId::of(topic, PartitionId::new(1)));
        assert_ne!(
            first,
            HistoryId::of(TopicId::from_bytes([8; 16]), PartitionId::new(0))
        );
    }
}
