//! Walking a store of arbitrary bytes: what is given out is whole, verified and dense, and the walk
//! ends.

use std::rc::Rc;

use corelog_record::batch::{HEADER_BYTES, View};
use corelog_record::{Chain, Offset, Ordinal};

use super::{repair, split};
use crate::disk::memory::MemoryDir;
use crate::disk::{Dir, File, Open, block_on, padded};
use crate::scan::{Scanner, Step};
use crate::segment::Point;
use crate::store::Store;

/// Scans a store, stepping over what is bad by its own length, as recovery does.
pub(super) fn scan(input: &[u8]) {
    let Some((how, bytes)) = split(input) else {
        return;
    };
    let mut bytes = bytes.to_vec();
    // Near the last offset a log may have as many batches.
    let first = if how & 8 == 8 { LAST_FIRST } else { 0 };
    if how & 1 == 1 {
        repair::batches(&mut bytes, (how & 2 == 2).then_some(first));
    }
    // An active store has zeros behind its last batch.
    if how & 4 == 4 {
        bytes.resize(bytes.len().next_multiple_of(4096), 0);
    }
    let end = bytes.len();
    let dir = MemoryDir::new();
    let file = write(&dir, &bytes);
    let store = Store::opened(&dir, NAME.to_owned(), file.clone());
    let first = first.unsigned_abs();
    let start = Point {
        offset: Offset::new(first).unwrap_or(Offset::MAX),
        ordinal: Ordinal::new(first).unwrap_or(Ordinal::MAX),
        ..Point::origin(Chain::from_raw(1))
    };
    let mut scanner = Scanner::new(&store, file, start, end as u64);
    let mut batches = 0;
    loop {
        let before = scanner.point();
        match block_on(scanner.next()) {
            Ok(Step::Batch(batch)) => {
                assert_eq!(batch.base_offset(), before.offset, "offsets are dense");
                assert!(View::verify(batch.bytes()).is_ok());
                let at = usize::try_from(before.position.get()).unwrap_or(usize::MAX);
                let stored = bytes.get(at..at + batch.bytes().len());
                assert_eq!(stored, Some(batch.bytes()), "what is given out is stored");
                let (next, bytes) = (batch.next_offset(), batch.bytes().len() as u64);
                let after = scanner.point();
                assert_eq!(after.offset, next);
                assert_eq!(after.position, before.position.plus(bytes));
                assert_eq!(after.ordinal, before.ordinal.plus(1));
            }
            Ok(Step::End | Step::Unread(_)) => return,
            Ok(Step::Bad) => match block_on(scanner.behind_bad()) {
                Ok(Ok(Some(behind))) => {
                    assert!(before.position < behind.position, "a step goes forward");
                    assert!(before.offset < behind.offset);
                    scanner.move_to(behind);
                }
                Ok(_) => return,
                Err(error) => panic!("memory does not fail: {error}"),
            },
            Err(error) => panic!("memory does not fail: {error}"),
        }
        batches += 1;
        assert!(batches <= bytes.len() / HEADER_BYTES + 1, "a walk ends");
    }
}

/// A file with these bytes and zeros up to the next block.
fn write(dir: &MemoryDir, bytes: &[u8]) -> Rc<<MemoryDir as Dir>::File> {
    let file = block_on(dir.open(NAME, Open::Create));
    let Ok(file) = file.map(Rc::new) else {
        panic!("a new directory has no such file");
    };
    let written = block_on(file.write_at(Rc::new(padded(dir, bytes)), 0));
    assert!(written.is_ok(), "memory does not fail: {written:?}");
    file
}

/// Not all batches of a store have an offset from here on.
const LAST_FIRST: i64 = i64::MAX - 5;

const NAME: &str = "00000000000000000000.log";
