//! Copying a sealed segment: read, verified and written in one pass, its index made anew.

use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use corelog_record::HistoryId;

use super::verifier::{Bad, Verifier, start};
use crate::Error;
use crate::disk::{Dir, File, Open, Space, round_up};
use crate::error::At;
use crate::format::edit::Seal;
use crate::segment::{Point, name};
use crate::store::padded;

/// Where to a segment is copied, and whose it is.
pub(super) struct Copy<'a, D: Dir> {
    pub(super) source: &'a D,
    pub(super) target: &'a D,
    pub(super) history: HistoryId,
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
        let base = start(seal);
        let store = name::store(base.offset, generation);
        let damaged = |Bad(point): Bad| self.damaged(&store, seal, point);
        let opened = self.source.open(&store, Open::Read).await;
        let file = match opened {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(damaged(Bad(base)));
            }
            other => Rc::new(other.map_err(|e| At::new(self.source, &store).io("open", e))?),
        };
        let mut verifier = Verifier::new(seal, INTERVAL_BYTES);
        let length = file.len().await;
        let length = length.map_err(|e| At::new(self.source, &store).io("measure", e))?;
        if length != seal.digest.bytes {
            return Err(damaged(Bad(base)));
        }
        let target = self.create(&store, length).await?;
        let moved = self.bytes(&file, &target, &store, &mut verifier, (length, progress));
        moved.await?.map_err(damaged)?;
        let index = verifier.finish().map_err(damaged)?;
        self.close(target, &store, length).await?;
        let closed = file.close().await;
        closed.map_err(|e| At::new(self.source, &store).io("close", e))?;
        let bytes = index.encode(self.history, &base);
        self.write(&name::index(base.offset, generation), &bytes)
            .await
    }

    /// Moves `length` bytes from one file to the other, verified on the way.
    async fn bytes(
        &self,
        file: &D::File,
        target: &D::File,
        store: &str,
        verifier: &mut Verifier,
        (length, progress): (u64, &mut dyn FnMut(u64)),
    ) -> Result<Result<(), Bad>, Error> {
        let read = async |position: u64| {
            let wanted = (length - position).min(PIECE_BYTES);
            let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
            let read = file.read_at(position, wanted).await;
            let read = read.map_err(|e| At::new(self.source, store).io("read", e))?;
            match read.as_ref().len() == wanted {
                true => Ok(read),
                false => {
                    Err(At::new(self.source, store).io("read", ErrorKind::UnexpectedEof.into()))
                }
            }
        };
        let mut piece = read(0).await?;
        let mut next = 0;
        loop {
            let position = next;
            next += piece.as_ref().len() as u64;
            let buf = Rc::new(padded(self.target, piece.as_ref()));
            let write = async {
                let written = target.write_at(buf, position).await;
                written.map_err(|e| At::new(self.target, store).io("write", e))
            };
            let ahead = async {
                match next < length {
                    true => read(next).await.map(Some),
                    false => Ok(None),
                }
            };
            // Both are on their way to the disk while the processor verifies.
            let mut moving = pin!(both(write, ahead));
            let begun = poll_fn(|context| Poll::Ready(moving.as_mut().poll(context))).await;
            let verified = verifier.push(piece.as_ref());
            let (written, ahead) = match begun {
                Poll::Ready(done) => done,
                Poll::Pending => moving.await,
            };
            if let Err(bad) = verified {
                return Ok(Err(bad));
            }
            written?;
            progress(next - position);
            match ahead? {
                Some(ahead) => piece = ahead,
                None => return Ok(Ok(())),
            }
        }
    }

    /// Writes the whole file `name`, durable but for its name.
    async fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let length = bytes.len() as u64;
        let file = self.create(name, length).await?;
        let written = file.write_at(Rc::new(padded(self.target, bytes)), 0).await;
        written.map_err(|e| At::new(self.target, name).io("write", e))?;
        self.close(file, name, length).await
    }

    /// A new file with room for `length` bytes. A full disk shows here, and only here.
    async fn create(&self, name: &str, length: u64) -> Result<Rc<D::File>, Error> {
        let at = || At::new(self.target, name);
        let opened = self.target.open(name, Open::Create).await;
        let file = Rc::new(opened.map_err(|e| at().space("create", e))?);
        let room = 0..round_up(length);
        let allocated = file.allocate(room, Space::Reserved).await;
        allocated.map_err(|e| at().space("prepare", e))?;
        Ok(file)
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

/// Runs two futures side by side, to the end of both.
async fn both<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut a_done, mut b_done) = (None, None);
    poll_fn(move |context| {
        if a_done.is_none()
            && let Poll::Ready(done) = a.as_mut().poll(context)
        {
            a_done = Some(done);
        }
        if b_done.is_none()
            && let Poll::Ready(done) = b.as_mut().poll(context)
        {
            b_done = Some(done);
        }
        match (a_done.take(), b_done.take()) {
            (Some(a), Some(b)) => Poll::Ready((a, b)),
            (a, b) => {
                (a_done, b_done) = (a, b);
                Poll::Pending
            }
        }
    })
    .await
}

/// So much is read and written at once: few operations, little memory, and a cancelled or throttled
/// copy stops soon.
const PIECE_BYTES: u64 = 1 << 20;

/// Bytes of store for each row of an index, as in a log that was not told otherwise.
const INTERVAL_BYTES: u32 = 4096;
