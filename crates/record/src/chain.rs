//! The chain: a running hash over the stored headers of all batches of a log.
//!
//! ```text
//! seed     = XXH3-64(history id, 16 bytes)
//! chain[n] = XXH3-64(chain[n-1], u64 little-endian ‖ stored header of batch n, 61 bytes)
//! ```
//!
//! Base offset, length and epoch lie outside a batch's own CRC, the header holds the payload's CRC:
//! so two logs are equal up to an offset exactly if their chains there are.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::HistoryId;
use crate::batch::HEADER_BYTES;

/// The chain's value at some place of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Chain(u64);

impl Chain {
    /// The chain of a log before its first batch.
    pub fn seed(history: HistoryId) -> Self {
        Self(xxh3_64(history.as_bytes()))
    }

    /// The chain after the batch with this header, as stored: base offset and epoch patched.
    #[must_use]
    pub fn extend(self, header: &[u8; HEADER_BYTES]) -> Self {
        let mut input = [0; size_of::<u64>() + HEADER_BYTES];
        let (chain, rest) = input.split_at_mut(size_of::<u64>());
        chain.copy_from_slice(&self.0.to_le_bytes());
        rest.copy_from_slice(header);
        Self(xxh3_64(&input))
    }

    /// The value as a number, for formats that store it.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// A value read back from a format that stores it.
    pub const fn from_raw(value: u64) -> Self {
        Self(value)
    }
}

impl std::fmt::Display for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Chain;
    use crate::HistoryId;

    #[test]
    fn a_chain_depends_on_its_history_and_on_every_header_byte() {
        let seed = Chain::seed(HistoryId::from_bytes([1; 16]));
        assert_ne!(seed, Chain::seed(HistoryId::from_bytes([2; 16])));
        let plain = seed.extend(&[0; 61]);
        for at in 0..61 {
            let mut header = [0; 61];
            header[at] = 1;
            assert_ne!(seed.extend(&header), plain);
        }
    }

    /// Stored in index rows, marks and manifests: these values are format, not chance.
    #[test]
    fn the_chain_is_what_it_has_always_been() {
        let seed = Chain::seed(HistoryId::from_bytes([0; 16]));
        assert_eq!(seed.to_string(), "d0a66a65c7528968");
        assert_eq!(seed.extend(&[0; 61]).to_string(), "f70e29528b7c92b9");
    }
}
