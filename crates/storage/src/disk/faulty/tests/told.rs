//! Faults that are told.

use super::*;

#[test]
fn the_nth_operation_of_a_kind_fails_once() {
    let dir = dir();
    let file = file(&dir, "f");
    dir.faults()
        .fail(Operation::Sync, 2, Fault::Fail(ErrorKind::Other));
    block_on(file.fdatasync()).unwrap();
    block_on(file.len()).unwrap();
    assert!(dir.faults().is_pending());
    block_on(file.fdatasync()).unwrap_err();
    assert!(!dir.faults().is_pending());
    block_on(file.sync_all()).unwrap();
    assert_eq!(dir.faults().count(Operation::Sync), 3);
    assert_eq!(dir.faults().total(), 5);
}

#[test]
fn a_fault_can_be_meant_for_some_files() {
    let dir = dir();
    let (log, index) = (file(&dir, "0.log"), file(&dir, "0.index"));
    dir.faults().fail(
        Match::on(Operation::Sync, ".log"),
        1,
        Fault::Fail(ErrorKind::Other),
    );
    block_on(index.fdatasync()).unwrap();
    block_on(log.fdatasync()).unwrap_err();
}

#[test]
fn a_short_write_leaves_the_rest_as_it_was() {
    let dir = dir();
    let file = file(&dir, "f");
    block_on(file.write_at(blocks(&dir, 2, 1), 0)).unwrap();
    dir.faults()
        .fail(Operation::Write, 1, Fault::Short { bytes: 700 });
    let error = block_on(file.write_at(blocks(&dir, 4, 2), 0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WriteZero);
    let bytes = block_on(file.read_at(0, 1 << 20)).unwrap();
    let expected = [vec![2; 700], vec![1; 2 * BLOCK_BYTES - 700]].concat();
    assert_eq!(bytes.as_ref(), expected);
}

#[test]
fn a_torn_write_leaves_each_sector_old_or_new() {
    let dir = dir();
    let file = file(&dir, "f");
    block_on(file.write_at(blocks(&dir, 2, 1), 0)).unwrap();
    dir.faults()
        .fail(Operation::Write, 1, Fault::Torn { seed: 1 });
    block_on(file.write_at(blocks(&dir, 2, 2), 0)).unwrap_err();
    let bytes = block_on(file.read_at(0, 2 * BLOCK_BYTES)).unwrap();
    let sectors: Vec<_> = bytes.as_ref().chunks(512).collect();
    assert!(
        sectors
            .iter()
            .all(|sector| *sector == [1; 512] || *sector == [2; 512])
    );
    assert!(sectors.contains(&&[1; 512][..]));
    assert!(sectors.contains(&&[2; 512][..]));
}

#[test]
fn a_full_disk_refuses_space_but_no_write_into_it() {
    let dir = dir();
    let file = file(&dir, "f");
    block_on(file.allocate(0..BLOCK_BYTES as u64, Space::Zeroed)).unwrap();
    dir.faults().set_full(true);
    let error = block_on(file.allocate(0..1 << 20, Space::Zeroed)).unwrap_err();
    assert!(is_full(&error));
    block_on(dir.open("g", Open::Create)).unwrap_err();
    block_on(file.write_at(blocks(&dir, 1, 1), 0)).unwrap();
    dir.faults().clear();
    block_on(dir.open("g", Open::Create)).unwrap();
}

#[test]
fn a_write_torn_by_blocks_leaves_each_block_old_or_new() {
    let dir = dir();
    let file = file(&dir, "f");
    block_on(file.write_at(blocks(&dir, 8, 1), 0)).unwrap();
    let fault = Fault::TornBlocks { seed: 1 };
    dir.faults().fail(Operation::Write, 1, fault);
    block_on(file.write_at(blocks(&dir, 8, 2), 0)).unwrap_err();
    let bytes = read(&dir);
    let torn: Vec<_> = bytes.chunks(BLOCK_BYTES).map(|block| block[0]).collect();
    for (block, byte) in bytes.chunks(BLOCK_BYTES).zip(&torn) {
        assert!(block.iter().all(|other| other == byte), "a block is whole");
    }
    assert!(torn.contains(&1));
    assert!(torn.contains(&2));
}

#[test]
fn an_operation_can_fail_after_it_had_its_effect() {
    let dir = dir();
    let after = Fault::FailAfter(ErrorKind::TimedOut);
    dir.faults().fail(Operation::CreateFile, 1, after);
    let error = block_on(dir.open("f", Open::Create)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let file = block_on(dir.open("f", Open::Write)).unwrap();
    dir.faults().fail(Operation::Write, 1, after);
    block_on(file.write_at(blocks(&dir, 1, 7), 0)).unwrap_err();
    dir.faults().fail(Operation::Sync, 1, after);
    block_on(file.fdatasync()).unwrap_err();
    dir.faults().fail(Operation::SyncDir, 1, after);
    block_on(dir.sync()).unwrap_err();
    assert_eq!(left(&dir), [vec![7; BLOCK_BYTES]].into());
    dir.faults().fail(Operation::Rename, 1, after);
    block_on(dir.rename("f", &dir, "g")).unwrap_err();
    block_on(dir.open("g", Open::Read)).unwrap();
}

/// Two blocks of ones are synced, one is overwritten and one appended, and the sync fails.
fn after_a_failed_sync(how: FailedSync) -> (FaultyDir<MemoryDir>, FaultyFile<MemoryDir>) {
    let dir = dir();
    let file = with_ones(&dir);
    let block = BLOCK_BYTES as u64;
    block_on(file.write_at(blocks(&dir, 2, 2), block)).unwrap();
    dir.faults().fail(Operation::Sync, 1, Fault::FailSync(how));
    block_on(file.fdatasync()).unwrap_err();
    (dir, file)
}

#[test]
fn after_a_failed_sync_reads_show_what_the_file_system_shows() {
    let old = vec![1; 2 * BLOCK_BYTES];
    let new = [vec![1; BLOCK_BYTES], vec![2; 2 * BLOCK_BYTES]].concat();
    for how in FailedSync::ALL {
        let (dir, _file) = after_a_failed_sync(how);
        let expected = if how == FailedSync::Btrfs { &old } else { &new };
        assert_eq!(&read(&dir), expected, "{how:?}");
    }
}

#[test]
fn after_a_failed_sync_a_successful_one_proves_nothing() {
    for how in FailedSync::ALL {
        let mut lost = 0;
        for seed in 0..20 {
            let dir = dir();
            let file = with_ones(&dir);
            for _ in 0..seed {
                block_on(dir.exists()).unwrap();
            }
            block_on(file.write_at(blocks(&dir, 2, 2), 0)).unwrap();
            dir.faults().set_failed_sync(how);
            let fault = Fault::Fail(ErrorKind::Other);
            dir.faults().fail(Operation::Sync, 1, fault);
            block_on(file.fdatasync()).unwrap_err();
            block_on(file.fdatasync()).unwrap();
            let left = left(&dir);
            assert_eq!(left.len(), 1, "{how:?}: what is on the disk is fixed");
            let left = left.into_iter().next().unwrap();
            lost += u32::from(left.contains(&1));
            // Written again, and synced, they are there.
            block_on(file.write_at(blocks(&dir, 2, 2), 0)).unwrap();
            block_on(file.fdatasync()).unwrap();
            assert_eq!(super::left(&dir), [vec![2; 2 * BLOCK_BYTES]].into());
        }
        assert!(lost > 10, "{how:?}: {lost} of 20 syncs lost something");
    }
}

#[test]
fn after_a_failed_sync_the_length_is_durable_on_ext4_and_xfs_and_old_on_btrfs() {
    let lens = |how| {
        let (dir, _file) = after_a_failed_sync(how);
        let lens = left(&dir)
            .into_iter()
            .map(|bytes| bytes.len() / BLOCK_BYTES);
        lens.collect::<Vec<_>>()
    };
    assert_eq!(lens(FailedSync::Ext4), [3]);
    assert_eq!(lens(FailedSync::Xfs), [3]);
    assert_eq!(lens(FailedSync::Btrfs), [2]);
    // A length in the journal of a device that failed to flush is still in doubt.
    let device = lens(FailedSync::Device);
    assert!(device.contains(&2));
    assert!(device.contains(&3));
}

#[test]
fn a_failed_sync_of_a_directory_leaves_its_changes_in_doubt() {
    let dir = dir();
    file(&dir, "g");
    let fault = Fault::Fail(ErrorKind::Other);
    dir.faults().fail(Operation::SyncDir, 1, fault);
    block_on(dir.sync()).unwrap_err();
    let is_there = |seed| {
        !block_on(dir.inner().power_cut(seed).list())
            .unwrap()
            .is_empty()
    };
    assert!((0..50).any(is_there));
    assert!(!(0..50).all(is_there));
}

#[test]
fn a_halted_file_system_refuses_changes_or_everything_until_it_is_cleared() {
    for halt in [Halt::ReadOnly, Halt::Shutdown] {
        let dir = dir();
        let file = with_ones(&dir);
        dir.faults().fail(Operation::Sync, 1, Fault::Halt(halt));
        let read = || block_on(file.read_at(0, 1)).map(|bytes| bytes.as_ref()[0]);
        assert_eq!(read().unwrap(), 1);
        block_on(file.fdatasync()).unwrap_err();
        for _ in 0..3 {
            let refused = block_on(file.write_at(blocks(&dir, 1, 2), 0)).unwrap_err();
            block_on(file.fdatasync()).unwrap_err();
            block_on(dir.remove("f")).unwrap_err();
            match halt {
                Halt::ReadOnly => {
                    assert_eq!(refused.kind(), ErrorKind::ReadOnlyFilesystem);
                    assert_eq!(read().unwrap(), 1);
                }
                Halt::Shutdown => drop(read().unwrap_err()),
            }
        }
        dir.faults().clear();
        block_on(file.write_at(blocks(&dir, 1, 2), 0)).unwrap();
        assert_eq!(read().unwrap(), 2);
    }
}

#[test]
fn a_disk_of_limited_space_refuses_what_does_not_fit_and_no_write_into_prepared_space() {
    let dir = dir();
    let block = BLOCK_BYTES as u64;
    dir.inner().set_capacity(Some(10 * block + 5));
    let (one, other) = (file(&dir, "f"), file(&dir, "g"));
    block_on(one.allocate(0..6 * block, Space::Reserved)).unwrap();
    // As much is allocated as there is, and then the error comes.
    let full = block_on(other.allocate(0..6 * block, Space::Zeroed)).unwrap_err();
    assert!(is_full(&full));
    assert_eq!(block_on(other.len()).unwrap(), 4 * block);
    assert_eq!(dir.inner().bytes_in_use(), 10 * block);
    block_on(one.write_at(blocks(&dir, 6, 1), 0)).unwrap();
    block_on(other.write_at(blocks(&dir, 4, 1), 0)).unwrap();
    let full = block_on(other.write_at(blocks(&dir, 2, 2), 3 * block)).unwrap_err();
    assert!(is_full(&full));
    let written = block_on(other.read_at(3 * block, BLOCK_BYTES)).unwrap();
    assert_eq!(written.as_ref(), [2; BLOCK_BYTES], "what fits is written");
    assert_eq!(block_on(other.len()).unwrap(), 4 * block);
    // Space comes back with a cut, and with the last name and handle of a file.
    block_on(other.set_len(block)).unwrap();
    block_on(one.allocate(6 * block..9 * block, Space::Zeroed)).unwrap();
    block_on(dir.link("f", &dir, "h")).unwrap();
    block_on(dir.remove("f")).unwrap();
    block_on(dir.remove("h")).unwrap();
    block_on(other.allocate(block..2 * block, Space::Zeroed)).unwrap_err();
    drop(one);
    block_on(other.allocate(block..10 * block, Space::Zeroed)).unwrap();
}

#[test]
fn faults_happen_over_plain_files_too() {
    let place = tempfile::tempdir().unwrap();
    let dir = FaultyDir::new(StdDir::new(place.path()));
    let file = file(&dir, "f");
    block_on(file.write_at(blocks(&dir, 2, 1), 0)).unwrap();
    let faults = dir.faults();
    faults.fail(Operation::Write, 1, Fault::Torn { seed: 1 });
    block_on(file.write_at(blocks(&dir, 2, 2), 0)).unwrap_err();
    let torn = read(&dir);
    assert!(torn.contains(&1));
    assert!(torn.contains(&2));
    faults.fail(Operation::Write, 1, Fault::Flip { seed: 3 });
    block_on(file.write_at(blocks(&dir, 1, 0), 0)).unwrap();
    let ones: u32 = read(&dir)[..BLOCK_BYTES]
        .iter()
        .map(|byte| byte.count_ones())
        .sum();
    assert_eq!(ones, 1, "one bit of the disk turned over");
    faults.fail(Operation::Sync, 1, Fault::Lost);
    block_on(file.fdatasync()).unwrap();
    faults.set_full(true);
    block_on(file.allocate(0..1 << 20, Space::Reserved)).unwrap_err();
}

/// On a full disk it kept the space that others waited for, until the next try.
#[test]
fn what_was_written_aside_is_removed_when_that_fails() {
    use Operation::{Allocate, CreateFile, Rename, SetLen, Sync, Write};
    for operation in [CreateFile, Allocate, Write, SetLen, Sync, Rename] {
        let dir = dir();
        block_on(dir.write_aside("f", b"old")).unwrap();
        dir.faults()
            .fail(operation, 1, Fault::Fail(ErrorKind::StorageFull));
        block_on(dir.write_aside("f", b"new")).unwrap_err();
        let names = block_on(dir.list()).unwrap();
        let names: Vec<_> = names.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["f"], "{operation:?}");
        assert_eq!(block_on(dir.read("f", 10)).unwrap(), b"old");
    }
}
