//! Small files, read and written whole.

use ::std::io;
use ::std::rc::Rc;

use super::{BLOCK_BYTES, Buf, Dir, File, Open, Space, round_up};

/// Reads a file to its end, refusing more than `bytes_max`.
pub(super) async fn read_whole<F: File>(file: &F, bytes_max: u64) -> io::Result<Vec<u8>> {
    let bytes = file.len().await?;
    if bytes > bytes_max {
        let message = format!("{bytes} bytes, at most {bytes_max} are expected");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    let len = usize::try_from(bytes).map_err(io::Error::other)?;
    Ok(file.read_at(0, len).await?.as_ref().to_vec())
}

/// Writes `bytes` to the new file `name`, and syncs it.
pub(crate) async fn write_new<D: Dir>(dir: &D, name: &str, bytes: &[u8]) -> io::Result<()> {
    let file = Rc::new(dir.open(name, Open::Create).await?);
    let written = write_whole(dir, &*file, bytes).await;
    let closed = file.close().await;
    written.and(closed)
}

/// Writes `bytes` to an empty file and syncs it.
pub(crate) async fn write_whole<D: Dir>(dir: &D, file: &D::File, bytes: &[u8]) -> io::Result<()> {
    // Running out of space shows while it is prepared, by its own error.
    let blocks = round_up(bytes.len() as u64);
    if blocks > 0 {
        file.allocate(0..blocks, Space::Reserved).await?;
    }
    write_over(dir, file, bytes).await
}

/// Writes `bytes` over the start of a file that has blocks for them, cuts it to that length and syncs it.
///
/// # Errors
/// Any error of the file system; what the file holds is then unknown.
pub async fn write_over<D: Dir>(dir: &D, file: &D::File, bytes: &[u8]) -> io::Result<()> {
    // Eight threads write small files, and an allocator keeps half a MiB for each whose buffers are larger than a block.
    let piece_bytes = match bytes.len() <= BY_BLOCKS_BYTES_MAX {
        true => BLOCK_BYTES,
        false => bytes.len(),
    };
    for (piece, at) in bytes.chunks(piece_bytes).zip((0..).step_by(piece_bytes)) {
        file.write_at(Rc::new(padded(dir, piece)), at).await?;
    }
    file.set_len(bytes.len() as u64).await?;
    file.sync_all().await
}

/// Files up to this are written by blocks: one more write for each costs less than what they are synced by.
const BY_BLOCKS_BYTES_MAX: usize = 4 * BLOCK_BYTES;

/// A buffer of whole blocks with `bytes` at its front and zeros behind.
pub(crate) fn padded<D: Dir>(dir: &D, bytes: &[u8]) -> D::Buf {
    padded_to(dir, bytes, bytes.len().next_multiple_of(BLOCK_BYTES))
}

/// A buffer of `len` bytes, with `bytes` at its front and zeros behind.
pub(crate) fn padded_to<D: Dir>(dir: &D, bytes: &[u8], len: usize) -> D::Buf {
    let mut buf = dir.alloc(len);
    let (front, behind) = buf.as_mut_slice().split_at_mut(bytes.len());
    front.copy_from_slice(bytes);
    behind.fill(0);
    buf
}
