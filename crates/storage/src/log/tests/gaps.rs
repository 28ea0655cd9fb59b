//! A read-only log shows batches behind some that the disk does not give: whoever comes to the gap is told of it.

use corelog_record::Offset;

use super::recovery::STORE;
use super::unread::{BATCH_BYTES, BLOCK, Disk, disk, filled, lose, open_before_unread, reopen};
use super::{at, offset};
use crate::Error;
use crate::disk::{Dir, block_on};
use crate::log::{Log, ReadError};
use crate::testing::own::bytes;
use crate::testing::{batch, flush, read_all, settle};

/// A log of five batches, each of a time of its own, that was killed.
fn killed(disk: &Disk) -> Vec<Vec<u8>> {
    let (mut log, _) = reopen(disk);
    let empty = batch(&[&[b'f'; 10_000]], at(0)).len() - 10_000;
    let value = vec![b'f'; usize::try_from(BATCH_BYTES).unwrap() - empty];
    for time in 0..5 {
        log.append(&batch(&[&value], at(time)), at(time)).unwrap();
        flush(&mut log, at(time)).unwrap();
    }
    read_all(&log, Offset::ZERO).unwrap()
}

/// The same, read-only from the last batch on, and without the second.
fn gapped() -> (Log<Disk>, Vec<Vec<u8>>) {
    let disk = disk();
    let all = killed(&disk);
    lose(&disk, 1);
    lose(&disk, 4);
    let (log, report) = open_before_unread(&disk);
    assert!(report.is_read_only, "{report:?}");
    assert_eq!(log.read_only_from(), Some(offset(4)));
    (log, all)
}

#[test]
fn a_read_ends_before_a_gap_and_one_within_it_is_told_where_that_ends() {
    let (log, all) = gapped();
    let read = |from| {
        let plan = log.plan_read(offset(from), Offset::MAX, 1 << 20)?;
        block_on(plan.run())
    };
    let first = read(0).unwrap();
    assert_eq!((bytes(&first), first.next), (all[0].clone(), offset(1)));
    let Err(ReadError::Damaged { from, to, .. }) = read(1) else {
        panic!("the second one is not there")
    };
    assert_eq!((from, to), (offset(1), offset(2)));
    let behind = read(2).unwrap();
    assert_eq!(
        (bytes(&behind), behind.next),
        (all[2..4].concat(), offset(4))
    );
    assert!(matches!(read(4), Err(ReadError::Damaged { .. })));
}

/// The rows on either side of what cannot be read were those of an opening alone.
#[test]
fn what_lies_right_before_a_gap_can_be_read_also_by_an_index_that_is_made_anew() {
    let disk = disk();
    let mut log = filled(&disk, 8);
    settle(&mut log, at(200)).unwrap();
    let all = read_all(&log, Offset::ZERO).unwrap();
    drop(log);
    let index = crate::segment::name::index(Offset::ZERO, 0);
    block_on(disk.inner().child("p0").remove(&index)).unwrap();
    lose(&disk, 2);
    let (log, _) = reopen(&disk);
    for (from, end) in [(0, 2), (1, 2), (3, 5)] {
        let plan = log.plan_read(offset(from), Offset::MAX, 1 << 20).unwrap();
        let read = bytes(&block_on(plan.run()).unwrap());
        let there = all[usize::try_from(from).unwrap()..end].concat();
        assert!(!read.is_empty() && there.starts_with(&read), "from {from}");
    }
}

#[test]
fn a_walk_over_all_of_a_log_is_told_of_a_gap_between_what_lies_around_it() {
    let (log, _) = gapped();
    let mut reader = log.reader(Offset::ZERO);
    let mut met = Vec::new();
    loop {
        met.push(match block_on(reader.next()) {
            Ok(Some(batch)) => (batch.base_offset(), batch.next_offset(), true),
            Ok(None) => break,
            Err(Error::Damaged { from, to, .. }) => (from, to, false),
            Err(error) => panic!("{error}"),
        });
    }
    let of = |at: u64| (offset(at), offset(at + 1), at != 1);
    assert_eq!(met, [of(0), of(1), of(2), of(3)]);
}

/// The one behind the gap need not be the first as late as that.
#[test]
fn a_lookup_by_time_that_comes_to_a_gap_does_not_answer_with_what_lies_behind_it() {
    let (log, _) = gapped();
    let find = |time| {
        let plan = log.plan_find_time(at(time), Offset::MAX);
        block_on(plan.run())
    };
    assert_eq!(find(0).unwrap(), Some((Offset::ZERO, at(0))));
    let met = find(1);
    assert!(met.is_err(), "{met:?}");
}

/// Nothing tells an opening that it was shown: a read-only log begins no epoch, and its mark stays as it is.
#[test]
fn what_was_shown_behind_a_gap_is_kept_where_that_turns_out_to_be_torn() {
    let disk = disk();
    let all = killed(&disk);
    let torn = BATCH_BYTES + BLOCK;
    disk.inner().child("p0").flip(STORE, 8 * torn).unwrap();
    lose(&disk, 1);
    lose(&disk, 4);
    let (log, _) = open_before_unread(&disk);
    assert_eq!(read_all(&log, offset(2)).unwrap(), all[2..4]);
    drop(log);
    disk.faults().clear();
    let (log, report) = reopen(&disk);
    assert_eq!(log.log_end(), offset(1), "{report:?}");
    let [kept] = &report.quarantined[..] else {
        panic!("{report:?}")
    };
    let kept = block_on(disk.child("quarantine").read(kept, 1 << 20)).unwrap();
    let shown = all[2..4].concat();
    assert!(kept.windows(shown.len()).any(|kept| kept == shown));
}
