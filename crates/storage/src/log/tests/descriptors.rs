//! Few files are open, however many logs and segments there are.

use corelog_record::{Offset, PartitionId, TopicId};

use super::{at, offset, small};
use crate::disk::memory::MemoryDir;
use crate::disk::{Dir, block_on};
use crate::log::{Identity, Log};
use crate::open_files::{self, Limits};
use crate::testing::{batch, open, read_all, run, settle};

/// Sets a limit of open files for the rest of a test.
struct Few;

impl Few {
    fn files(files_max: usize) -> Self {
        open_files::limit(Limits {
            files_max,
            map_bytes_max: 40 << 10,
        });
        Self
    }
}

impl Drop for Few {
    fn drop(&mut self) {
        // A thread may run other tests after this one.
        open_files::limit(Limits::default());
    }
}

fn log_of(root: &MemoryDir, partition: u32) -> Log<MemoryDir> {
    let dir = root.child(&format!("p{partition}"));
    let identity = Identity::new(TopicId::from_bytes([7; 16]), PartitionId::new(partition));
    let opened = Log::open(
        dir,
        root.child("quarantine"),
        identity,
        small(),
        partition.into(),
        at(0),
    );
    block_on(opened).unwrap().0
}

#[test]
fn few_files_stay_open_however_many_segments_are_read() {
    let few = Few::files(6);
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    for _ in 0..200 {
        log.append(&batch(&[&[b'o'; 3_000]], at(0)), at(0)).unwrap();
        settle(&mut log, at(0)).unwrap();
    }
    log.tail.shrink(0);
    assert_eq!(read_all(&log, Offset::ZERO).unwrap().len(), 200);
    assert!(log.segments().count() > 20);
    let usage = open_files::usage();
    assert!(usage.files <= 6, "{usage:?}");
    assert!(
        0 < usage.map_bytes && usage.map_bytes <= 40 << 10,
        "{usage:?}"
    );
    let mut reader = log.reader(Offset::ZERO);
    let mut count = 0;
    while block_on(reader.next()).unwrap().is_some() {
        count += 1;
        assert!(open_files::usage().files <= 6);
    }
    assert_eq!(count, 200);
    drop((reader, log, few));
    assert_eq!(open_files::usage().files, 0, "handles leave with their log");
}

#[test]
fn many_logs_take_turns_with_few_open_files() {
    let _few = Few::files(5);
    let root = MemoryDir::new();
    let mut logs: Vec<_> = (0..40).map(|partition| log_of(&root, partition)).collect();
    for round in 0..3 {
        for (log, number) in logs.iter_mut().zip(0u8..) {
            let value = [number, round];
            log.append(&batch(&[&value], at(0)), at(0)).unwrap();
            settle(log, at(1_000)).unwrap();
            assert!(open_files::usage().files <= 5);
        }
    }
    for log in &mut logs {
        log.tail.shrink(0);
        assert_eq!(read_all(log, Offset::ZERO).unwrap().len(), 3);
        assert!(open_files::usage().files <= 5);
    }
    for log in &mut logs {
        block_on(log.close(at(2_000))).unwrap();
    }
    drop(logs);
    for partition in 0..40 {
        assert_eq!(log_of(&root, partition).durable(), offset(3));
    }
}

#[test]
fn a_file_that_a_reader_has_open_outlives_its_turn_and_its_name() {
    let _few = Few::files(2);
    let root = MemoryDir::new();
    let (mut log, _) = open(&root, small(), 1, at(0)).unwrap();
    while log.segments().count() < 3 {
        log.append(&batch(&[&[b'r'; 3_000]], at(0)), at(0)).unwrap();
        settle(&mut log, at(0)).unwrap();
    }
    let first = log.segments().next().unwrap();
    let mut reader = log.reader(Offset::ZERO);
    assert!(block_on(reader.next()).unwrap().is_some());
    let others: Vec<_> = (10..20)
        .map(|partition| {
            let mut log = log_of(&root, partition);
            log.append(&batch(&[b"other"], at(0)), at(0)).unwrap();
            settle(&mut log, at(0)).unwrap();
            log
        })
        .collect();
    let plan = log.plan_truncate(first.next).unwrap().unwrap();
    run(&mut log, plan, at(1)).unwrap();
    settle(&mut log, at(1)).unwrap();
    for _ in 1..first.next.get() {
        assert!(block_on(reader.next()).unwrap().is_some());
    }
    assert_eq!(others.len(), 10);
}
