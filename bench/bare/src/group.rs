//! Group commit: what came in while a group was written is the next group.

use std::cell::{Cell, RefCell};
use std::io::Result;
use std::rc::Rc;

use futures_lite::future::zip;
use glommio::io::{DmaBuffer, DmaFile, OpenOptions};
use glommio::sync::Semaphore;

/// The most that a group writes, and that is received while it does.
pub(crate) const BYTES: usize = 4 << 20;
pub(crate) const BLOCK: usize = 4096;
/// Space is prepared in steps of this size.
const STEP_BYTES: u64 = 8 << 20;
const ZEROS_BYTES: u64 = 512 << 10;
/// Groups up to this are one call, `O_DSYNC`, as most of a node's are; others are a write and an `fdatasync`.
const SMALL_BYTES: usize = 128 << 10;
const O_DSYNC: i32 = rustix::fs::OFlags::DSYNC.bits() as i32;

pub(crate) struct Partition {
    pub(crate) file: Rc<DmaFile>,
    /// The same, for writes that are durable when they return.
    pub(crate) durable: DmaFile,
    /// What came in since the last group.
    tail: RefCell<Tail>,
    /// Bytes that the tail still takes, and whether there are any in it.
    room: Semaphore,
    work: Semaphore,
}

#[derive(Default)]
struct Tail {
    buffer: Option<DmaBuffer>,
    filled: usize,
    waiting: Vec<Rc<Semaphore>>,
}

impl Partition {
    pub(crate) async fn open(path: String) -> Result<Rc<Self>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true);
        let file = Rc::new(options.dma_open(&path).await?);
        options.create(false).custom_flags(O_DSYNC);
        Ok(Rc::new(Self {
            file,
            durable: options.dma_open(path).await?,
            tail: RefCell::default(),
            room: Semaphore::new(BYTES as u64),
            work: Semaphore::new(0),
        }))
    }

    /// Copies a body into the tail; `waiting` is told once it is durable.
    pub(crate) async fn append(&self, body: &[u8], waiting: Option<&Rc<Semaphore>>) {
        self.room.acquire(body.len() as u64).await.expect("open");
        let tail = &mut *self.tail.borrow_mut();
        if tail.filled == 0 {
            self.work.signal(1);
        }
        let end = tail.filled + body.len();
        let buffer = tail
            .buffer
            .get_or_insert_with(|| self.file.alloc_dma_buffer(BYTES));
        buffer.as_bytes_mut()[tail.filled..end].copy_from_slice(body);
        tail.filled = end;
        tail.waiting.extend(waiting.cloned());
    }
}

/// Writes groups for as long as there are any; those from a size on into space that is not zeroed.
pub(crate) async fn commit(partition: Rc<Partition>, reserved_bytes_min: usize) {
    let (file, mut position, prepared) = (&partition.file, 0, Cell::new(0));
    while partition.work.acquire(1).await.is_ok() {
        let Tail {
            buffer,
            filled,
            waiting,
        } = partition.tail.take();
        partition.room.signal(filled as u64);
        let mut buffer = buffer.expect("there was work");
        let whole = filled.next_multiple_of(BLOCK);
        buffer.as_bytes_mut()[filled..whole].fill(0);
        buffer.trim_to_size(whole);
        let end = position + whole as u64;
        let is_zeroed = filled < reserved_bytes_min;
        prepare(file, &prepared, end, is_zeroed)
            .await
            .expect("space");
        let write = async {
            let is_awaited = !waiting.is_empty();
            if is_awaited && filled <= SMALL_BYTES {
                partition.durable.write_at(buffer, position).await?;
            } else {
                file.write_at(buffer, position).await?;
                if is_awaited {
                    file.fdatasync().await?;
                }
            }
            waiting.iter().for_each(|acks| acks.signal(1));
            Result::Ok(())
        };
        // The next groups are to find space, too.
        let ahead = prepare(file, &prepared, end + STEP_BYTES, is_zeroed);
        let (written, ahead) = zip(write, ahead).await;
        written.and(ahead).expect("the disk takes what it is given");
        position = end;
    }
}

/// Makes space up to `low` and a step beyond: allocated, and zeroed for small groups.
pub(crate) async fn prepare(
    file: &DmaFile,
    at: &Cell<u64>,
    low: u64,
    is_zeroed: bool,
) -> Result<()> {
    if low <= at.get() {
        return Ok(());
    }
    let end = low + STEP_BYTES;
    file.pre_allocate(end, false).await?;
    while is_zeroed && at.get() < end {
        let bytes = (end - at.get()).min(ZEROS_BYTES);
        let mut zeros = file.alloc_dma_buffer(bytes as usize);
        zeros.as_bytes_mut().fill(0);
        file.write_at(zeros, at.get()).await?;
        at.set(at.get() + bytes);
    }
    at.set(end);
    Ok(())
}
