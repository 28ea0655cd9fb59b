//! Open files of a faulty directory.

use ::std::fmt;
use ::std::io;
use ::std::ops::Range;
use ::std::rc::Rc;

use super::super::{BLOCK_BYTES, Buf, File, Space};
use super::course::{change, course, flipped, run};
use super::{Backing, Breach, Bytes, FailedSync, Fault, Late, Operation, Scene};

/// A file of a [`FaultyDir`](super::FaultyDir).
pub struct FaultyFile<D: Backing> {
    inner: Rc<D::File>,
    dir: D,
    name: String,
    identity: u64,
    scene: Scene<D>,
}

impl<D: Backing> fmt::Debug for FaultyFile<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FaultyFile").field(&self.name).finish()
    }
}

impl<D: Backing> FaultyFile<D> {
    pub(super) fn new(inner: Rc<D::File>, dir: D, name: &str, scene: Scene<D>) -> io::Result<Self> {
        let identity = D::identity(&inner)?;
        Ok(Self {
            inner,
            dir,
            name: name.to_owned(),
            identity,
            scene,
        })
    }

    async fn begin(&self, operation: Operation) -> Option<Fault> {
        self.scene.begin(operation, &self.name).await
    }

    /// Runs `work` between the gates of an operation that changes `range`, which nothing else may
    /// change meanwhile.
    async fn alone<T>(
        &self,
        operation: Operation,
        range: Range<u64>,
        work: impl Future<Output = io::Result<T>>,
    ) -> io::Result<T> {
        let file = (self.identity, &*self.name);
        let _flight = self.scene.faults.fly(file, operation, range);
        self.scene.gated(operation, &self.name, work).await
    }

    /// A sync, of one kind or the other.
    async fn sync(&self, work: impl Future<Output = io::Result<()>>) -> io::Result<()> {
        let fault = self.begin(Operation::Sync).await;
        let work = async {
            match fault {
                Some(Fault::Fail(kind)) => self.fail_sync(None, kind.into()),
                Some(Fault::FailSync(how)) => self.fail_sync(Some(how), nix::Error::EIO.into()),
                Some(Fault::Delayed { operations }) => {
                    let late = Late::File(Rc::clone(&self.inner));
                    self.scene.delay(operations, late);
                    Ok(())
                }
                _ => change(course(fault, Operation::Sync), work).await,
            }
        };
        self.scene.gated(Operation::Sync, &self.name, work).await
    }

    fn fail_sync(&self, how: Option<FailedSync>, error: io::Error) -> io::Result<()> {
        let (usual, seed) = self.scene.faults.failed_sync();
        D::fail_sync(&self.inner, how.unwrap_or(usual), seed)?;
        Err(error)
    }

    /// What a write does under `fault`.
    async fn write(&self, fault: Option<Fault>, buf: Rc<D::Buf>, position: u64) -> io::Result<()> {
        let bytes = buf.as_slice();
        match fault {
            Some(Fault::Short { bytes: kept }) => {
                assert!(kept < bytes.len(), "a short write leaves something out");
                let is_new = |index: usize| index < kept;
                self.write_part(bytes, position, is_new).await?;
                Err(io::ErrorKind::WriteZero.into())
            }
            Some(Fault::Torn { seed }) => self.tear(bytes, position, SECTOR_BYTES, seed).await,
            Some(Fault::TornBlocks { seed }) => self.tear(bytes, position, BLOCK_BYTES, seed).await,
            Some(Fault::Flip { seed }) => {
                let mut bent = self.dir.alloc(bytes.len());
                bent.as_mut_slice().copy_from_slice(&flipped(bytes, seed));
                self.inner.write_at(Rc::new(bent), position).await
            }
            Some(Fault::Misdirected { seed }) => {
                let len = bytes.len() as u64;
                match self.elsewhere(position, len, seed).await? {
                    Some((file, position)) => file.write_at(buf, position).await,
                    None => Ok(()),
                }
            }
            _ => {
                let work = self.write_here(buf, position);
                change(course(fault, Operation::Write), work).await
            }
        }
    }

    async fn write_here(&self, buf: Rc<D::Buf>, position: u64) -> io::Result<()> {
        let range = position..position + buf.as_slice().len() as u64;
        let unprepared = D::unprepared(&self.inner, range.clone())?;
        let is_prepared = unprepared.is_empty();
        for range in unprepared {
            let name = self.name.clone();
            self.scene.faults.note(Breach::Unprepared { name, range });
        }
        if self.scene.faults.is_full() && !is_prepared {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.scene.faults.mend(&self.name, &range);
        self.inner.write_at(buf, position).await
    }

    /// Writes a random half of the units of `unit` bytes, and fails.
    async fn tear(&self, bytes: &[u8], position: u64, unit: usize, seed: u64) -> io::Result<()> {
        let mut random = fastrand::Rng::with_seed(seed);
        let kept: Vec<_> = (0..bytes.len() / unit).map(|_| random.bool()).collect();
        self.write_part(bytes, position, |index| kept[index / unit])
            .await?;
        Err(io::Error::other("the write was torn"))
    }

    /// Writes the bytes of `new` for which `is_new` holds; the others stay as they are in the file.
    async fn write_part(
        &self,
        new: &[u8],
        position: u64,
        is_new: impl Fn(usize) -> bool,
    ) -> io::Result<()> {
        let old = self.inner.read_at(position, new.len()).await?;
        let kept = (0..new.len()).rposition(&is_new).map_or(0, |last| last + 1);
        if kept == 0 {
            return Ok(());
        }
        // Nothing behind the last byte that made it: the file does not grow over the others.
        let mut part = self.dir.alloc(kept.next_multiple_of(BLOCK_BYTES));
        for (index, byte) in part.as_mut_slice().iter_mut().enumerate() {
            let old = old.as_ref().get(index).copied().unwrap_or(0);
            *byte = if is_new(index) { new[index] } else { old };
        }
        self.inner.write_at(Rc::new(part), position).await
    }

    /// Another place for `len` bytes, within a file that is open for writing.
    async fn elsewhere(
        &self,
        position: u64,
        len: u64,
        seed: u64,
    ) -> io::Result<Option<(Rc<D::File>, u64)>> {
        let open: Vec<_> = self.scene.open.borrow().iter().cloned().collect();
        let mut places = Vec::new();
        for file in open.iter().filter_map(::std::rc::Weak::upgrade) {
            let is_this = D::identity(&file)? == self.identity;
            let room = (file.len().await?.saturating_sub(len) + 1).div_ceil(BLOCK_BYTES as u64);
            let positions = (0..room.min(PLACES_MAX)).map(|index| index * BLOCK_BYTES as u64);
            let others = positions.filter(|other| !is_this || *other != position);
            places.extend(others.map(|other| (Rc::clone(&file), other)));
        }
        let chosen = fastrand::Rng::with_seed(seed).usize(0..places.len().max(1));
        Ok(places.into_iter().nth(chosen))
    }
}

impl<D: Backing> File for FaultyFile<D> {
    type Buf = D::Buf;
    type Bytes = Bytes<D::Bytes>;

    async fn read_at(&self, position: u64, len: usize) -> io::Result<Self::Bytes> {
        let fault = self.begin(Operation::Read).await;
        let work = async {
            if let Some(Fault::Misdirected { seed }) = fault {
                return match self.elsewhere(position, len as u64, seed).await? {
                    Some((file, place)) => file.read_at(place, len).await.map(Bytes::Read),
                    None => Ok(Bytes::Bent(vec![0; len].into())),
                };
            }
            let range = position..position + len as u64;
            if self.scene.faults.is_unreadable(&self.name, &range) {
                return Err(nix::Error::EIO.into());
            }
            let work = self.inner.read_at(position, len);
            let bytes = run(course(fault, Operation::Read), work).await?;
            Ok(match fault {
                Some(Fault::Flip { seed }) => Bytes::Bent(flipped(bytes.as_ref(), seed).into()),
                _ => Bytes::Read(bytes),
            })
        };
        self.scene.gated(Operation::Read, &self.name, work).await
    }

    async fn write_at(&self, buf: Rc<D::Buf>, position: u64) -> io::Result<()> {
        let fault = self.begin(Operation::Write).await;
        let range = position..position + buf.as_slice().len() as u64;
        let work = self.write(fault, buf, position);
        self.alone(Operation::Write, range, work).await
    }

    /// A write and a sync of what it wrote: each may fail, or lie, for itself.
    async fn write_durably_at(&self, buf: Rc<D::Buf>, position: u64) -> io::Result<()> {
        let range = position..position + buf.as_slice().len() as u64;
        self.write_at(buf, position).await?;
        self.sync(D::sync_written(&self.inner, range)).await
    }

    async fn fdatasync(&self) -> io::Result<()> {
        self.sync(self.inner.fdatasync()).await
    }

    async fn sync_all(&self) -> io::Result<()> {
        self.sync(self.inner.sync_all()).await
    }

    async fn allocate(&self, range: Range<u64>, how: Space) -> io::Result<()> {
        let fault = self.begin(Operation::Allocate).await;
        let work = self.inner.allocate(range.clone(), how);
        let work = change(course(fault, Operation::Allocate), work);
        self.alone(Operation::Allocate, range, work).await
    }

    async fn set_len(&self, bytes: u64) -> io::Result<()> {
        let fault = self.begin(Operation::SetLen).await;
        let first = self.inner.len().await?.min(bytes);
        let range = first - first % BLOCK_BYTES as u64..u64::MAX;
        let work = self.inner.set_len(bytes);
        let work = change(course(fault, Operation::SetLen), work);
        self.alone(Operation::SetLen, range, work).await
    }

    async fn len(&self) -> io::Result<u64> {
        let work = self.inner.len();
        self.scene.run(Operation::Len, &self.name, work).await
    }

    async fn close(self: Rc<Self>) -> io::Result<()> {
        let work = Rc::clone(&self.inner).close();
        self.scene.change(Operation::Close, &self.name, work).await
    }
}

/// The smallest sector in use: writes tear between two of them.
const SECTOR_BYTES: usize = 512;

/// So many blocks of a file, its first ones, are candidates for what is misdirected.
const PLACES_MAX: u64 = 1024;
