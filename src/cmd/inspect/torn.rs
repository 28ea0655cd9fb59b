//! Whether bad bytes at the end of a partition are torn: written, and never promised. The rule is
//! that of `FORMAT.md`, Opening a log; the next start sets such bytes aside and cuts them.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use corelog_record::{Offset, Position};
use corelog_storage::log::UNSYNCED_BYTES_MAX;

use super::files;
use super::named::Named;

/// Where sound batches end and bad bytes begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edge {
    /// The first position without a sound batch.
    pub(super) position: Position,
    /// The end of the batches before it.
    pub(super) next: Offset,
}

/// True if what lies behind `edge` in the store of a segment, at `path`, is torn: in the last store that
/// holds bytes, behind all that is durable, and no more than may be written unsynced.
///
/// # Errors
/// If the store cannot be read.
pub(super) fn is_torn(named: Named<'_>, edge: Edge, path: &Path) -> io::Result<bool> {
    let is_active = named.is_last && named.segment.seal.is_none();
    let is_behind_mark = named.marked.is_none_or(|marked| marked <= edge.position);
    if !is_active || !is_behind_mark || edge.next < named.durable {
        return Ok(false);
    }
    let end = end_of_bytes(path, edge.position)?;
    Ok(end - edge.position.get() <= UNSYNCED_BYTES_MAX as u64)
}

/// The end of the last byte behind `from` that is not zero.
fn end_of_bytes(path: &Path, from: Position) -> io::Result<u64> {
    let mut file = files::open(path)?;
    let mut position = file.seek(SeekFrom::Start(from.get()))?;
    let mut end = position;
    let mut chunk = vec![0; 64 << 10];
    loop {
        let bytes = file.read(&mut chunk)?;
        if bytes == 0 {
            return Ok(end);
        }
        if let Some(last) = chunk[..bytes].iter().rposition(|byte| *byte != 0) {
            end = position + last as u64 + 1;
        }
        position += bytes as u64;
    }
}
