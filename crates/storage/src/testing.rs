//! Help for tests of this and other crates: a log in memory, and batches to put into it.
//!
//! A [`MemoryLog`] is the very log that a node runs, on a disk in memory. Give [`open`] a
//! [`MemoryDir`] that lived through [`MemoryDir::power_cut`], or a
//! [`FaultyDir`], for the rest.

#[cfg(test)]
pub(crate) mod own;

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use corelog_record::batch::{Builder, Codec, HEADER_BYTES, View};
use corelog_record::checksum::crc32c;
use corelog_record::{Offset, PartitionId, Timestamp, TopicId};

use crate::disk::faulty::FaultyDir;
use crate::disk::memory::MemoryDir;
use crate::disk::{Dir, block_on, poll_once};
use crate::log::{Chore, ChorePlan, Flushed, Identity, Log, OpenReport, Options, ReadError};
use crate::{Error, Now};

/// A log on a disk in memory.
pub type MemoryLog = Log<MemoryDir>;

/// The identity of the log that [`open`] opens.
#[must_use]
pub fn identity() -> Identity {
    Identity::new(TopicId::from_bytes([7; 16]), PartitionId::new(0))
}

/// Opens the log in `root`/p0, with its quarantine in `root`/quarantine.
///
/// # Errors
/// Those of [`Log::open`].
pub fn open<D: Dir>(
    root: &D,
    options: Options,
    seed: u64,
    now: impl Into<Now>,
) -> Result<(Log<D>, OpenReport), Error> {
    let (dir, quarantine) = (root.child("p0"), root.child("quarantine"));
    block_on(Log::open(dir, quarantine, identity(), options, seed, now))
}

/// A batch of one record for each of `values`, all at `time`.
///
/// # Panics
/// If the values make no valid batch.
#[must_use]
pub fn batch(values: &[&[u8]], time: Timestamp) -> Vec<u8> {
    let mut builder = Builder::new(Codec::None);
    for value in values {
        let added = builder.append(time, None, Some(value), &[]);
        assert!(added.is_ok(), "a record of a test is valid: {added:?}");
    }
    match builder.build() {
        Ok(batch) => batch,
        Err(error) => panic!("a batch of a test is valid: {error}"),
    }
}

/// A batch that claims so many records at `time`, compressed, and holds none: a log does not look inside.
///
/// # Panics
/// If there can be no batch of so many.
#[must_use]
#[expect(clippy::big_endian_bytes, reason = "the batch format is big-endian")]
pub fn claiming(count: i32, time: Timestamp) -> Vec<u8> {
    let mut bytes = batch(&[b""], time);
    bytes.truncate(HEADER_BYTES);
    // What follows the length field.
    bytes[8..12].copy_from_slice(&49_u32.to_be_bytes());
    bytes[22] = Codec::Zstd.number();
    bytes[23..27].copy_from_slice(&(count - 1).to_be_bytes());
    bytes[57..].copy_from_slice(&count.to_be_bytes());
    let crc = crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// Flushes what is pending; `None` if nothing can be flushed now.
///
/// # Errors
/// Those of [`Log::complete_flush`].
pub fn flush<D: Dir>(log: &mut Log<D>, now: Timestamp) -> Result<Option<Flushed>, Error> {
    let Some(plan) = log.plan_flush() else {
        return Ok(None);
    };
    let done = block_on(plan.run());
    log.complete_flush(done, now).map(Some)
}

/// Does one chore, if one is due.
///
/// # Errors
/// Those of [`Log::complete_chore`].
pub fn chore<D: Dir>(
    log: &mut Log<D>,
    now: Timestamp,
    is_idle: bool,
) -> Result<Option<Chore>, Error> {
    let Some(plan) = log.plan_chore(now, is_idle) else {
        return Ok(None);
    };
    run(log, plan, now).map(Some)
}

/// Does what was planned.
///
/// # Errors
/// Those of [`Log::complete_chore`].
pub fn run<D: Dir>(log: &mut Log<D>, plan: ChorePlan<D>, now: Timestamp) -> Result<Chore, Error> {
    let done = block_on(plan.run());
    log.complete_chore(done, now)
}

/// Flushes and does chores until nothing is left to do. Returns the chores.
///
/// # Errors
/// Those of flushes and chores.
pub fn settle<D: Dir>(log: &mut Log<D>, now: Timestamp) -> Result<Vec<Chore>, Error> {
    let mut chores = Vec::new();
    loop {
        if flush(log, now)?.is_some() {
            continue;
        }
        match chore(log, now, true)? {
            Some(done) => chores.push(done),
            None => return Ok(chores),
        }
    }
}

/// All batches from `from` to the end of what is durable, by reading piece by piece.
///
/// # Errors
/// Those of a read.
pub fn read_all<D: Dir>(log: &Log<D>, from: Offset) -> Result<Vec<Vec<u8>>, ReadError> {
    let mut batches = Vec::new();
    let mut next = from;
    while next < log.durable() {
        let fetched = block_on(log.plan_read(next, Offset::MAX, 64 << 10)?.run())?;
        for piece in &fetched.pieces {
            for batch in corelog_record::batch::Batches::over(piece) {
                let Ok(batch) = batch else {
                    panic!("a piece holds whole batches")
                };
                let verified = View::verify(batch);
                assert!(
                    verified.is_ok(),
                    "a batch that was read is valid: {verified:?}"
                );
                batches.push(batch.to_vec());
            }
        }
        assert!(next < fetched.next, "a read below the end moves on");
        next = fetched.next;
    }
    Ok(batches)
}

/// Lets so many operations of the disk happen, all of which it holds; `None` if there are more to come.
///
/// # Panics
/// If `future` waits for anything else.
pub fn run_up_to<T>(
    disk: &FaultyDir<MemoryDir>,
    future: impl Future<Output = T>,
    operations: usize,
) -> Option<T> {
    let mut future = pin!(future);
    let mut left = operations;
    loop {
        if let Poll::Ready(value) = poll_once(future.as_mut()) {
            return Some(value);
        }
        if left == 0 {
            return None;
        }
        left -= 1;
        assert!(disk.faults().release_one(), "it waits for the disk only");
    }
}
