//! Batches that another program wrote.

use corelog_record::Offset;
use corelog_record::batch::Header;
use corelog_record::checksum::crc32c;

use super::{offset, small};
use crate::disk::Dir;
use crate::disk::memory::MemoryDir;
use crate::testing::own::alter;
use crate::wal::{Error, Wal};

/// Gives the first batch of a store, of four records of one length, a last one that is none.
#[expect(clippy::big_endian_bytes, reason = "the batch format is big-endian")]
fn spoil(bytes: &mut [u8]) {
    let end = Header::parse(bytes).unwrap().total_bytes();
    let batch = &mut bytes[..end];
    let record_bytes = (end - 61) / 4;
    // A length below zero.
    batch[end - record_bytes] = 1;
    let crc = crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// The records before the bad one came after the error, the last of them first.
#[test]
fn a_reader_goes_on_behind_a_batch_that_it_cannot_read() {
    let dir = MemoryDir::new();
    let (mut wal, _) = Wal::open_in(dir.clone(), small(), 1).unwrap();
    wal.append_batch([b"a", b"b", b"c", b"d"]).unwrap();
    wal.sync().unwrap();
    drop(wal);
    alter(&dir.child("log"), "00000000000000000000.log", |bytes| {
        spoil(bytes);
    });
    let (mut wal, _) = Wal::open_in(dir, small(), 2).unwrap();
    wal.append(b"behind").unwrap();
    wal.sync().unwrap();
    let read: Vec<_> = wal.reader(Offset::ZERO).collect();
    let [bad, behind] = &read[..] else {
        panic!("{read:?}");
    };
    let is_first = matches!(bad, Err(Error::Foreign { offset, .. }) if *offset == Offset::ZERO);
    assert!(is_first, "{bad:?}");
    let behind = behind.as_ref().unwrap();
    assert_eq!(behind.offset, offset(4));
    assert_eq!(behind.value, b"behind");
}
