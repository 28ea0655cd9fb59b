use std::cell::Cell;

use corelog_record::Offset;

use super::{at, offset, small};
use crate::disk::block_on;
use crate::disk::memory::MemoryDir;
use crate::log::{AppendError, Checked, Chore};
use crate::testing::{batch, flush, open, read_all, settle};

#[test]
fn a_log_without_records_has_no_files() {
    let root = MemoryDir::new();
    let (mut log, report) = open(&root, small(), 1, at(0)).unwrap();
    assert!(report.is_clean);
    assert!(settle(&mut log, at(1)).unwrap().is_empty());
    block_on(log.close(at(2))).unwrap();
    assert!(
        !block_on(crate::disk::Dir::exists(&crate::disk::Dir::child(
            &root, "p0"
        )))
        .unwrap()
    );
}

#[test]
fn what_is_appended_is_durable_after_a_flush_and_reads_back() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    let appended = log.append(&batch(&[b"one", b"two"], at(0)), at(0)).unwrap();
    assert_eq!((appended.base, appended.end), (Offset::ZERO, offset(2)));
    assert_eq!(log.durable(), Offset::ZERO);
    let flushed = flush(&mut log, at(0)).unwrap().unwrap();
    assert_eq!(flushed.durable, offset(2));
    let batches = read_all(&log, Offset::ZERO).unwrap();
    assert_eq!(batches.len(), 1);
    log.tail.shrink(0);
    assert_eq!(read_all(&log, Offset::ZERO).unwrap(), batches);
}

#[test]
fn a_log_rolls_seals_and_reopens_cleanly() {
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    let mut sealed = 0;
    for number in 0..200_u32 {
        let value = vec![b'x'; 700];
        log.append(
            &batch(&[&value, &number.to_le_bytes()], at(i64::from(number))),
            at(0),
        )
        .unwrap();
        let chores = settle(&mut log, at(i64::from(number) * 1000)).unwrap();
        sealed += chores
            .iter()
            .filter(|c| matches!(c, Chore::Sealed { .. }))
            .count();
    }
    assert!(sealed > 5, "{sealed}");
    let before = read_all(&log, Offset::ZERO).unwrap();
    assert_eq!(before.len(), 200);
    log.tail.shrink(0);
    assert_eq!(read_all(&log, Offset::ZERO).unwrap(), before);
    block_on(log.close(at(1))).unwrap();
    assert!(matches!(
        log.append(&before[0], at(1)),
        Err(AppendError::Fenced)
    ));
    let (log, report) = open(&root, small(), 2, at(2)).unwrap();
    assert!(report.is_clean, "{report:?}");
    assert!(report.quarantined.is_empty());
    assert_eq!(read_all(&log, Offset::ZERO).unwrap(), before);
}

#[test]
fn batches_that_were_checked_by_pieces_are_appended_as_any_others() {
    let [mut log, mut other] =
        [(), ()].map(|()| open(&MemoryDir::new(), small(), 1, at(0)).unwrap().0);
    let one = batch(&[&[7; 1_000]], at(0));
    let many = one.repeat(1_000);
    let given_way = Cell::new(0);
    let checked = Checked::by_pieces(&many, log.rules(), async || {
        given_way.set(given_way.get() + 1);
    });
    let checked = block_on(checked).unwrap();
    assert_eq!(given_way.get(), many.len() / Checked::PIECE_BYTES);
    let appended = log.append_checked(checked, at(0)).unwrap();
    assert_eq!(appended, other.append(&many, at(0)).unwrap());
    assert_eq!((appended.batches, appended.end), (1_000, offset(1_000)));
    for log in [&mut log, &mut other] {
        settle(log, at(0)).unwrap();
    }
    let [all, others] = [&log, &other].map(|log| read_all(log, Offset::ZERO).unwrap());
    assert_eq!(all, others);
    let cut = many.get(..many.len() - 1).unwrap();
    let refused = block_on(Checked::by_pieces(cut, log.rules(), async || ())).unwrap_err();
    assert!(
        matches!(refused, AppendError::Invalid { index: 999, .. }),
        "{refused:?}"
    );
}
