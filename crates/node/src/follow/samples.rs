//! Other nodes, and what they tell, for tests.

use std::sync::Arc;

use corelog_protocol::frame;
use corelog_protocol::message::segments::{Digest, DigestKind, Sealed};
use corelog_protocol::message::{fetch, hello};
use corelog_record::{Chain, CopyId, CoreId, NodeId, Offset, Ordinal, Timestamp};
use corelog_storage::format::replica::{Peer, Replica, Role};

use super::followers::Follower;
use super::target::Target;
use crate::core::Core;
use crate::core::tests::topic;
use crate::rt;

/// Says Hello, and nothing of itself.
pub(crate) fn greeting() -> hello::Answer {
    hello::Answer {
        version: frame::VERSION,
        node: NodeId::from_bytes([1; 16]),
        core: CoreId::new(0),
        cores: Vec::new(),
        shared: String::new(),
        limits: hello::Limits::default(),
        auth: Vec::new(),
        software: String::new(),
    }
}

/// What a Fetch finds in a log without records.
pub(crate) fn found_nothing() -> fetch::Answer {
    fetch::Answer {
        log_start: Offset::ZERO,
        high_watermark: Offset::ZERO,
        segment_base: Offset::ZERO,
        next: Offset::ZERO,
        epochs: Vec::new(),
        lag_bytes: 0,
    }
}

/// Who follows, by its number.
pub(crate) fn peer(number: u8) -> Peer {
    Peer {
        node: NodeId::from_bytes([number; 16]),
        copy: CopyId::from_bytes([number; 16]),
        address: format!("127.0.0.1:{number}"),
    }
}

/// That node, as one that owns a partition.
pub(super) fn owner(number: u8) -> Target {
    let Peer { node, address, .. } = peer(number);
    Target { node, address }
}

/// Has a core be of this role to the partition of its first topic, with such a follower.
pub(super) fn followed(core: &Core, role: Role, by: Peer) -> Replica {
    let (topic, key) = topic(1);
    let mut topic = Arc::unwrap_or_clone(topic);
    let replica = Replica {
        role,
        followers: vec![by],
        ..Replica::owner(key.partition)
    };
    topic.replicas.insert(key.partition, replica.clone());
    core.routes.borrow_mut().put(topic.into());
    replica
}

/// As a follower that has nothing yet.
pub(super) fn heard(peer: &Peer) -> Follower {
    Follower {
        copy: peer.copy,
        node: Some(peer.node),
        address: Some(peer.address.clone()),
        end: Offset::ZERO,
        at: rt::now(),
        told: None,
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
