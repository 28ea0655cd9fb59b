//! Making sure of a store's bytes before they are served.

use std::ops::Range;
use std::rc::Rc;

use crate::Error;
use crate::disk::{BLOCK_BYTES, Buf, Dir, File, round_up};
use crate::planted::{self, Bug};
use crate::store::Store;

/// The end of the last byte of a store of `bytes` bytes that is not zero; 0 if there is none. Blocks that the disk does not
/// give count as data where they follow on data, or begin the store, and as space behind zeros: no batch begins with these.
pub(crate) async fn data_end<D: Dir>(store: &Store<D>, bytes: u64) -> Result<u64, Error> {
    let file = store.file().await?;
    let (mut end, mut unread, mut unread_blocks) = (bytes, bytes..bytes, 0);
    // Most stores end in data: little is read unless there are zeros to pass.
    let mut piece_bytes = BLOCK;
    while end > 0 {
        let start = end.saturating_sub(piece_bytes) / BLOCK * BLOCK;
        match read(store, &*file, start..end).await {
            Err(error) if error.is_unreadable() && piece_bytes == BLOCK => {
                unread_blocks += 1;
                if UNREAD_BLOCKS_MAX < unread_blocks {
                    return Err(error);
                }
                unread.end = if unread.start == end { unread.end } else { end };
                unread.start = start;
                end = start;
            }
            Err(error) if error.is_unreadable() => piece_bytes = BLOCK,
            piece => {
                let last = piece?.as_ref().iter().rposition(|byte| *byte != 0);
                if let Some(last) = last {
                    end = start + last as u64 + 1;
                    break;
                }
                end = start;
                piece_bytes = (piece_bytes * 4).min(PIECE_BYTES);
            }
        }
    }
    let is_next = !unread.is_empty() && unread.start <= round_up(end);
    Ok(if is_next { unread.end.max(end) } else { end })
}

/// The bytes of the block in which `position` lies, up to there.
pub(crate) async fn partial_block<D: Dir>(
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

/// Makes a store's bytes sure: those of `kept` are written again as they are, zeros from there to
/// `zeros_end`, whole blocks, and all of it is synced.
///
/// What a read shows is not yet what the disk holds: a page may outlive a failed sync, a device may
/// drop what it cached, the halves of a mirror may differ until one is copied over the other. This
/// is true of zeros as well: an earlier recovery that died may have written them over torn bytes and
/// never synced them, and the next power cut brings those back behind what is served, or as a batch
/// that nobody was shown.
///
/// Blocks of `kept` that the disk does not give stay as they are. Returns whether there are none.
pub(super) async fn rewrite<D: Dir>(
    dir: &D,
    store: &Store<D>,
    kept: Range<u64>,
    zeros_end: u64,
) -> Result<bool, Error> {
    let zeros_end = zeros_end.max(kept.end);
    let kept_end = match planted::is(Bug::BytesBehindCut) {
        true => zeros_end,
        false => kept.end,
    };
    let file = store.file().await?;
    let end = round_up(zeros_end);
    let mut start = kept.start / BLOCK * BLOCK;
    let (mut piece_bytes, mut is_whole) = (PIECE_BYTES, true);
    while start < end {
        let stop = end.min(start + piece_bytes);
        let piece = match start < kept_end {
            true => match read(store, &*file, start..stop.min(kept_end)).await {
                Err(error) if error.is_unreadable() => {
                    let is_block = stop - start <= BLOCK;
                    (start, is_whole) = (if is_block { stop } else { start }, false);
                    piece_bytes = BLOCK;
                    continue;
                }
                piece => Some(piece?),
            },
            false => None,
        };
        let piece = piece.as_ref().map_or(&[][..], AsRef::as_ref);
        let mut buf = dir.alloc(usize::try_from(stop - start).unwrap_or(BLOCK_BYTES));
        let (front, behind) = buf.as_mut_slice().split_at_mut(piece.len());
        front.copy_from_slice(piece);
        behind.fill(0);
        if !planted::is(Bug::PageBelieved) || is_changed(store, &*file, start, &buf).await? {
            let written = file.write_at(Rc::new(buf), start).await;
            written.map_err(|e| store.at().io("write", e))?;
        }
        start = stop;
    }
    if !planted::is(Bug::ServedBeforeSync) {
        let synced = file.fdatasync().await;
        synced.map_err(|e| store.at().io("sync", e))?;
    }
    Ok(is_whole)
}

/// Whether a reader is shown something else than `buf` at `start`.
async fn is_changed<D: Dir>(
    store: &Store<D>,
    file: &D::File,
    start: u64,
    buf: &D::Buf,
) -> Result<bool, Error> {
    let bytes = buf.as_slice();
    let shown = read(store, file, start..start + bytes.len() as u64).await?;
    Ok(shown.as_ref() != bytes)
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

/// So many blocks without an answer are bad sectors; more are a device that is failing.
const UNREAD_BLOCKS_MAX: usize = 64;

/// How much is read at once; whole blocks.
const PIECE_BYTES: u64 = 1 << 20;
const BLOCK: u64 = BLOCK_BYTES as u64;
