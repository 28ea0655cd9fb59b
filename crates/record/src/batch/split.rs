//! Finding the batches in a run of bytes by their length fields.

#![deny(clippy::indexing_slicing)]

use super::Header;
use crate::Error;

/// Splits `bytes` into its first batch and what follows, by the batch's length field; `None` if there
/// are no bytes. The batch is not checked.
///
/// # Errors
/// [`Error::Cut`] if the bytes end before the batch does; [`Error::Length`], [`Error::Magic`] if no
/// batch begins here.
#[expect(
    clippy::type_complexity,
    reason = "a pair of slices is as plain as it gets"
)]
pub fn split_first(bytes: &[u8]) -> Result<Option<(&[u8], &[u8])>, Error> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let needed = Header::parse(bytes)?.total_bytes();
    let cut = Error::Cut {
        needed,
        available: bytes.len(),
    };
    bytes.split_at_checked(needed).map(Some).ok_or(cut)
}

/// The batches of a run of bytes in order, unchecked; after an error it ends.
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    rest: &'a [u8],
}

impl<'a> Batches<'a> {
    /// The batches of these bytes.
    pub const fn over(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<&'a [u8], Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match split_first(std::mem::take(&mut self.rest)).transpose()? {
            Ok((batch, rest)) => {
                self.rest = rest;
                Some(Ok(batch))
            }
            Err(error) => Some(Err(error)),
        }
    }
}
