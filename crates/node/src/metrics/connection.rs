//! One client connection, as its core tells it.

use std::net::SocketAddr;

use corelog_record::{CoreId, Timestamp};

/// One open client connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionSnapshot {
    /// The core that serves it.
    pub core: CoreId,
    /// Its number on that core.
    pub id: u64,
    /// Where the client is.
    pub peer: SocketAddr,
    /// What the client calls itself; empty if it said nothing, or no Hello yet.
    pub client: String,
    /// When it was accepted.
    pub since: Timestamp,
    /// Bytes received over it.
    pub received_bytes: u64,
    /// Bytes sent over it, but for files of segments.
    pub sent_bytes: u64,
    /// Requests that wait for their answer, parked fetches included.
    pub in_flight: usize,
}
