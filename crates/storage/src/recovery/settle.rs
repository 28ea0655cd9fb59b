//! Making sure of a store's bytes before they are served.

use std::io::ErrorKind;
use std::ops::Range;
use std::rc::Rc;

use corelog_record::Offset;
use corelog_record::batch::HEADER_BYTES;

use crate::Error;
use crate::disk::unread::read_twice;
use crate::disk::{BLOCK_BYTES, Buf, Dir, File, round_up};
use crate::epochs::is_of_its_epoch;
use crate::format;
use crate::format::edit::Epoch;
use crate::log::{CallOff, STORE_BYTES_MAX};
use crate::planted::{self, Bug};
use crate::scan::{Scanner, Step};
use crate::segment::Point;
use crate::store::Store;

/// The end of the last byte of a store of `bytes` bytes that is not zero; 0 if there is none. Blocks that the disk does not
/// give count as data where they follow on data, or begin the store, and as space behind zeros: no batch begins with these.
///
/// # Errors
/// [`format::Error::StoreTooLong`], before anything is read: zeros without end would be. Any error of the disk, also for want
/// of more than [`UNREAD_BLOCKS_MAX`] of them.
pub(crate) async fn data_end<D: Dir>(store: &Store<D>, bytes: u64) -> Result<u64, Error> {
    check_length(store, bytes)?;
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

/// Refuses a store of `bytes` bytes if it is longer than any that was ever made.
///
/// # Errors
/// [`format::Error::StoreTooLong`].
pub(super) fn check_length<D: Dir>(store: &Store<D>, bytes: u64) -> Result<(), Error> {
    let (found, max) = (bytes, STORE_BYTES_MAX);
    match found <= max {
        true => Ok(()),
        false => Err(store
            .at()
            .format(format::Error::StoreTooLong { found, max })),
    }
}

/// The bytes of the block in which `position` lies, up to there. They are written again in front of the next group's.
pub(crate) async fn partial_block<D: Dir>(
    store: &Store<D>,
    position: u64,
) -> Result<Vec<u8>, Error> {
    let range = position / BLOCK * BLOCK..position;
    if range.is_empty() {
        return Ok(Vec::new());
    }
    let file = store.file().await?;
    let bytes = read_surely(store, &*file, range).await?;
    Ok(bytes.as_ref().to_vec())
}

/// What a recovery keeps of the end of a store, and makes sure of.
pub(super) struct Kept {
    /// The base offset of the segment.
    pub(super) base: Offset,
    /// All before it is durable.
    pub(super) start: Point,
    /// Where bytes begin that are no sound batches, and where one stands behind them.
    pub(super) bad: Vec<(Point, Point)>,
    /// Where the sound batches end.
    pub(super) sound_end: u64,
    /// Where all ends that is kept: damage that cannot be stepped over included.
    pub(super) end: u64,
    /// Whether what the disk does not give beside the sound batches may stay as it is.
    pub(super) is_left: bool,
    /// The epochs of the manifest, oldest first.
    pub(super) epochs: Vec<Epoch>,
    pub(super) call_off: CallOff,
}

/// Makes a store's bytes sure: those that are `kept` are written again as they are, zeros from there to
/// `zeros_end`, whole blocks, and all of it is synced. Batches are verified once more: what was misread must not
/// take the place of what is right.
///
/// What a read shows is not yet what the disk holds: a page may outlive a failed sync, a device may
/// drop what it cached, the halves of a mirror may differ until one is copied over the other. This
/// is true of zeros as well: an earlier recovery that died may have written them over torn bytes and
/// never synced them, and the next power cut brings those back behind what is served, or as a batch
/// that nobody was shown.
///
/// Blocks of `kept` that the disk does not give, or of which nothing is sound, stay as they are.
///
/// # Errors
/// [`Error::Damaged`] if a batch that was sound is not any more: it is not written. Any error of the disk, also if
/// it does not give such a batch any more, or what shares a block with one, or anything else that may not be left;
/// [`Error::CalledOff`].
pub(super) async fn rewrite<D: Dir>(
    dir: &D,
    store: &Rc<Store<D>>,
    kept: &Kept,
    zeros_end: u64,
) -> Result<(), Error> {
    let zeros_end = zeros_end.max(kept.end);
    let file = store.file().await?;
    let start = kept.start.position.get();
    let mut rewriter = Rewriter {
        dir,
        store,
        file: &*file,
        call_off: &kept.call_off,
        position: start / BLOCK * BLOCK,
        bytes: Vec::new(),
        sound_end: 0,
        unread: None,
    };
    rewriter.copy(start / BLOCK * BLOCK..start).await?;
    walk(store, kept, Some(&mut rewriter)).await?;
    rewriter.copy(kept.sound_end.max(start)..kept.end).await?;
    if planted::is(Bug::BytesBehindCut) {
        let behind = read(store, &*file, kept.end..zeros_end).await?;
        rewriter.push(kept.end, behind.as_ref()).await?;
    }
    rewriter.end(round_up(zeros_end)).await?;
    sync(store).await?;
    let unread = rewriter.unread.filter(|_| !kept.is_left);
    unread.map_or(Ok(()), Err)
}

/// Verifies once more the batches of a store that are `kept`.
///
/// # Errors
/// [`Error::Damaged`] if one that was sound is not any more; any error of the disk; [`Error::CalledOff`].
pub(super) async fn verify<D: Dir>(store: &Rc<Store<D>>, kept: &Kept) -> Result<(), Error> {
    walk(store, kept, None).await
}

/// The same, and has a `rewriter` go on with them, and with what is bad between them.
async fn walk<D: Dir>(
    store: &Rc<Store<D>>,
    kept: &Kept,
    mut rewriter: Option<&mut Rewriter<'_, D>>,
) -> Result<(), Error> {
    let start = kept.start.position.get();
    let is_kept = |(_, behind): &&(Point, Point)| start < behind.position.get();
    let mut bad = kept.bad.iter().filter(is_kept).peekable();
    let file = store.file().await?;
    let mut scanner = Scanner::new(store, file, kept.start, kept.sound_end);
    loop {
        kept.call_off.check()?;
        let at = scanner.point();
        let position = at.position.get();
        if let Some((_, behind)) = bad.next_if(|(from, _)| from.position <= at.position) {
            if let Some(rewriter) = &mut rewriter {
                rewriter.pass(position..behind.position.get()).await?;
            }
            scanner.move_to(*behind);
            continue;
        }
        let unread = match scanner.next().await? {
            Step::Batch(batch) if is_of_its_epoch(&batch, &kept.epochs) => {
                if let Some(rewriter) = &mut rewriter {
                    rewriter.push_sound(position, batch.bytes()).await?;
                }
                continue;
            }
            Step::Batch(_) | Step::Bad => None,
            Step::Unread(unread) => Some(unread.error),
            Step::End => return Ok(()),
        };
        scanner.move_to(at);
        if !scanner.read_again() {
            let (from, segment) = (at.offset, kept.base);
            let to = from.saturating_add(1);
            return Err(unread.unwrap_or(Error::Damaged { from, to, segment }));
        }
    }
}

/// Syncs a store.
async fn sync<D: Dir>(store: &Store<D>) -> Result<(), Error> {
    if planted::is(Bug::ServedBeforeSync) {
        return Ok(());
    }
    store.sync().await
}

/// Writes a store's bytes over themselves, in order.
struct Rewriter<'a, D: Dir> {
    dir: &'a D,
    store: &'a Store<D>,
    file: &'a D::File,
    call_off: &'a CallOff,
    /// Where the bytes begin that wait; a whole number of blocks. What lies before it is written, or left as it is.
    position: u64,
    bytes: Vec<u8>,
    /// Where the last sound batch ends that was gone on with.
    sound_end: u64,
    /// Why a block was left, if the disk did not give all that it was asked for.
    unread: Option<Error>,
}

impl<D: Dir> Rewriter<'_, D> {
    /// Goes on with a sound batch, whose `bytes` lie at `start`: all of them are written, or none is sure.
    async fn push_sound(&mut self, start: u64, bytes: &[u8]) -> Result<(), Error> {
        // It begins in a block that was left.
        if let Some(unread) = self.unread.take_if(|_| start < self.position) {
            return Err(unread);
        }
        assert!(self.position <= start, "only what is not given is left");
        self.sound_end = start + bytes.len() as u64;
        self.push(start, bytes).await
    }

    /// Goes on with `bytes`, which lie at `start`.
    async fn push(&mut self, start: u64, bytes: &[u8]) -> Result<(), Error> {
        let left = usize::try_from(self.position.saturating_sub(start)).unwrap_or(usize::MAX);
        let bytes = bytes.get(left..).unwrap_or_default();
        self.bytes.extend_from_slice(bytes);
        match PIECE_BYTES <= self.bytes.len() as u64 {
            true => self.write().await,
            false => Ok(()),
        }
    }

    /// Goes on with the bytes of `range` that nothing vouches for, but for blocks that the disk does not give.
    async fn copy(&mut self, range: Range<u64>) -> Result<(), Error> {
        let mut start = range.start.max(self.position);
        let mut piece_bytes = PIECE_BYTES;
        while start < range.end {
            self.call_off.check()?;
            let stop = range.end.min((start + piece_bytes) / BLOCK * BLOCK);
            match read_surely(self.store, self.file, start..stop).await {
                Err(error) if error.is_unreadable() && piece_bytes == BLOCK => {
                    self.write().await?;
                    // A sound batch ends in this block.
                    if self.position < self.sound_end {
                        return Err(error);
                    }
                    start = round_up(start + 1);
                    self.unread = Some(error);
                    self.leave(start);
                }
                Err(error) if error.is_unreadable() => piece_bytes = BLOCK,
                piece => {
                    self.push(start, piece?.as_ref()).await?;
                    start = stop;
                }
            }
        }
        Ok(())
    }

    /// Goes on behind the bad bytes of `range`: with the header, which may lead over them, and what shares a block with sound
    /// ones. The blocks between stay as they are: nothing vouches for a read of them, and the next one may be right.
    async fn pass(&mut self, range: Range<u64>) -> Result<(), Error> {
        let header_end = round_up(range.start + HEADER_BYTES as u64).min(range.end);
        let shared = (range.end / BLOCK * BLOCK).max(header_end);
        self.copy(range.start..header_end).await?;
        if header_end < shared {
            self.write().await?;
            self.leave(shared);
        }
        self.copy(shared..range.end).await
    }

    /// Leaves what is not written before `end`, a whole number of blocks, as it is, with what of a block waits.
    fn leave(&mut self, end: u64) {
        assert!(self.sound_end <= self.position, "what is sound is written");
        self.bytes.clear();
        self.position = end;
    }

    /// Ends with zeros up to `end`, a whole number of blocks.
    async fn end(&mut self, end: u64) -> Result<(), Error> {
        while self.position < end {
            let wanted = (end - self.position).min(PIECE_BYTES);
            let wanted = usize::try_from(wanted).unwrap_or(BLOCK_BYTES);
            self.bytes.resize(self.bytes.len().max(wanted), 0);
            self.write().await?;
        }
        Ok(())
    }

    /// Writes the whole blocks that wait.
    async fn write(&mut self) -> Result<(), Error> {
        self.call_off.check()?;
        let whole = self.bytes.len() / BLOCK_BYTES * BLOCK_BYTES;
        if whole == 0 {
            return Ok(());
        }
        let mut buf = self.dir.alloc(whole);
        buf.as_mut_slice().copy_from_slice(&self.bytes[..whole]);
        let (store, file, position) = (self.store, self.file, self.position);
        if !planted::is(Bug::PageBelieved) || is_changed(store, file, position, &buf).await? {
            let written = file.write_at(Rc::new(buf), position).await;
            written.map_err(|e| store.at().io("write", e))?;
        }
        self.bytes.drain(..whole);
        self.position += whole as u64;
        Ok(())
    }
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

/// Reads all of `range`, which no checksum covers from end to end, and which is written back: so often that two reads agree.
async fn read_surely<D: Dir>(
    store: &Store<D>,
    file: &D::File,
    range: Range<u64>,
) -> Result<D::Bytes, Error> {
    let wanted = range.end - range.start;
    let mut before = read(store, file, range.clone()).await?;
    for _ in 1..READS_MAX {
        let bytes = read(store, file, range.clone()).await?;
        if (bytes.as_ref().len() as u64) < wanted {
            let kind = ErrorKind::UnexpectedEof;
            return Err(store.at().io("read", kind.into()));
        }
        if bytes.as_ref() == before.as_ref() {
            return Ok(bytes);
        }
        before = bytes;
    }
    Err(store.at().io("read", ErrorKind::InvalidData.into()))
}

/// Reads `range`, or as much of it as there is.
pub(super) async fn read<D: Dir>(
    store: &Store<D>,
    file: &D::File,
    range: Range<u64>,
) -> Result<D::Bytes, Error> {
    let len = usize::try_from(range.end - range.start).unwrap_or(BLOCK_BYTES);
    let read = read_twice(file, range.start, len).await;
    read.map_err(|e| store.at().io("read", e))
}

/// How often bytes are read at most that come out differently.
pub(super) const READS_MAX: usize = 4;

/// So many blocks without an answer are bad sectors; more are a device that is failing. Each is asked for twice, and a drive
/// may take seconds until it gives up: as many as there are in a store would hold its opening up for days.
const UNREAD_BLOCKS_MAX: usize = 64;

/// How much is read at once; whole blocks.
pub(super) const PIECE_BYTES: u64 = 1 << 20;
const BLOCK: u64 = BLOCK_BYTES as u64;
