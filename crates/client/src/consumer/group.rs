//! Partitions of a consumer that share connections.
//!
//! The law: a poll waits at the server, never here for others to be answered. A partition has one request at a time on a
//! connection; the last one of a partition that is not read any more stays at the server, and counts, until it is answered.
//! One that was not answered in time stays there, too, perhaps for ever: until it is answered, or that connection ends, the partition
//! goes on by one of its own.

use std::sync::{Arc, Weak};

use corelog_protocol::limits;

use crate::client::Tenant;
use crate::connection::Claim;

/// Some partitions, and as whom they are read.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) tenant: Tenant,
    /// Those of its partitions, and of partitions that were, until their last requests are answered.
    claims: Vec<Weak<()>>,
}

impl Group {
    pub(super) const fn new(tenant: Tenant) -> Self {
        let claims = Vec::new();
        Self { tenant, claims }
    }

    /// True if another partition may join these that are read.
    pub(super) fn has_room(&mut self, partition_count: usize) -> bool {
        self.claims.retain(|claim| claim.strong_count() > 0);
        partition_count < PARTITION_COUNT_MAX && self.claims.len() < CLAIM_COUNT_MAX
    }

    /// What another partition's reader and requests hold.
    pub(super) fn claim(&mut self) -> Claim {
        let claim = Claim::default();
        self.claims.push(Arc::downgrade(&claim));
        claim
    }
}

/// Each is to one of the requests that a connection may have in flight.
const CLAIM_COUNT_MAX: usize = limits::IN_FLIGHT_REQUEST_COUNT_MAX as usize;

/// The other half is for the last polls of partitions that are assigned again.
const PARTITION_COUNT_MAX: usize = CLAIM_COUNT_MAX / 2;
