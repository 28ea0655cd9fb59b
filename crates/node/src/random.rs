//! Random bytes of the system: ids that no other node gives, and seeds.

use std::io;

use corelog_protocol::error::ErrorCode;

use crate::failure::{Failure, failure};

/// Those of an id.
///
/// # Errors
/// `Busy` if the system gives none.
pub(crate) fn random_bytes() -> Result<[u8; 16], Failure> {
    let none = |error| format!("the system gives no random bytes: {error}");
    random().map_err(|error| failure(ErrorCode::Busy, none(error)))
}

/// So many, for who has another error to tell.
///
/// # Errors
/// What the system said.
pub(crate) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes)
}
