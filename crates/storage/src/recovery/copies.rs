//! Copies of a store: whether one is what it was made of.

use std::io::ErrorKind;
use std::ops::Range;
use std::rc::Rc;

use super::settle::{self, Kept, PIECE_BYTES, READS_MAX, read};
use crate::Error;
use crate::disk::Dir;
use crate::store::Store;

/// Makes sure that `copy` begins with the first `bytes` bytes of `store`, and that the batches which are `kept` of that are
/// sound in it: where the store is read otherwise than when they were found, the copy may well be equal to it.
///
/// # Errors
/// [`Error::Damaged`] if a batch is not sound any more; an error of `copy` if that is not equal; any error of reading them;
/// [`Error::CalledOff`].
pub(super) async fn verify<D: Dir>(
    store: &Store<D>,
    copy: &Rc<Store<D>>,
    bytes: u64,
    kept: &Kept,
) -> Result<(), Error> {
    match is_copied(store, &(0..bytes), copy).await? {
        true => settle::verify(copy, kept).await,
        false => Err(copy.at().io("verify", ErrorKind::InvalidData.into())),
    }
}

/// Whether all of `copy` is what lies in `range` of `store`.
///
/// # Errors
/// Any error of reading them.
pub(super) async fn is_copied<D: Dir>(
    store: &Store<D>,
    range: &Range<u64>,
    copy: &Store<D>,
) -> Result<bool, Error> {
    let (file, copied) = (store.file().await?, copy.file().await?);
    let mut start = range.start;
    while start < range.end {
        let piece = start..range.end.min(start + PIECE_BYTES);
        start = piece.end;
        let place = piece.start - range.start..piece.end - range.start;
        // A byte may turn over on its way.
        for attempt in 1.. {
            let expected = read(store, &*file, piece.clone()).await?;
            let found = read(copy, &*copied, place.clone()).await?;
            if expected.as_ref() == found.as_ref() {
                break;
            }
            if attempt == READS_MAX {
                return Ok(false);
            }
        }
    }
    Ok(true)
}
