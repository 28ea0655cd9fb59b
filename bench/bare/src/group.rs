//! Group commit: what came in while a group was written is the next group.

use std::cell::RefCell;
use std::io::Result;
use std::rc::Rc;

use glommio::io::{DmaBuffer, DmaFile, OpenOptions};
use glommio::sync::Semaphore;

use crate::space::Space;

/// The most that a group writes, and that is received while it does.
pub(crate) const BYTES: usize = 4 << 20;
pub(crate) const BLOCK: usize = 4096;
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
    let (file, mut position) = (&partition.file, 0);
    let mut space = Space::of(file);
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
        space.wait(end, filled < reserved_bytes_min).await;
        write(&partition, buffer, position, filled)
            .await
            .expect("the disk takes what it is given");
        waiting.iter().for_each(|acks| acks.signal(1));
        position = end;
    }
}

/// Writes a group and syncs it, also where nobody waits for that: so a node does.
async fn write(
    partition: &Partition,
    buffer: DmaBuffer,
    position: u64,
    filled: usize,
) -> Result<()> {
    if filled <= SMALL_BYTES {
        partition.durable.write_at(buffer, position).await?;
    } else {
        partition.file.write_at(buffer, position).await?;
        partition.file.fdatasync().await?;
    }
    Ok(())
}
