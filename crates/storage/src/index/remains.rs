//! What can be had of an index file that is wrong, or of which the disk does not give all.

use std::io::ErrorKind;
use std::rc::Rc;

use super::whole::Whole;
use crate::Error;
use crate::disk::unread::{Around, read_around};
use crate::disk::{Dir, File, Open};
use crate::error::At;
use crate::format::index::{BYTES_MAX, Row};

/// The sound rows of the file `name`, if it is that of the segment: none if it is not, or not there. And why the disk did not
/// give all of them, if it did not.
///
/// # Errors
/// Any error of opening and reading it, but for bytes that the disk does not give.
pub(super) async fn sound_rows<D: Dir>(
    dir: &D,
    name: &str,
    whole: &Whole,
) -> Result<(Vec<Row>, Option<Error>), Error> {
    let at = || At::new(dir, name);
    let file = match dir.open(name, Open::Read).await {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok((Vec::new(), None)),
        opened => Rc::new(opened.map_err(|error| at().io("open", error))?),
    };
    let around = around::<D>(&file, &at).await;
    let closed = file.close().await;
    let Around { bytes, unread } = around?;
    closed.map_err(|error| at().io("close", error))?;
    let is_ours = whole.is_ours(&bytes);
    let rows = whole.sound_rows(&bytes);
    let unread = unread.map(|(_, error)| at().io("read", error));
    Ok((rows.filter(|_| is_ours).collect(), unread))
}

/// The bytes of `file`. What stands for those that the disk does not give is no row.
async fn around<D: Dir>(file: &D::File, at: &impl Fn() -> At) -> Result<Around, Error> {
    let length = file.len().await.map_err(|e| at().io("measure", e))?;
    let length = usize::try_from(length.min(BYTES_MAX)).unwrap_or(0);
    let around = read_around(file, 0, length).await;
    around.map_err(|e| at().io("read", e))
}
