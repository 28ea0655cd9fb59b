//! Heads: MessagePack maps with short string keys.
//!
//! Lives here: reading and writing heads as `serde` values. Never here: records or batches, which
//! are hand-laid binary. The law: a head's shape is checked before anything is built, so a
//! declared length never allocates more than the bytes that are really there justify.

mod shape;
mod strict;

use std::str::Utf8Error;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use self::strict::Strict;
use crate::frame::FrameError;

/// Why a head is not what its kind asks for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// The head ends before its values do.
    #[error("head is cut short at byte {position}")]
    Truncated {
        /// Byte of the head, counted from 0.
        position: usize,
    },
    /// There are bytes behind the map.
    #[error("head has {bytes} bytes behind its map")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// The head is not a map.
    #[error("head is not a map but begins with {marker:#04x}")]
    NotAMap {
        /// The first byte.
        marker: u8,
    },
    /// Arrays and maps are nested deeper than any head of ours.
    #[error("head is nested deeper than {depth_max}")]
    TooDeep {
        /// The limit.
        depth_max: usize,
    },
    /// A byte that begins no value allowed in a head (extension types are not).
    #[error("byte {marker:#04x} at {position} begins no value allowed in a head")]
    Marker {
        /// The byte.
        marker: u8,
        /// Byte of the head, counted from 0.
        position: usize,
    },
    /// A string is not UTF-8.
    #[error("the string at byte {position} is not UTF-8")]
    Text {
        /// Byte of the head, counted from 0, behind its length.
        position: usize,
        /// Where it is not.
        #[source]
        source: Utf8Error,
    },
    /// A key is missing that has no default, or a value is of the wrong type or range.
    #[error("head does not fit its kind")]
    Value {
        /// What the decoder says.
        #[from]
        source: rmp_serde::decode::Error,
    },
}

/// Reads a head.
///
/// # Errors
/// [`HeadError`]: malformed, nested too deeply, a required key missing, a value of a wrong type.
pub fn decode<T: DeserializeOwned>(head: &[u8]) -> Result<T, HeadError> {
    decode_borrowed(head)
}

/// Reads a head whose strings stay in its bytes.
pub(crate) fn decode_borrowed<'a, T: Deserialize<'a>>(head: &'a [u8]) -> Result<T, HeadError> {
    shape::check(head)?;
    let mut decoder = rmp_serde::Deserializer::from_read_ref(head);
    Ok(T::deserialize(Strict(&mut decoder))?)
}

/// Appends a head to `out`.
///
/// # Errors
/// [`FrameError::Encode`] if `value` has no MessagePack form, which no message of this crate lacks.
pub(crate) fn encode<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), FrameError> {
    let mut serializer = rmp_serde::Serializer::new(out).with_struct_map();
    value
        .serialize(&mut serializer)
        .map_err(|source| FrameError::Encode { source })
}
