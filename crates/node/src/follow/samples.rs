//! Other nodes, and what they tell, for tests.

use corelog_protocol::message::segments::{Digest, DigestKind, Sealed};
use corelog_record::{Chain, CopyId, NodeId, Offset, Ordinal, Timestamp};
use corelog_storage::format::replica::Peer;

use super::followers::Follower;
use crate::rt;

/// Who follows, by its number.
pub(crate) fn peer(number: u8) -> Peer {
    Peer {
        node: NodeId::from_bytes([number; 16]),
        copy: CopyId::from_bytes([number; 16]),
        address: format!("127.0.0.1:{number}"),
    }
}

/// As a follower that has nothing yet.
pub(super) fn heard(peer: &Peer) -> Follower {
    Follower {
        copy: peer.copy,
        node: Some(peer.node),
        address: Some(peer.address.clone()),
        end: Offset::ZERO,
        at: rt::now(),
        is_claiming: false,
    }
}

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
