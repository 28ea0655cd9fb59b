use corelog_record::Offset;

use super::{at, offset, small};
use crate::disk::memory::MemoryDir;
use crate::log::{AppendError, Chore};
use crate::testing::{batch, flush, open, read_all, settle};

#[test]
fn a_log_without_records_has_no_files() {
    let root = MemoryDir::new();
    let (mut log, report) = open(&root, small(), 1, at(0)).unwrap();
    assert!(report.is_clean);
    assert!(settle(&mut log, at(1)).unwrap().is_empty());
    crate::disk::block_on(log.close(at(2))).unwrap();
    assert!(
        !crate::disk::block_on(crate::disk::Dir::exists(&crate::disk::Dir::child(
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
    crate::disk::block_on(log.close(at(1))).unwrap();
    assert!(matches!(
        log.append(&before[0], at(1)),
        Err(AppendError::Fenced)
    ));
    let (log, report) = open(&root, small(), 2, at(2)).unwrap();
    assert!(report.is_clean, "{report:?}");
    assert!(report.quarantined.is_empty());
    assert_eq!(read_all(&log, Offset::ZERO).unwrap(), before);
}
