//! Steps in a directory: what they fail with, told as an error of this crate.
//!
//! What takes a name or space may find a full disk, which is a state and no failure. Who cannot go back any more has
//! it [for good](Error::for_good).

use std::io::ErrorKind;
use std::rc::Rc;

use crate::disk::{Dir, Entry, File, Open, Space, round_up};
use crate::error::{At, Error};

/// Makes `dir` in the one above it, unless it is there.
pub(crate) async fn create<D: Dir>(dir: &D) -> Result<(), Error> {
    let created = dir.create().await;
    created.map_err(|e| At::dir(dir).space("create", e))
}

/// Makes `dir` and those above it, where they are an operator's to name.
pub(crate) async fn create_all<D: Dir>(dir: &D) -> Result<(), Error> {
    let created = dir.create_all().await;
    created.map_err(|e| At::dir(dir).space("create", e))
}

/// What is in `dir`, by name. One that does not exist is empty.
pub(crate) async fn list<D: Dir>(dir: &D) -> Result<Vec<Entry>, Error> {
    match list_known(dir).await {
        Err(error) if error.is_missing() => Ok(Vec::new()),
        listed => listed,
    }
}

/// What is in `dir`, of which a file was read before: if it is gone, so is not what was in it.
pub(crate) async fn list_known<D: Dir>(dir: &D) -> Result<Vec<Entry>, Error> {
    let listed = dir.list().await;
    listed.map_err(|e| At::dir(dir).io("list", e))
}

/// Makes the file `name` of `dir`, with room for `bytes` bytes. A full disk shows here.
pub(crate) async fn make<D: Dir>(dir: &D, name: &str, bytes: u64) -> Result<Rc<D::File>, Error> {
    let at = || At::new(dir, name);
    let made = dir.open(name, Open::Create).await;
    let file = Rc::new(made.map_err(|e| at().space("create", e))?);
    let prepared = file.allocate(0..round_up(bytes), Space::Reserved).await;
    prepared.map_err(|e| at().space("prepare", e))?;
    Ok(file)
}

/// Gives the file `from` of `dir` the name `to`.
pub(crate) async fn rename<D: Dir>(dir: &D, from: &str, to: &str) -> Result<(), Error> {
    let renamed = dir.rename(from, dir, to).await;
    renamed.map_err(|e| At::new(dir, from).space("rename", e))
}

/// Writes the file `name` of `dir`, durably, in the place of any there is: it appears whole or not at all.
pub(crate) async fn write<D: Dir>(dir: &D, name: &str, bytes: &[u8]) -> Result<(), Error> {
    let written = dir.write_aside(name, bytes).await;
    written.map_err(|e| At::new(dir, name).space("write", e))
}

/// Writes a file that is a hint, and may be missing: whether the disk had room for it.
pub(crate) async fn write_hint<D: Dir>(dir: &D, name: &str, bytes: &[u8]) -> Result<bool, Error> {
    match write(dir, name, bytes).await {
        Err(Error::StorageFull { .. }) => Ok(false),
        written => written.map(|()| true),
    }
}

/// Removes the file `name` of `dir`, if it is there.
pub(crate) async fn remove<D: Dir>(dir: &D, name: &str) -> Result<(), Error> {
    match dir.remove(name).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(|e| At::new(dir, name).io("remove", e)),
    }
}

/// Makes durable which files `dir` has.
pub(crate) async fn sync<D: Dir>(dir: &D) -> Result<(), Error> {
    dir.sync().await.map_err(|e| At::dir(dir).io("sync", e))
}
