//! What an opening stepped over, for the disk did not give it, was not written again by that: it need not be on the disk.

use std::ops::Range;

use corelog_record::Offset;

use super::at;
use super::recovery::STORE;
use super::unread::{
    BATCH_BYTES, BLOCK, Disk, append, disk, filled, lose, open_before_unread, options, read, reopen,
};
use crate::disk::memory::FailedSync;
use crate::disk::{Dir, File, Open, block_on, padded};
use crate::log::Log;
use crate::testing::own::alter;
use crate::testing::{open, read_all, settle};

/// So many ways in which a failed sync may have kept what it was to, or not, are tried.
const SEEDS: u64 = 8;

/// The blocks of the batch at `offset` that neither its header nor another batch has a part in.
fn middle(offset: u64) -> Range<usize> {
    let start = offset * BATCH_BYTES + BLOCK;
    usize::try_from(start).unwrap()..usize::try_from(start + BLOCK).unwrap()
}

/// Has reads show bytes of the store that the disk lost, or did not, in a sync that failed.
fn doubt(disk: &Disk, range: Range<usize>, seed: u64) {
    let dir = disk.inner().child("p0");
    let bytes = read(disk, STORE);
    alter(&dir, STORE, |bytes| bytes[range].fill(0));
    let file = block_on(dir.open(STORE, Open::Write)).unwrap();
    block_on(file.write_at(padded(&dir, &bytes).into(), 0)).unwrap();
    dir.fail_sync(STORE, FailedSync::Ext4, seed).unwrap();
}

/// Checks that all of it is there behind a power cut.
fn assert_kept(disk: &Disk, all: &[Vec<u8>], seed: u64) {
    let image = disk.inner().power_cut(seed);
    let (log, report) = open(&image, options(), 9, at(900)).unwrap();
    assert!(report.damage.is_empty(), "{seed}: {report:?}");
    assert_eq!(
        read_all(&log, Offset::ZERO).as_deref().ok(),
        Some(all),
        "{seed}"
    );
}

/// It was sealed as it was read, and a power cut took what readers had been shown.
#[test]
fn a_store_of_which_something_was_stepped_over_is_written_again_before_it_is_sealed() {
    for seed in 0..SEEDS {
        let disk = disk();
        drop(filled(&disk, 5));
        doubt(&disk, middle(3), seed);
        lose(&disk, 3);
        let (mut log, report) = open_before_unread(&disk);
        assert_eq!(report.damage.len(), 1, "{report:?}");
        append(&mut log);
        drop(log);
        disk.faults().clear();
        let (log, report) = reopen(&disk);
        assert!(report.damage.is_empty(), "{report:?}");
        let first = log.segments().next().unwrap();
        assert!(first.is_sealed);
        let all = read_all(&log, Offset::ZERO).unwrap();
        assert_eq!(all.len(), 6);
        assert_kept(&disk, &all, seed);
    }
}

/// The mark said of it that a sync had returned for it: the next opening took it for durable, and did not read it.
#[test]
fn the_mark_does_not_vouch_for_what_was_stepped_over() {
    let ends: [fn(Log<Disk>); 3] = [
        drop,
        |mut log| drop(settle(&mut log, at(200)).unwrap()),
        |mut log| block_on(log.close(at(200))).unwrap(),
    ];
    for (seed, end) in (0..SEEDS).flat_map(|seed| ends.map(|end| (seed, end))) {
        let disk = disk();
        drop(filled(&disk, 5));
        doubt(&disk, middle(3), seed);
        lose(&disk, 3);
        let (log, report) = open_before_unread(&disk);
        assert_eq!(report.damage.len(), 1, "{report:?}");
        end(log);
        disk.faults().clear();
        let (log, report) = reopen(&disk);
        assert!(report.damage.is_empty(), "{report:?}");
        let all = read_all(&log, Offset::ZERO).unwrap();
        assert_eq!(all.len(), 5);
        assert_kept(&disk, &all, seed);
    }
}

/// That something stands in the next one shows that it was synced; that the disk does not give what stands there does not.
#[test]
fn a_store_before_one_that_cannot_be_read_is_written_again_before_it_is_sealed() {
    for seed in 0..SEEDS {
        let disk = disk();
        let log = filled(&disk, 6);
        let all = read_all(&log, Offset::ZERO).unwrap();
        drop(log);
        doubt(&disk, middle(4), seed);
        disk.faults().set_unreadable("5.log", 0..BATCH_BYTES);
        let (log, report) = open_before_unread(&disk);
        assert!(report.is_read_only, "{report:?}");
        assert_eq!(read_all(&log, Offset::ZERO).unwrap(), all[..5]);
        assert_kept(&disk, &all, seed);
    }
}
