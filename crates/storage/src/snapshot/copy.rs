//! Copying a sealed segment: read, verified and written in one pass, its index made anew.

use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::rc::Rc;
use std::task::Poll;

use corelog_record::{HistoryId, Offset};

use super::in_order::InOrder;
use crate::Error;
use crate::disk::unread::read_around;
use crate::disk::{Dir, File, Open, padded, write_new};
use crate::error::At;
use crate::format::edit::Seal;
use crate::intake::{Bad, Verifier};
use crate::log;
use crate::segment::{Point, name};
use crate::steps;

/// Where to a segment is copied, and whose it is.
pub(super) struct Copy<'a, D: Dir> {
    pub(super) source: &'a D,
    pub(super) target: &'a D,
    pub(super) history: HistoryId,
    pub(super) stores: Stores,
}

/// What becomes of the stores of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stores {
    /// They get another name where the file system allows, and are copied where it does not. They
    /// are verified all the same; it costs no space and no writing. For files that nobody but a node
    /// ever touches: who changes one name's bytes changes the other's.
    Linked,
    /// They are copied.
    Copied,
}

impl<D: Dir> Copy<'_, D> {
    /// Copies the segment `seal` in the files of `generation`, both of them durable afterwards but
    /// for their names, and tells `progress` of every piece.
    ///
    /// Nothing is to be believed of the target before this returns: a piece is verified while it is
    /// written already.
    ///
    /// # Errors
    /// [`Error::DamagedStore`] for bytes that are not those that were sealed;
    /// [`Error::StorageFull`]; any error of the disk.
    pub(super) async fn segment(
        &self,
        generation: u32,
        seal: &Seal,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), Error> {
        let base = Point::starting(seal.digest.start());
        let store = name::store(base.offset, generation);
        let damaged = |Bad(point): Bad| self.damaged(&store, seal, point);
        let opened = self.source.open(&store, Open::Scan).await;
        let file = match opened {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(damaged(Bad(base)));
            }
            other => Rc::new(other.map_err(|e| At::new(self.source, &store).io("open", e))?),
        };
        let mut verifier = Verifier::new(seal, log::INDEX_INTERVAL_BYTES);
        let found = file.len().await;
        let found = found.map_err(|e| At::new(self.source, &store).io("measure", e))?;
        let length = seal.digest.bytes;
        if found < length {
            return Err(damaged(Bad(base)));
        }
        // What lies behind the last batch is nobody's, and is left behind.
        let target = match found == length && self.link(&store).await {
            true => None,
            false => Some(steps::make(self.target, &store, length).await?),
        };
        let moved = self.bytes(
            &file,
            target.as_deref(),
            &store,
            &mut verifier,
            (length, progress),
        );
        moved.await?.map_err(damaged)?;
        let (index, _) = verifier.finish().map_err(damaged)?;
        match target {
            Some(target) => self.close(target, &store, length).await?,
            // Whoever put the file there may not have synced it.
            None => {
                let synced = file.sync_all().await;
                synced.map_err(|e| At::new(self.source, &store).io("sync", e))?;
            }
        }
        let closed = file.close().await;
        closed.map_err(|e| At::new(self.source, &store).io("close", e))?;
        let (name, bytes) = (
            name::index(base.offset, generation),
            index.encode(self.history, &base),
        );
        let written = write_new(self.target, &name, &bytes).await;
        written.map_err(|e| At::new(self.target, &name).space("write", e))
    }

    /// Takes the segment that begins at `base` over as it is, store and index, both of them durable afterwards but for
    /// their names. Nothing of either is to be believed; what is missing stays so, and for what the disk does not give there
    /// are bytes that are wrong. Returns the length of the store.
    ///
    /// # Errors
    /// [`Error::StorageFull`]; any error of the disk.
    pub(super) async fn as_it_is(&self, base: Offset, generation: u32) -> Result<u64, Error> {
        self.forget(base, generation).await?;
        let [store, index] = name::files(base, generation);
        self.file_as_it_is(&index).await?;
        self.file_as_it_is(&store).await
    }

    async fn file_as_it_is(&self, name: &str) -> Result<u64, Error> {
        let at = || At::new(self.source, name);
        let file = match self.source.open(name, Open::Scan).await {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
            other => Rc::new(other.map_err(|e| at().io("open", e))?),
        };
        let length = file.len().await.map_err(|e| at().io("measure", e))?;
        if self.link(name).await {
            file.sync_all().await.map_err(|e| at().io("sync", e))?;
        } else {
            let target = steps::make(self.target, name, length).await?;
            let mut position = 0;
            while position < length {
                let wanted = (length - position).min(PIECE_BYTES);
                let len = usize::try_from(wanted).unwrap_or(usize::MAX);
                let read = read_around(&*file, position, len).await;
                let bytes = read.map_err(|e| at().io("read", e))?.bytes;
                if bytes.len() < len {
                    return Err(at().io("read", ErrorKind::UnexpectedEof.into()));
                }
                position += self.put(&target, name, position, &bytes).await?;
            }
            self.close(target, name, length).await?;
        }
        file.close().await.map_err(|e| at().io("close", e))?;
        Ok(length)
    }

    /// Removes what came of a segment before damage was met.
    ///
    /// # Errors
    /// Any error of the disk.
    pub(super) async fn forget(&self, base: Offset, generation: u32) -> Result<(), Error> {
        for name in name::files(base, generation) {
            steps::remove(self.target, &name).await?;
        }
        Ok(())
    }

    /// Whether the store now has a second name in the target. An error that is more than that the file
    /// systems cannot do it shows again when the store is copied.
    async fn link(&self, store: &str) -> bool {
        let is_wanted = self.stores == Stores::Linked;
        is_wanted && self.source.link(store, self.target, store).await.is_ok()
    }

    /// Verifies `length` bytes of a file, and moves them to another one if there is one. Several pieces are read
    /// and written at once, so that neither disk waits for the other, nor for the processor.
    async fn bytes(
        &self,
        file: &D::File,
        target: Option<&D::File>,
        store: &str,
        verifier: &mut Verifier,
        (length, progress): (u64, &mut dyn FnMut(u64)),
    ) -> Result<Result<(), Bad>, Error> {
        let (mut reads, mut writes) = (InOrder::default(), InOrder::default());
        let (mut asked, mut position) = (0, 0);
        while position < length || writes.len() > 0 {
            while asked < length && reads.len() < PIECES_AHEAD {
                let wanted = (length - asked).min(PIECE_BYTES);
                reads.push(self.read(file, store, asked, wanted));
                asked += wanted;
            }
            let moved = poll_fn(|context| {
                if let Poll::Ready(written) = writes.poll_within(true, context) {
                    return Poll::Ready(Moved::Written(written));
                }
                let is_room = writes.len() < PIECES_AHEAD;
                let read = reads.poll_within(is_room, context);
                read.map(Moved::Read)
            });
            match moved.await {
                Moved::Written(written) => progress(written?),
                Moved::Read(piece) => {
                    let piece = piece?;
                    let bytes = piece.as_ref();
                    match target {
                        Some(target) => writes.push(self.put(target, store, position, bytes)),
                        None => progress(bytes.len() as u64),
                    }
                    if let Err(bad) = verifier.push(bytes) {
                        return Ok(Err(bad));
                    }
                    position += bytes.len() as u64;
                }
            }
        }
        Ok(Ok(()))
    }

    /// Reads all of the `wanted` bytes from `position` on.
    async fn read(
        &self,
        file: &D::File,
        store: &str,
        position: u64,
        wanted: u64,
    ) -> Result<D::Bytes, Error> {
        let at = || At::new(self.source, store);
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        let read = file.read_at(position, wanted).await;
        let read = read.map_err(|e| at().io("read", e))?;
        match read.as_ref().len() == wanted {
            true => Ok(read),
            false => Err(at().io("read", ErrorKind::UnexpectedEof.into())),
        }
    }

    /// Writes `bytes` at `position`, in whole blocks. Returns how many bytes they are.
    fn put<'f>(
        &'f self,
        file: &'f D::File,
        store: &'f str,
        position: u64,
        bytes: &[u8],
    ) -> impl Future<Output = Result<u64, Error>> + 'f {
        let (buf, length) = (Rc::new(padded(self.target, bytes)), bytes.len() as u64);
        async move {
            let written = file.write_at(buf, position).await;
            written.map_err(|e| At::new(self.target, store).io("write", e))?;
            Ok(length)
        }
    }

    async fn close(&self, file: Rc<D::File>, name: &str, length: u64) -> Result<(), Error> {
        let at = || At::new(self.target, name);
        file.set_len(length).await.map_err(|e| at().io("cut", e))?;
        file.sync_all().await.map_err(|e| at().io("sync", e))?;
        file.close().await.map_err(|e| at().io("close", e))
    }

    fn damaged(&self, store: &str, seal: &Seal, point: Point) -> Error {
        Error::DamagedStore {
            dir: self.source.describe(),
            file: store.to_owned(),
            position: point.position,
            from: point.offset,
            to: seal.digest.end,
        }
    }
}

/// What became of a piece.
enum Moved<B> {
    Read(Result<B, Error>),
    Written(Result<u64, Error>),
}

/// A piece is large enough for a disk to be as fast as it can with one at a time.
const PIECE_BYTES: u64 = 4 << 20;

/// So many pieces are read ahead, and as many written behind.
const PIECES_AHEAD: usize = 2;
