//! Authenticate: reserved. A server of this version answers `NotSupported`.

use serde::{Deserialize, Serialize};

super::call!(Authenticate);

/// Proof of who the client is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// One of the methods of the Hello answer.
    pub method: String,
    /// The method's own bytes; default empty.
    #[serde(default, with = "serde_bytes")]
    pub token: Vec<u8>,
}

/// The server's side of the exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Answer {
    /// True once the client is known; default false, more frames of this kind are to come.
    pub done: bool,
    /// The method's own bytes; default empty.
    #[serde(with = "serde_bytes")]
    pub token: Vec<u8>,
}
