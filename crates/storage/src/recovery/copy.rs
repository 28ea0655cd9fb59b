//! The copy of a store that cannot be written in place.

use std::rc::Rc;

use super::settle::verify_copy;
use crate::Error;
use crate::disk::Dir;
use crate::format::edit::{Edit, Generation};
use crate::log::CallOff;
use crate::manifest::Manifest;
use crate::segment::name;
use crate::steps;
use crate::store::{Store, copy};

/// Copies the first `bytes` bytes of `store` to the file of its `next` generation, which the manifest names once the copy is
/// verified. The old file stays where it is.
///
/// # Errors
/// [`Error::StorageFull`]; any error of the disk; [`Error::CalledOff`]. Unless the manifest is in doubt then, nothing is left
/// of the copy: the next opening would move it to quarantine, and on a disk with room for one find none for another.
pub(super) async fn renewed<D: Dir>(
    dir: &D,
    store: &Store<D>,
    bytes: u64,
    next: Generation,
    manifest: &mut Manifest<D>,
    call_off: &CallOff,
) -> Result<Rc<Store<D>>, Error> {
    let (name, check) = (name::store(next.base, next.generation), || call_off.check());
    let made = copy(dir, store, name, bytes, &check).await?;
    let verified = call_off.unless_called(verify_copy(store, &made, bytes));
    let mut renewed = verified.await;
    if renewed.is_ok() {
        renewed = manifest.append(&Edit::Generation(next)).await.map(drop);
    }
    if renewed.is_err() && !manifest.is_in_doubt() {
        made.close().await?;
        steps::remove(dir, made.name()).await?;
    }
    renewed.map(|()| made)
}
