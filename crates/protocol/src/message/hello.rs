//! Hello: the first frame of every connection.

use corelog_record::{CoreId, NodeId};
use serde::{Deserialize, Serialize};

use super::bounded;
use crate::limits;

super::call!(Hello);

/// What the client speaks and is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The frame versions that the client speaks.
    pub versions: Vec<u8>,
    /// The client's name for log lines, at most 256 bytes; default empty.
    #[serde(default)]
    pub client: String,
}

impl Request {
    /// The client's name, cut at a character's boundary to what goes into a log line.
    #[must_use]
    pub fn client_name(&self) -> &str {
        let end = self
            .client
            .floor_char_boundary(limits::CLIENT_NAME_BYTES_MAX as usize);
        self.client.get(..end).unwrap_or_default()
    }
}

/// Who the server is, what it allows and where its cores listen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The highest version that both speak; every later frame has it.
    pub version: u8,
    /// The node.
    pub node: NodeId,
    /// The core that serves this connection.
    pub core: CoreId,
    /// The advertised address, `host:port`, of each core's own port; index = core. Default empty.
    #[serde(
        default,
        deserialize_with = "bounded::list::<{ bounded::CORES }, _, _>"
    )]
    pub cores: Vec<String>,
    /// The advertised address of the port that all cores share; default empty.
    #[serde(default)]
    pub shared: String,
    /// What this server allows.
    #[serde(default)]
    pub limits: Limits,
    /// The authentication methods that the server accepts; default `["none"]`.
    #[serde(
        default = "auth_default",
        deserialize_with = "bounded::list::<{ bounded::AUTH }, _, _>"
    )]
    pub auth: Vec<String>,
    /// The server's name and version, for people; default empty.
    #[serde(default)]
    pub software: String,
}

/// A server's limits, where it has set them; the defaults are those of [`crate::limits`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// See [`limits::FRAME_BYTES_MAX`].
    pub frame_bytes_max: u32,
    /// See [`limits::BATCH_BYTES_MAX`].
    pub batch_bytes_max: u32,
    /// See [`limits::RECORD_BYTES_MAX`].
    pub record_bytes_max: u32,
    /// See [`limits::IN_FLIGHT_REQUEST_COUNT_MAX`].
    pub in_flight_requests_max: u32,
    /// See [`limits::IN_FLIGHT_BYTES_MAX`].
    pub in_flight_bytes_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes_max: limits::FRAME_BYTES_MAX,
            batch_bytes_max: limits::BATCH_BYTES_MAX,
            record_bytes_max: limits::RECORD_BYTES_MAX,
            in_flight_requests_max: limits::IN_FLIGHT_REQUEST_COUNT_MAX,
            in_flight_bytes_max: limits::IN_FLIGHT_BYTES_MAX,
        }
    }
}

/// The method of a server that asks for no proof.
pub const AUTH_NONE: &str = "none";

fn auth_default() -> Vec<String> {
    vec![AUTH_NONE.to_owned()]
}
