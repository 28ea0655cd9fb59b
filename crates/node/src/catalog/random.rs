//! Random bytes of the system: ids that no other node gives.

use std::io;

use corelog_protocol::error::ErrorCode;

use crate::failure::{Failure, failure};

/// Those of an id.
///
/// # Errors
/// `Busy` if the system gives none.
pub(super) fn random_bytes() -> Result<[u8; 16], Failure> {
    let none = |error| format!("the system gives no random bytes: {error}");
    random().map_err(|error| failure(ErrorCode::Busy, none(error)))
}

/// The same, for who has a path to tell.
///
/// # Errors
/// What the system said.
pub(super) fn random() -> Result<[u8; 16], io::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes)
}
