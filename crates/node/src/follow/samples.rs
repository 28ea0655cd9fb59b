//! What a source tells of its segments, for tests.

use corelog_protocol::message::segments::{Digest, DigestKind, Sealed};
use corelog_record::{Chain, Offset, Ordinal, Timestamp};

/// A sealed segment of one batch, of records from `base` to `last`.
pub(crate) fn sealed(base: u64, last: u64, bytes: u64) -> Sealed {
    let offset = |number| Offset::new(number).unwrap();
    Sealed {
        base: offset(base),
        generation: 0,
        digest: Digest {
            kind: DigestKind::Original,
            first: offset(base),
            last: offset(last),
            first_ordinal: Ordinal::ZERO,
            last_ordinal: Ordinal::ZERO,
            bytes,
            batches: 1,
            chain_base: Chain::from_raw(1),
            chain_end: Chain::from_raw(1),
            hash: None,
        },
        max_timestamp: Timestamp::ZERO,
        sealed_at: Timestamp::ZERO,
    }
}
