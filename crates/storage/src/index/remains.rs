//! What can be had of an index file that is wrong, or of which the disk does not give all.

use std::io::ErrorKind;
use std::rc::Rc;

use super::whole::Whole;
use crate::Error;
use crate::disk::{BLOCK_BYTES, Dir, File, Open};
use crate::error::At;
use crate::format::index::{BYTES_MAX, Row};

/// The sound rows of the file `name`, if it is that of the segment: none if it is not, or not there.
///
/// # Errors
/// Any error of opening and reading it, but for bytes that the disk does not give.
pub(super) async fn sound_rows<D: Dir>(
    dir: &D,
    name: &str,
    whole: &Whole,
) -> Result<Vec<Row>, Error> {
    let at = || At::new(dir, name);
    let file = match dir.open(name, Open::Read).await {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        opened => Rc::new(opened.map_err(|error| at().io("open", error))?),
    };
    let bytes = bytes::<D>(&file, &at).await;
    let closed = file.close().await;
    let bytes = bytes?;
    closed.map_err(|error| at().io("close", error))?;
    let is_ours = whole.is_ours(&bytes);
    let rows = whole.sound_rows(&bytes);
    Ok(rows.filter(|_| is_ours).collect())
}

/// The bytes of `file`, with zeros for blocks that the disk does not give: they are no rows.
async fn bytes<D: Dir>(file: &D::File, at: &impl Fn() -> At) -> Result<Vec<u8>, Error> {
    let length = file
        .len()
        .await
        .map_err(|error| at().io("measure", error))?;
    let length = usize::try_from(length.min(BYTES_MAX)).unwrap_or(0);
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let most = WINDOW_BYTES.min(length - bytes.len());
        let mut read = file.read_at(bytes.len() as u64, most).await;
        let least = BLOCK_BYTES.min(most);
        if read.is_err() {
            read = file.read_at(bytes.len() as u64, least).await;
        }
        let read = match read.map_err(|error| at().io("read", error)) {
            Err(error) if error.is_unreadable() => {
                bytes.resize(bytes.len() + least, 0);
                continue;
            }
            read => read?,
        };
        if read.as_ref().is_empty() {
            break; // It is shorter than it was.
        }
        bytes.extend_from_slice(read.as_ref());
    }
    Ok(bytes)
}

/// So much is read at once.
const WINDOW_BYTES: usize = 64 << 10;
