//! Making sure of a store's bytes before they are served.

use std::ops::Range;
use std::rc::Rc;

use crate::Error;
use crate::disk::{BLOCK_BYTES, Buf, Dir, File, round_up};
use crate::planted::{self, Bug};
use crate::store::{Store, padded};

/// The end of the last byte of a store of `bytes` bytes that is not zero; 0 if there is none.
pub(super) async fn data_end<D: Dir>(store: &Store<D>, bytes: u64) -> Result<u64, Error> {
    let file = store.file().await?;
    let mut end = bytes;
    // Most stores end in data: little is read unless there are zeros to pass.
    let mut piece_bytes = BLOCK;
    while end > 0 {
        let start = end.saturating_sub(piece_bytes) / BLOCK * BLOCK;
        let piece = read(store, &*file, start..end).await?;
        if let Some(last) = piece.as_ref().iter().rposition(|byte| *byte != 0) {
            return Ok(start + last as u64 + 1);
        }
        end = start;
        piece_bytes = (piece_bytes * 4).min(PIECE_BYTES);
    }
    Ok(0)
}

/// The bytes of the block in which `position` lies, up to there.
pub(super) async fn partial_block<D: Dir>(
    store: &Store<D>,
    position: u64,
) -> Result<Vec<u8>, Error> {
    let range = position / BLOCK * BLOCK..position;
    if range.is_empty() {
        return Ok(Vec::new());
    }
    let file = store.file().await?;
    let bytes = read(store, &*file, range).await?;
    Ok(bytes.as_ref().to_vec())
}

/// Writes the blocks of `range` again, as they are but for zeros from `zeros_from` on, and syncs
/// them: what a reader was or will be shown is then on the disk, whatever happened before.
pub(super) async fn rewrite<D: Dir>(
    dir: &D,
    store: &Store<D>,
    range: Range<u64>,
    zeros_from: Option<u64>,
) -> Result<(), Error> {
    let zeros_from = zeros_from.filter(|_| !planted::is(Bug::BytesBehindCut));
    let file = store.file().await?;
    let end = round_up(range.end);
    let mut start = range.start / BLOCK * BLOCK;
    while start < end {
        let stop = end.min(start + PIECE_BYTES);
        let piece = read(store, &*file, start..stop).await?;
        let mut buf = padded(dir, piece.as_ref());
        if let Some(kept) = zeros_from.map(|from| from.saturating_sub(start)) {
            let bytes = buf.as_mut_slice();
            let kept = usize::try_from(kept).map_or(bytes.len(), |kept| kept.min(bytes.len()));
            bytes[kept..].fill(0);
        }
        if planted::is(Bug::PageBelieved) && zeros_from.is_none() {
            break;
        }
        let written = file.write_at(Rc::new(buf), start).await;
        written.map_err(|e| store.at().io("write", e))?;
        start = stop;
    }
    if planted::is(Bug::ServedBeforeSync) {
        return Ok(());
    }
    file.fdatasync().await.map_err(|e| store.at().io("sync", e))
}

/// Reads `range`, or as much of it as there is.
async fn read<D: Dir>(
    store: &Store<D>,
    file: &D::File,
    range: Range<u64>,
) -> Result<D::Bytes, Error> {
    let len = usize::try_from(range.end - range.start).unwrap_or(BLOCK_BYTES);
    file.read_at(range.start, len)
        .await
        .map_err(|e| store.at().io("read", e))
}

/// How much is read at once; whole blocks.
const PIECE_BYTES: u64 = 1 << 20;
const BLOCK: u64 = BLOCK_BYTES as u64;
