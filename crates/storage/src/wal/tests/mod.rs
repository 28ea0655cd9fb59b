//! What an embedded log promises to the program around it.

mod beside;
mod crashes;
mod foreign;
mod model;
mod stories;

use corelog_record::ByteSize;

use super::{Options, Wal};
use crate::disk::Dir;
use crate::testing::own::offset;

/// Small batches and segments, so that little work crosses many borders.
fn small() -> Options {
    Options {
        segment_bytes_max: ByteSize::from_mib(1),
        batch_bytes: 200,
        unsynced_bytes_max: 8 << 10,
        ..Options::default()
    }
}

/// All records from log start on.
fn values<D: Dir>(wal: &Wal<D>) -> Vec<Vec<u8>> {
    let entries = wal.reader(wal.log_start()).map(Result::unwrap);
    let mut next = wal.log_start();
    let checked = entries.inspect(|entry| {
        assert_eq!(entry.offset, next, "offsets have no gaps");
        next = next.plus(1);
    });
    checked.map(|entry| entry.value).collect()
}
