//! Bytes that the disk does not give: a sector that cannot be read, in a file that is there.

use ::std::io;
use ::std::rc::Rc;

use nix::errno::Errno;

use super::{BLOCK_BYTES, Dir, File, Open};

/// Whether `error`, of a read, says that these bytes cannot be had, rather than that none can: the file is
/// there and open. The block layer of Linux says `EIO`, `ENODATA` of a bad sector, `EILSEQ` of one whose check of its own failed.
#[must_use]
pub(crate) fn is_unreadable(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EIO | Errno::ENODATA | Errno::EILSEQ))
}

/// Reads as [`File::read_at`] does, and once more what the disk did not give: a controller may have had its moment.
///
/// # Errors
/// As for [`File::read_at`].
pub(crate) async fn read_twice<F: File>(
    file: &F,
    position: u64,
    len: usize,
) -> io::Result<F::Bytes> {
    match file.read_at(position, len).await {
        Err(error) if is_unreadable(&error) => file.read_at(position, len).await,
        read => read,
    }
}

/// Reads as [`Dir::read`] does, and once more what the disk did not give.
///
/// # Errors
/// As for [`Dir::read`].
pub(crate) async fn read_file_twice<D: Dir>(
    dir: &D,
    name: &str,
    bytes_max: u64,
) -> io::Result<Vec<u8>> {
    match dir.read(name, bytes_max).await {
        Err(error) if is_unreadable(&error) => dir.read(name, bytes_max).await,
        read => read,
    }
}

/// Bytes of a file, as far as the disk gives them.
#[derive(Debug)]
pub(crate) struct Around {
    /// All of them; those that cannot be read are [`FILLER`].
    pub(crate) bytes: Vec<u8>,
    /// Where the first begins that cannot be read, in bytes of the file, and why.
    pub(crate) unread: Option<(u64, io::Error)>,
}

impl Around {
    fn whole(bytes: Vec<u8>) -> Self {
        let unread = None;
        Self { bytes, unread }
    }
}

/// Reads as [`File::read_at`] does, and block by block what cannot be read in one go.
///
/// # Errors
/// Any that is not of single sectors.
pub(crate) async fn read_around<F: File>(
    file: &F,
    position: u64,
    len: usize,
) -> io::Result<Around> {
    match file.read_at(position, len).await {
        Err(error) if is_unreadable(&error) => {}
        read => return Ok(Around::whole(read?.as_ref().to_vec())),
    }
    let mut around = Around::whole(Vec::with_capacity(len));
    let left = file.len().await?.saturating_sub(position);
    let len = usize::try_from(left).unwrap_or(usize::MAX).min(len);
    while around.bytes.len() < len {
        let at = position + around.bytes.len() as u64;
        let to_block = BLOCK_BYTES - usize::try_from(at % BLOCK_BYTES as u64).unwrap_or(0);
        let wanted = to_block.min(len - around.bytes.len());
        match file.read_at(at, wanted).await {
            Ok(bytes) if bytes.as_ref().is_empty() => break,
            Ok(bytes) => around.bytes.extend_from_slice(bytes.as_ref()),
            Err(error) if is_unreadable(&error) => {
                around.bytes.resize(around.bytes.len() + wanted, FILLER);
                around.unread.get_or_insert((at, error));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(around)
}

/// Reads as [`Dir::read`] does, around what cannot be read.
///
/// # Errors
/// As for [`Dir::read`], but for single sectors.
pub(crate) async fn read_file_around<D: Dir>(
    dir: &D,
    name: &str,
    bytes_max: u64,
) -> io::Result<Around> {
    match dir.read(name, bytes_max).await {
        Err(error) if is_unreadable(&error) => {}
        read => return Ok(Around::whole(read?)),
    }
    let file = Rc::new(dir.open(name, Open::Read).await?);
    let bytes = file.len().await?.min(bytes_max);
    let read = read_around(&*file, 0, usize::try_from(bytes).unwrap_or(usize::MAX)).await;
    file.close().await?;
    read
}

/// Stands for a byte that cannot be read: no header, length or checksum of ours holds with it, and it is not
/// taken for the zeros behind an end.
const FILLER: u8 = 0xff;
